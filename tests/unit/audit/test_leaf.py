"""Leaves: canonical JSON proven against an independent RFC 8785, and what is refused. # AUD-4"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from compliance.audit.log.leaf import (
    FIELDS,
    MAX_LEAF_BYTES,
    InvalidEvent,
    canonical,
    encode,
    encode_or_substitute,
    leaf_hash,
    payload_commit,
)

from .helpers import event

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KEYS = st.from_regex(r"[A-Za-z0-9_.:\-]{1,12}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


class TestCanonicalForm:
    @given(st.dictionaries(KEYS, VALUES, max_size=6), TEXT.filter(bool), TEXT)
    def test_a_leaf_is_the_rfc_8785_form_of_its_event_for_any_unicode(
        self, meta: dict[str, object], action: str, reason: str
    ) -> None:
        leaf = encode(event(meta=meta, action=action, reason=reason))
        assert leaf[:1] == b"\x01"
        assert leaf[1:] == rfc8785.dumps(json.loads(leaf[1:]))
        assert json.loads(leaf[1:])["meta"] == meta

    @given(st.dictionaries(KEYS, VALUES, max_size=6))
    def test_payloads_are_canonical_as_well(self, payload: dict[str, object]) -> None:
        assert canonical(payload) == rfc8785.dumps(payload)

    def test_types_of_the_database_and_their_text_give_the_same_leaf(self) -> None:
        text = event(event_id="01934a6b-7c1e-7a3b-8f00-0123456789ab", payload_commit="ab" * 32)
        typed = text | {
            "event_id": UUID(text["event_id"]),
            "occurred_at": datetime(2026, 11, 21, 9, 15, 30, 123456, tzinfo=timezone(timedelta(hours=1))),
            "actor_ref": UUID(text["actor_ref"]),
            "payload_commit": bytes.fromhex("ab" * 32),
        }
        assert encode(typed) == encode(text)

    def test_every_field_stands_in_every_leaf(self) -> None:
        assert set(json.loads(encode(event())[1:])) == FIELDS
        assert b'"reason":null' in encode(event(reason=None))

    def test_whole_seconds_keep_their_microseconds(self) -> None:
        assert b"2026-01-01T00:00:00.000000Z" in encode(event(occurred_at=datetime(2026, 1, 1, tzinfo=UTC)))


class TestRefusals:
    @pytest.mark.parametrize(
        "field, value",
        [
            ("event_id", "01934A6B-7C1E-7A3B-8F00-0123456789AB"),
            ("event_id", "x"),
            ("event_id", None),
            ("occurred_at", datetime(2026, 1, 1)),  # noqa: DTZ001 - the point of the test
            ("occurred_at", "2026-01-01 00:00:00"),
            ("occurred_at", "2026-01-01T00:00:00.000000+00:00"),
            ("class", ""),
            ("action", None),
            ("reason", 5),
            ("severity", True),
            ("severity", 1.0),
            ("object_type", b"x"),
            ("subject_ref", "someone"),
            ("subject_ref", [None]),
            ("meta", []),
            ("meta", {"x": 1.5}),
            ("meta", {"x": 2**53}),
            ("meta", {"naïve": 1}),
            ("meta", {"": 1}),
            ("meta", {"x": {"y": object()}}),
            ("meta", {"x": "\ud800"}),
            ("action", "\udfff"),
            ("payload_commit", b"short"),
            ("payload_commit", "AB" * 32),
            ("payload_commit", b""),
        ],
    )
    def test_what_would_not_verify_for_ever_is_refused_by_name(self, field: str, value: object) -> None:
        with pytest.raises(InvalidEvent) as caught:
            encode(event(**{field: value}))
        assert caught.value.field in (field, "event")

    def test_nesting_is_bounded(self) -> None:
        deep: object = 1
        for _ in range(20):
            deep = {"x": deep}
        with pytest.raises(InvalidEvent, match="nested"):
            encode(event(meta=deep))

    @pytest.mark.parametrize("name", sorted(FIELDS))
    def test_a_missing_field_is_named(self, name: str) -> None:
        incomplete = event()
        del incomplete[name]
        with pytest.raises(InvalidEvent, match=name):
            encode(incomplete)

    def test_an_unknown_field_is_named(self) -> None:
        with pytest.raises(InvalidEvent, match="surplus"):
            encode(event() | {"surplus": 1})

    def test_a_leaf_of_65535_bytes_passes_and_one_more_does_not(self) -> None:
        room = MAX_LEAF_BYTES - len(encode(event(meta={"x": ""})))
        assert len(encode(event(meta={"x": "a" * room}))) == MAX_LEAF_BYTES
        with pytest.raises(InvalidEvent, match="65536 bytes"):
            encode(event(meta={"x": "a" * (room + 1)}))

    def test_errors_never_show_values(self) -> None:
        with pytest.raises(InvalidEvent) as caught:
            encode(event(meta={"x": "secret name", "y": 1.25}))
        assert "secret" not in str(caught.value)
        assert "1.25" not in str(caught.value)


class TestSubstitute:
    def test_a_bad_event_becomes_a_leaf_that_commits_to_it(self) -> None:
        first, error = encode_or_substitute(
            event(event_id="01934a6b-7c1e-7a3b-8f00-0123456789ab", meta={"x": 1.5})
        )
        second, _ = encode_or_substitute(
            event(event_id="01934a6b-7c1e-7a3b-8f00-0123456789ab", meta={"x": 2.5})
        )
        assert error is not None
        assert json.loads(first[1:])["action"] == "unsealable_event"
        assert first != second

    @given(st.dictionaries(TEXT, st.none() | TEXT | st.floats() | st.binary(max_size=10), max_size=5))
    def test_no_row_whatever_stops_the_log(self, row: dict[str, object]) -> None:
        leaf, error = encode_or_substitute(row)
        assert error is not None
        assert len(leaf_hash(leaf)) == 32


class TestHashes:
    def test_leaf_hash_is_rfc_6962(self) -> None:
        leaf = encode(event())
        assert leaf_hash(leaf) == hashlib.sha256(b"\x00" + leaf).digest()

    @pytest.mark.parametrize("leaf", [b"", b"\x01", b"\x02{}", b"{}", b"\x01" + b"x" * 65_535])
    def test_what_is_not_a_leaf_has_no_hash(self, leaf: bytes) -> None:
        with pytest.raises(InvalidEvent):
            leaf_hash(leaf)

    def test_commitments_are_hmac_with_exactly_32_bytes_of_salt(self) -> None:
        assert payload_commit(b"s" * 32, b"{}") == hmac.new(b"s" * 32, b"{}", "sha256").hexdigest()
        for salt in (b"", b"s" * 31, b"s" * 33):
            with pytest.raises(InvalidEvent):
                payload_commit(salt, b"{}")
