"""Events as values, and how they become rows. Every writer of audit events goes through `write`."""

# ruff: noqa: S608 - the statement is put together from names of columns; values go as parameters.
from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from security.crypto.document import DocumentKey

PAYLOAD_SEALED = 1
"""Format of a payload row: a sealed document of key class `audit`, bound to its event."""
SALT_BYTES = 32
POLICY_VERSION = 1


class Principal(Protocol):
    """What an event needs to know of whoever acts; the application's actor fits."""

    @property
    def id(self) -> UUID:
        """Key of the person or process."""

    @property
    def origin(self) -> str:
        """Through which door the act came."""

    @property
    def auth_method(self) -> str:
        """How the actor proved who they are."""

    @property
    def session_ref(self) -> UUID | None:
        """Session or token, as a pseudonym."""

    @property
    def request_id(self) -> UUID | None:
        """The request, if there is one."""

    @property
    def purpose(self) -> str:
        """What for."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        event_class: "change", "read", "authentication", "authorization", "export", "configuration", "job".
        action: A stable word such as "update", "login", "list".
        object_type: Number of the entity, with `object_ref` the record's key.
        meta: Facts without personal data: field numbers, counts, versions.
        payload: Personal facts; kept beside the event, committed to by a salted hash.
    """

    event_class: str
    action: str
    outcome: str = "success"
    reason: str | None = None
    severity: int = 1
    object_type: int | None = None
    object_ref: UUID | None = None
    subjects: tuple[UUID, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] | None = None
    event_id: UUID = field(default_factory=uuid7)


def canonical(payload: dict[str, Any]) -> bytes:
    """Deterministic JSON: sorted keys, no white space, UTF-8.

    For payloads (strings, whole numbers, booleans, null, lists and maps) this equals RFC 8785.
    """
    return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def commitment(salt: bytes, payload: bytes) -> bytes:
    """`HMAC-SHA256(salt, canonical payload)`; the salt lives only inside the payload row.

    Args:
        salt: 32 random bytes.
        payload: Canonical JSON.
    """
    return hmac.digest(salt, payload, hashlib.sha256)


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload that is to be sealed.

    Attributes:
        subject: The data subject under whose key it goes; None where it is about nobody in particular.
        keeper: Then who keeps it: whoever acted, or None for the installation.
        content: Salt (32 bytes) and canonical JSON.
    """

    event_id: UUID
    subject: UUID | None
    keeper: UUID | None
    content: bytes = field(repr=False)


class PayloadVault(Protocol):
    """Seals payloads; the application has one for each engine on which it writes."""

    def seal(
        self, connection: Connection, payloads: Sequence[Payload], fresh: Mapping[UUID, DocumentKey]
    ) -> Sequence[bytes | None]:
        """The sealed payloads in order; None for the payload of a person who was erased.

        Args:
            fresh: Keys of data subjects that were made in this very transaction.
        """


_vaults: WeakKeyDictionary[Engine, PayloadVault] = WeakKeyDictionary()


def use_vault(engine: Engine, vault: PayloadVault) -> None:
    """Seal the payloads that are written on an engine.

    Without keys (migrations, which the owner runs) an event tells facts alone, as those of the trigger do: a payload is
    never written in clear.
    """
    _vaults[engine] = vault


def salted(payload: dict[str, Any]) -> tuple[bytes, bytes]:
    """(commitment, content to seal) of a payload."""
    salt, body = os.urandom(SALT_BYTES), canonical(payload)
    return commitment(salt, body), salt + body


def _told(
    connection: Connection, actor: Principal, events: Sequence[Event], fresh: Mapping[UUID, DocumentKey]
) -> tuple[dict[str, list[Any]], list[bytes | None]]:
    """The columns of the events by name, and the sealed payload of each event that has one."""
    number = len(events)
    metas: list[dict[str, Any]] = [item.meta for item in events]
    commits: list[bytes | None] = [None] * number
    bodies: list[bytes | None] = [None] * number
    places: list[int] = []
    payloads: list[Payload] = []
    for place, item in enumerate(events):
        if item.payload is None:
            continue
        commits[place], content = salted(item.payload)
        # Changes of records about nobody are the installation's; what somebody looked for is theirs.
        keeper = None if item.event_class == "change" else actor.id
        subject = item.subjects[0] if item.subjects else None
        payloads.append(Payload(item.event_id, subject, keeper, content))
        places.append(place)
    vault = _vaults.get(connection.engine) if payloads else None
    sealed = [None] * len(payloads) if vault is None else vault.seal(connection, payloads, fresh)
    for place, body in zip(places, sealed, strict=True):
        bodies[place] = body
        if body is None:
            commits[place], metas[place] = None, metas[place] | {"payload": "left_out"}
    return {
        "event_id": [item.event_id for item in events],
        "occurred_at": [datetime.now(UTC)] * number,
        "event_class": [item.event_class for item in events],
        "action": [item.action for item in events],
        "outcome": [item.outcome for item in events],
        "reason": [item.reason for item in events],
        "severity": [item.severity for item in events],
        "actor_ref": [actor.id] * number,
        "auth_method": [actor.auth_method] * number,
        "session_ref": [actor.session_ref] * number,
        "request_id": [actor.request_id] * number,
        "origin": [str(actor.origin)] * number,
        "object_type": [item.object_type for item in events],
        "object_ref": [item.object_ref for item in events],
        "subject_ref": [list(item.subjects) or None for item in events],
        "purpose": [actor.purpose] * number,
        "policy_version": [POLICY_VERSION] * number,
        "meta": metas,
        "payload_commit": commits,
    }, bodies


def columns_of(
    connection: Connection,
    actor: Principal,
    events: Sequence[Event],
    fresh: Mapping[UUID, DocumentKey] | None = None,
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """(columns of `audit.event`, columns of `audit.event_payload`) for a writer that has a faster way than INSERT.

    Payloads are sealed in the transaction of `connection`.

    Args:
        fresh: Keys of data subjects that were made in this very transaction, so that nobody looks for them.
    """
    columns, bodies = _told(connection, actor, events, fresh or {})
    sealed = [(key, body) for key, body in zip(columns["event_id"], bodies, strict=True) if body is not None]
    return columns, {
        "event_id": [key for key, _body in sealed],
        "format": [PAYLOAD_SEALED] * len(sealed),
        "body": [body for _key, body in sealed],
    }


_TYPES = {
    "event_id": "uuid",
    "occurred_at": "timestamptz",
    "event_class": "text",
    "action": "text",
    "outcome": "text",
    "reason": "text",
    "severity": "smallint",
    "actor_ref": "uuid",
    "auth_method": "text",
    "session_ref": "uuid",
    "request_id": "uuid",
    "origin": "text",
    "object_type": "smallint",
    "object_ref": "uuid",
    "subject_ref": "uuid[]",
    "purpose": "text",
    "policy_version": "smallint",
    "meta": "jsonb",
    "payload_commit": "bytea",
}
_NAMES, _KINDS = ", ".join(_TYPES), ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
_PREPARE = f"""PREPARE record_events(text) AS with given as (
  select * from json_to_recordset($1::json) as x({_KINDS}, body bytea)),
payload as (insert into audit.event_payload (event_id, format, body)
            select event_id, {PAYLOAD_SEALED}, body from given where body is not null)
insert into audit.event ({_NAMES}) select {_NAMES} from given"""
_PREPARED = "kontor.audit.prepared"
_MOST_AT_ONCE = 500


def telling(given: Mapping[str, str], source: str, *, body: str | None = None) -> list[str]:
    """Common table expressions that insert one event, for a statement that reads and tells of it.

    Args:
        given: SQL of its columns by name; those that are left out have their defaults.
        source: What follows FROM, with one row; without rows nothing is written.
        body: SQL of its sealed payload, if it has one.
    """
    event = f"insert into audit.event ({', '.join(given)}) select {', '.join(given.values())} from {source}"
    clauses = [f"event as ({event} returning event_id)"]
    if body is not None:
        clauses.append(
            "payload as (insert into audit.event_payload (event_id, format, body) "
            f"select event_id, {PAYLOAD_SEALED}, {body} from event)"
        )
    return clauses


def write(connection: Connection, actor: Principal, events: Iterable[Event]) -> None:
    """Insert events and their sealed payloads in the transaction of `connection`.

    One statement for both, prepared once on each connection: every change pays for this.
    """
    columns, bodies = _told(connection, actor, list(events), {})
    columns |= {"payload_commit": _spelled(columns["payload_commit"]), "body": _spelled(bodies)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if _PREPARED not in connection.info:
        connection.exec_driver_sql(_PREPARE)
        connection.info[_PREPARED] = True
    for start in range(0, len(rows), _MOST_AT_ONCE):
        told = orjson.dumps(rows[start : start + _MOST_AT_ONCE], option=orjson.OPT_UTC_Z).decode()
        connection.exec_driver_sql("EXECUTE record_events(%s)", (told,))


def _spelled(values: Iterable[bytes | None]) -> list[str | None]:
    """Bytes as PostgreSQL reads them in JSON."""
    return [None if value is None else f"\\x{value.hex()}" for value in values]
