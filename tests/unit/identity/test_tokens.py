"""API tokens (AUTH-18)."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.identity.tokens import (
    PresentedToken,
    TokenGrant,
    TokenState,
    address_allowed,
    judge_token,
    new_api_token,
    parse_api_token,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_token_names_itself_and_hides_its_secret() -> None:
    token = new_api_token()
    prefix, public_id, rest = token.text.split("_")
    assert (prefix, public_id, len(rest)) == ("kntr", token.public_id, 49)
    assert rest not in repr(token)
    assert parse_api_token(token.text) == PresentedToken(token.public_id, token.digest)


def test_every_mistyped_character_is_noticed_without_a_query() -> None:
    text = new_api_token().text
    for position in range(len(text)):
        wrong = text[:position] + ("0" if text[position] != "0" else "1") + text[position + 1 :]
        assert parse_api_token(wrong) is None


@given(st.text(max_size=120))
def test_arbitrary_text_is_no_token(text: str) -> None:
    assert parse_api_token(text) is None


class TestDecision:
    @pytest.mark.parametrize(
        "change, state",
        [
            ({}, TokenState.ACTIVE),
            ({"digest": b"x" * 32, "revoked_at": NOW}, TokenState.WRONG_SECRET),
            ({"revoked_at": NOW}, TokenState.REVOKED),
            ({"user_active": False}, TokenState.USER_INACTIVE),
            ({"expires_at": NOW}, TokenState.EXPIRED),
            ({"networks": ("10.0.0.0/8",)}, TokenState.ADDRESS_NOT_ALLOWED),
            ({"networks": ("10.0.0.0/8", "192.0.2.0/24")}, TokenState.ACTIVE),
        ],
    )
    def test_each_rule_has_its_reason(self, change: dict[str, object], state: TokenState) -> None:
        token = new_api_token()
        grant = TokenGrant(token.digest, frozenset({"contacts:read"}), NOW + timedelta(days=1))
        grant = dataclasses.replace(grant, **change)  # type: ignore[arg-type]
        presented = parse_api_token(token.text)
        assert presented is not None
        assert judge_token(grant, presented, NOW, "192.0.2.7") is state


@pytest.mark.parametrize(
    "address, networks, allowed",
    [
        ("192.0.2.7", [], True),
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"], True),
        ("192.0.3.7", ["192.0.2.0/24"], False),
        ("not an address", ["192.0.2.0/24"], False),
        ("192.0.2.7", ["typing error"], False),
    ],
)
def test_address_lists(address: str, networks: list[str], allowed: bool) -> None:
    assert address_allowed(address, networks) is allowed
