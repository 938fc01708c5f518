"""Turns one audit event into the bytes that the log commits to, and refuses what could not be verified for
ever.

The sealer calls `encode` for every event and `encode_or_substitute` where one bad row must not stop the log;
capture calls `encode` inside the application's transaction, so that a bad event fails there, where somebody
can still act.

    leaf      = 0x01 ‖ JCS(event)           RFC 8785, strictly below 65,536 bytes
    leaf_hash = SHA-256(0x00 ‖ leaf)        RFC 6962 §2.1

JCS is reached by construction: the event holds no floating point numbers, integers stay within ±(2^53-1) and
keys are ASCII, and for such input sorted compact JSON *is* the canonical form. A property test compares each
byte with an independent implementation of RFC 8785.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import orjson

LEAF_VERSION = b"\x01"
PRUNED = b"\x00"
PRUNED_BYTES = 49
MAX_LEAF_BYTES = 65_535
SAFE_INTEGER = 2**53 - 1
MAX_DEPTH = 8

_JCS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_.:\-]{1,64}", re.ASCII)
_HEX32 = re.compile(r"[0-9a-f]{64}", re.ASCII)

REQUIRED_TEXT = ("tenant", "class", "action", "outcome", "origin")
OPTIONAL_TEXT = ("reason", "actor_ref", "auth_method", "session_ref", "request_id", "object_ref", "purpose")
WORD_OR_NUMBER = ("severity", "object_type", "policy_version")
FIELDS = frozenset(
    {
        *("event_id", "occurred_at", "subject_ref", "meta", "payload_commit"),
        *REQUIRED_TEXT,
        *OPTIONAL_TEXT,
        *WORD_OR_NUMBER,
    }
)


class InvalidEvent(ValueError):
    """An event cannot become a leaf; the message names the field and the rule, never the value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"audit event field {field!r}: {reason}")
        self.field = field
        self.reason = reason


def encode(event: Mapping[str, object]) -> bytes:
    """Return the leaf `0x01 ‖ JCS(event)` of an event with exactly the fields of `FIELDS`.

    UUIDs and aware datetimes are accepted and become lower-case text and UTC with microseconds; absent
    optional fields must be given as None and are kept as null, so that every leaf has the same members.
    Raises `InvalidEvent`.
    """
    if event.keys() != FIELDS:
        missing, unknown = sorted(FIELDS - event.keys()), sorted(map(str, event.keys() - FIELDS))
        raise InvalidEvent(
            ", ".join(missing + unknown), "the event must have exactly the fields of the log format"
        )
    document: dict[str, object] = {
        "event_id": _event_id(event["event_id"]),
        "occurred_at": _occurred_at(event["occurred_at"]),
        "subject_ref": _references(event["subject_ref"]),
        "meta": _meta(event["meta"]),
        "payload_commit": _commitment(event["payload_commit"]),
    }
    for name in REQUIRED_TEXT:
        value = event[name]
        if type(value) is not str:
            value = _text(name, value)
        if not value:
            raise InvalidEvent(name, "may not be empty")
        document[name] = value
    for name in OPTIONAL_TEXT:
        value = event[name]
        document[name] = value if value is None or type(value) is str else _text(name, value)
    for name in WORD_OR_NUMBER:
        value = event[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise InvalidEvent(name, "must be a word or an integer")
        document[name] = value
    return _finish(document)


def _finish(document: Mapping[str, object]) -> bytes:
    try:
        leaf = LEAF_VERSION + orjson.dumps(document, option=_JCS)
    except orjson.JSONEncodeError as error:
        raise InvalidEvent(
            "event", "holds text that is not valid Unicode or a number outside ±(2^53-1)"
        ) from error
    if len(leaf) > MAX_LEAF_BYTES:
        raise InvalidEvent("meta", f"the leaf has {len(leaf)} bytes, at most {MAX_LEAF_BYTES} are allowed")
    return leaf


def encode_or_substitute(event: Mapping[str, object]) -> tuple[bytes, InvalidEvent | None]:
    """Return the leaf, or for an event that cannot be one a stand-in leaf that says so and commits to its
    digest.

    One malformed row, which only raw SQL by an owner of the table can write, must neither stop the log nor
    vanish. The stand-in is a pure function of the row, so that the verifier's recomputation from raw rows
    still agrees.
    """
    try:
        return encode(event), None
    except InvalidEvent as error:
        raw = repr(sorted((str(key), str(value)) for key, value in event.items())).encode(
            "utf-8", "backslashreplace"
        )
        document: dict[str, object] = {
            "class": "audit",
            "action": "unsealable_event",
            "event_id": str(event.get("event_id"))[:64].encode("ascii", "backslashreplace").decode("ascii"),
            "field": error.field[:200].encode("ascii", "backslashreplace").decode("ascii"),
            "row_sha256": hashlib.sha256(raw).hexdigest(),
        }
        return _finish(document), error


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ leaf), RFC 6962 §2.1; raises `InvalidEvent` for empty, oversized or unversioned
    leaves.
    """
    if not leaf[:1] == LEAF_VERSION or not 1 < len(leaf) <= MAX_LEAF_BYTES:
        raise InvalidEvent("leaf", f"must begin with version 1 and have 2 to {MAX_LEAF_BYTES} bytes")
    return hashlib.sha256(b"\x00" + leaf).digest()


def pruned_entry(digest: bytes, event_id: str) -> bytes:
    """Return what stands for a leaf that retention removed: 0x00 ‖ leaf hash ‖ event id, 49 bytes."""
    return PRUNED + digest + UUID(event_id).bytes


def is_pruned(entry: bytes) -> bool:
    """Whether an entry of the mirror stands for a leaf that is gone."""
    return entry[:1] == PRUNED and len(entry) == PRUNED_BYTES


def entry_hash(entry: bytes) -> bytes:
    """Return the leaf hash of an entry of the mirror, of a pruned one as well. Raises `InvalidEvent`."""
    return entry[1:33] if is_pruned(entry) else leaf_hash(entry)


def pruned_event_id(entry: bytes) -> str:
    """Return the event id of a pruned entry."""
    return str(UUID(bytes=entry[33:]))


def canonical(payload: Mapping[str, object]) -> bytes:
    """Return the RFC 8785 form of a payload; same restrictions as an event's `meta` (no floats, ASCII
    keys).
    """
    return orjson.dumps(_json("payload", payload, 0), option=_JCS)


def payload_commit(salt: bytes, payload: bytes) -> str:
    """Return HMAC-SHA256(salt, JCS(payload)) in hex; `payload` is the output of `canonical`, `salt` 32
    random bytes.

    The salt is kept only inside the sealed payload: when that is deleted, the commitment cannot be guessed
    back to a value, however small the set of possible values is.
    """
    if len(salt) != 32:
        raise InvalidEvent("payload_commit", "the salt must have exactly 32 bytes")
    return hmac.digest(salt, payload, "sha256").hex()


def _event_id(value: object) -> str:
    text = str(value) if isinstance(value, UUID) else value
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise InvalidEvent("event_id", "must be a UUID in lower-case text form")
    return text


def _occurred_at(value: object) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidEvent("occurred_at", "must be aware of its time zone")
        value = value.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidEvent("occurred_at", "must be UTC with microseconds, YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return value


def _references(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise InvalidEvent("subject_ref", "must be a list of references, empty if nobody is concerned")
    return [item if type(item) is str else _text("subject_ref", item) for item in value]


def _commitment(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes | memoryview):
        value = bytes(value).hex()
    if not isinstance(value, str) or not _HEX32.fullmatch(value):
        raise InvalidEvent("payload_commit", "must be exactly 32 bytes, or 64 lower-case hex digits, or None")
    return value


def _text(name: str, value: object) -> str:
    if isinstance(value, UUID | str):
        return str(value)
    raise InvalidEvent(name, "must be text or a UUID")


def _meta(value: object) -> object:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEvent("meta", "must be an object")
    return _json("meta", value, 0) if value else {}


def _json(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) > SAFE_INTEGER:
            raise InvalidEvent(name, "integers must lie within ±(2^53-1); write larger ones as text")
        return int(value)
    if depth >= MAX_DEPTH:
        raise InvalidEvent(name, f"may be nested at most {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise InvalidEvent(name, "keys must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")
        return {key: _json(name, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(name, item, depth + 1) for item in value]
    raise InvalidEvent(name, f"may not hold a {type(value).__name__}; numbers with a fraction go in as text")
