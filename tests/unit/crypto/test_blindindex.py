from __future__ import annotations

import hmac
import os
import re
from collections import Counter

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.crypto import normalise
from security.crypto.blindindex import (
    BlindIndex,
    IndexSpec,
    bit_bounds,
    check_budget,
    overfull_tokens,
    query_tokens,
)
from security.crypto.errors import BitBudgetBroken, NotNormal
from security.crypto.kdf import kbkdf
from security.crypto.keyring import EpochKeys
from security.crypto.normalise import NORMALISERS, email, external_id, phone, text
from tests.unit.crypto.crypto_helpers import TENANT

EMAIL = IndexSpec(field=3, transform="email", bits=12)


def test_a_token_is_made_as_the_format_says():
    material = os.urandom(64)
    index = BlindIndex(EpochKeys(4, material), TENANT.bytes, EMAIL)
    context = cbor2.dumps([TENANT.bytes, 3, "email", 0], canonical=True)
    index_key = kbkdf(material[32:], b"kontor/bidx/v1", context, 32)
    message = cbor2.dumps([1, "erika@example.com"], canonical=True)
    bits = bin(int.from_bytes(b"\1" + hmac.digest(index_key, message, "sha256"), "big"))[3 : 3 + 12]
    assert index.token("Erika@EXAMPLE.com") == int(bits, 2)


@pytest.mark.parametrize("bits", [1, 7, 12, 18, 31])
def test_tokens_have_the_bits_they_were_given_and_spread_evenly(bits):
    index = BlindIndex(EpochKeys.generate(1), TENANT.bytes, IndexSpec(3, "email", bits))
    tokens = Counter(index.token(f"user{number}@example.com") for number in range(4000))
    assert max(tokens) < 1 << bits
    assert len(tokens) > min(1 << bits, 4000) * 0.6


def test_epoch_tenant_field_and_partition_each_give_other_tokens():
    keys = EpochKeys.generate(1)
    spec = IndexSpec(3, "email", 31)
    tokens = {
        BlindIndex(keys, TENANT.bytes, spec).token("a@example.com"),
        BlindIndex(EpochKeys.generate(2), TENANT.bytes, spec).token("a@example.com"),
        BlindIndex(keys, os.urandom(16), spec).token("a@example.com"),
        BlindIndex(keys, TENANT.bytes, IndexSpec(4, "email", 31)).token("a@example.com"),
        BlindIndex(keys, TENANT.bytes, IndexSpec(3, "external_id", 31)).token("a@example.com"),
        BlindIndex(keys, TENANT.bytes, IndexSpec(3, "email", 31, partition=1)).token("a@example.com"),
    }
    assert len(tokens) == 6


def test_a_query_asks_for_the_current_and_the_previous_epoch():
    indexes = [BlindIndex(EpochKeys.generate(epoch), TENANT.bytes, EMAIL) for epoch in (8, 7)]
    tokens = query_tokens(indexes, " ERIKA@example.com ")
    assert tokens == {8: indexes[0].token("erika@example.com"), 7: indexes[1].token("erika@example.com")}
    assert query_tokens([], "x") == {}


@pytest.mark.parametrize(
    "normaliser, first, second",
    [
        (text, "  Straße ", "STRASSE"), (text, "ﬁle", "FILE"), (text, "Åse", "A\u030ase"),
        (text, "王　小明", "王 小明"),
        (text, "ＡＢＣ", "abc"), (text, "ΣΊΣΥΦΟΣ", "σίσυφος"), (text, "a\t\n b", "A B"),
        (email, "Erika@Example.COM", "erika@example.com"),
        (email, "erika@bücher.example", "erika@xn--bcher-kva.example"),
        (email, "e@straße.example", "e@xn--strae-oqa.example"), (email, "e@例え.テスト", "e@xn--r8jz45g.xn--zckzah"),
        (email, "e@example.com.", "e@example.com"),
        (phone, "+49 (0)30 123456", "0049 30 123456"), (phone, "+86 138 0013 8000", "+8613800138000"),
        (external_id, " A-1 ", "A-1"),
    ],
)  # fmt: skip
def test_spellings_of_one_value_meet_in_one_normal_form(normaliser, first, second):
    if normaliser is phone:
        assert phone(first, "DE") == phone(second, "DE")
    else:
        assert normaliser(first) == normaliser(second)


@pytest.mark.parametrize(
    "normaliser, first, second",
    [(email, "a.b@example.com", "ab@example.com"), (email, "a@strasse.example", "a@straße.example"),
     (external_id, "a-1", "A-1"), (text, "Müller", "Muller"), (phone, "+4930123456", "+4930123457")],
)  # fmt: skip
def test_different_values_stay_different(normaliser, first, second):
    assert normaliser(first) != normaliser(second)


@pytest.mark.parametrize("value", ["Straße ﬁ ΣΊΣ İ ẞ", "ͅα", "ﬃ\u0345", "Ⅷ"])
def test_a_normal_form_stays_as_it_is(value):
    assert text(text(value)) == text(value)


def test_national_numbers_need_a_country():
    assert phone("030 123456", "DE") == "+4930123456"
    with pytest.raises(NotNormal):
        phone("030 123456")


@pytest.mark.parametrize(
    "name, value",
    [("email", "secret"), ("email", "@secret.example"), ("email", "secret@"), ("email", "a b@secret.example"),
     ("email", "a@-secret-.example"), ("email", "a@" + "x" * 70 + ".example"), ("phone", "secret"), ("phone", "1"),
     ("phone", ""), ("text", "  "), ("external_id", ""), ("email", "")],
)  # fmt: skip
def test_what_has_no_normal_form_is_refused_without_quoting_it(name, value):
    with pytest.raises(NotNormal) as caught:
        NORMALISERS[name].apply(value)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


# ENC-17: the budget --------------------------------------------------------------------------------------------------


def test_enc_17_the_bounds_are_those_of_the_requirement():
    assert bit_bounds(1_000_000) == (10, 18)
    assert bit_bounds(4) == (1, 1)
    assert bit_bounds(0) == (0, 1)


@pytest.mark.parametrize(
    "bits, fits", [((9,), False), ((10,), True), ((9, 9), True), ((9, 10), False), ((), True)]
)
def test_enc_17_all_indexes_of_a_record_share_one_budget(bits, fits):
    specs = [IndexSpec(number, "email", size) for number, size in enumerate(bits)]
    if fits:
        assert check_budget(specs, 1_000_000).used == sum(bits)
    else:
        with pytest.raises(BitBudgetBroken) as caught:
            check_budget(specs, 1_000_000)
        assert caught.value.alarm


@pytest.mark.parametrize(
    "transform", ["gender", "status", "country", "birth_year", "diagnosis", "boolean", "nonsense"]
)
def test_enc_17_fields_with_few_values_are_never_indexed(transform):
    with pytest.raises(BitBudgetBroken, match="can't be indexed"):
        IndexSpec(1, transform, 8)


@pytest.mark.parametrize("bits", [0, 32, -1])
def test_enc_17_a_token_has_a_sane_size(bits):
    with pytest.raises(BitBudgetBroken, match="between"):
        IndexSpec(1, "email", bits)


def test_enc_17_a_token_that_covers_too_many_rows_is_named():
    assert overfull_tokens({1: 6, 2: 94}) == {1: 0.06, 2: 0.94}
    assert overfull_tokens(dict.fromkeys(range(20), 5)) == {}
    assert overfull_tokens({}) == {}


@given(
    st.from_regex(
        r"[A-Za-z0-9._+-]{1,20}@([A-Za-z0-9](-?[A-Za-z0-9]){0,8}\.){1,3}[A-Za-z](-?[A-Za-z0-9]){0,6}",
        fullmatch=True,
    )
)
def test_the_short_way_for_plain_addresses_gives_what_the_long_way_gives(address: str) -> None:
    short = normalise.email(address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalise, "_PLAIN_ADDRESS", re.compile("(?!)"))
        assert normalise.email(address) == short
