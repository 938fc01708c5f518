"""Events as values, and how they become rows. Every writer of audit events goes through `write`."""

# ruff: noqa: S608 - the statement is put together from names of columns; values go as parameters.
from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from compliance.audit.months import Tables, tables_of

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
class Creations:
    """One event for each of many new records of one kind, as columns of one length.

    Attributes:
        object_type: Number of the entity.
        event_ids: Their ids, 16 bytes each.
        records: The records, 16 bytes each.
        subjects: The data subject that each is about, 16 bytes each; None where they are about nobody.
        metas: Facts without personal data. Records with the same facts share one object.
        payloads: Personal facts, None where there are none.
        keys: The keys of the subjects, where they were made in this very transaction.
    """

    object_type: int
    event_ids: Sequence[bytes]
    records: Sequence[bytes]
    subjects: Sequence[bytes] | None
    metas: Sequence[dict[str, Any]]
    payloads: Sequence[dict[str, Any] | None]
    keys: Sequence[DocumentKey] | None = None


class Payload(NamedTuple):
    """A payload that is to be sealed.

    Attributes:
        event: Id of the event, 16 bytes.
        subject: The data subject under whose key it goes; None where it is about nobody in particular.
        keeper: Then who keeps it: whoever acted, or None for the installation.
        content: Salt (32 bytes) and canonical JSON.
        key: The subject's, if it was made in this very transaction; it says whose it is.
    """

    event: bytes
    subject: UUID | None
    keeper: UUID | None
    content: bytes
    key: DocumentKey | None = None

    def __repr__(self) -> str:
        return "Payload()"


class PayloadVault(Protocol):
    """Seals payloads; the application has one for each engine on which it writes."""

    def seal(self, connection: Connection, payloads: Sequence[Payload]) -> Sequence[bytes | None]:
        """The sealed payloads in order; None for the payload of a person who was erased."""


_vaults: WeakKeyDictionary[Engine, PayloadVault] = WeakKeyDictionary()


def use_vault(engine: Engine, vault: PayloadVault) -> None:
    """Seal the payloads that are written on an engine.

    Without keys (migrations, which the owner runs) an event tells facts alone, as those of the trigger do: a payload is
    never written in clear.
    """
    _vaults[engine] = vault


def salted(payload: dict[str, Any], salt: bytes | None = None) -> tuple[bytes, bytes]:
    """(commitment, content to seal) of a payload.

    Args:
        salt: 32 fresh random bytes; by default they are got here.
    """
    salt, body = salt or os.urandom(SALT_BYTES), canonical(payload)
    return commitment(salt, body), salt + body


Columns = dict[str, Any]
"""Values of columns by name: a list, or `repeat` where all rows have the same."""


def _told(
    connection: Connection, actor: Principal, events: Sequence[Event]
) -> tuple[Columns, list[bytes | None]]:
    """The columns of the events by name, and the sealed payload of each event, None where it has none."""
    payloads: list[Payload | None] = []
    commits: list[bytes | None] = []
    for item in events:
        if item.payload is None:
            payloads.append(None)
            commits.append(None)
            continue
        commit, content = salted(item.payload)
        # Changes of records about nobody are the installation's; what somebody looked for is theirs.
        keeper = None if item.event_class == "change" else actor.id
        subject = item.subjects[0] if item.subjects else None
        payloads.append(Payload(item.event_id.bytes, subject, keeper, content))
        commits.append(commit)
    columns = _given(actor, len(events)) | {
        "event_id": [item.event_id for item in events],
        "event_class": [item.event_class for item in events],
        "action": [item.action for item in events],
        "outcome": [item.outcome for item in events],
        "reason": [item.reason for item in events],
        "severity": [item.severity for item in events],
        "object_type": [item.object_type for item in events],
        "object_ref": [item.object_ref for item in events],
        "subject_ref": [list(item.subjects) or None for item in events],
        "meta": [item.meta for item in events],
        "payload_commit": commits,
    }
    return columns, _sealed(connection, columns, payloads)


def _told_of(connection: Connection, actor: Principal, new: Creations) -> tuple[Columns, list[bytes | None]]:
    """The same for the events of new records."""
    number = len(new.event_ids)
    payloads: list[Payload | None] = [None] * number
    commits: list[bytes | None] = [None] * number
    random = os.urandom(SALT_BYTES * number)
    for place, (event, payload) in enumerate(zip(new.event_ids, new.payloads, strict=True)):
        if payload is None:
            continue
        salt = random[SALT_BYTES * place : SALT_BYTES * (place + 1)]
        commits[place], content = salted(payload, salt)
        if new.keys is not None:
            payloads[place] = Payload(event, None, None, content, new.keys[place])
        else:
            subject = None if new.subjects is None else UUID(bytes=new.subjects[place])
            payloads[place] = Payload(event, subject, None, content)
    columns = _given(actor, number) | {
        "event_id": new.event_ids,
        "event_class": repeat("change", number),
        "action": repeat("create", number),
        "outcome": repeat("success", number),
        "reason": repeat(None, number),
        "severity": repeat(1, number),
        "object_type": repeat(new.object_type, number),
        "object_ref": new.records,
        "subject_ref": new.subjects or repeat(None, number),
        "meta": list(new.metas),
        "payload_commit": commits,
    }
    return columns, _sealed(connection, columns, payloads)


def _given(actor: Principal, number: int) -> Columns:
    """Columns that say who acts and when, for so many events."""
    same = {
        "occurred_at": datetime.now(UTC),
        "actor_ref": actor.id,
        "auth_method": actor.auth_method,
        "session_ref": actor.session_ref,
        "request_id": actor.request_id,
        "origin": str(actor.origin),
        "purpose": actor.purpose,
        "policy_version": POLICY_VERSION,
    }
    return {name: repeat(value, number) for name, value in same.items()}


def _sealed(
    connection: Connection,
    columns: Columns,
    payloads: Sequence[Payload | None],
) -> list[bytes | None]:
    """The sealed payloads of events. One that can't be kept takes its commitment with it, and its event says so."""
    bodies: list[bytes | None] = [None] * len(payloads)
    wanted = [payload for payload in payloads if payload is not None]
    vault = _vaults.get(connection.engine) if wanted else None
    sealed = iter([None] * len(wanted) if vault is None else vault.seal(connection, wanted))
    for place, payload in enumerate(payloads):
        if payload is None:
            continue
        bodies[place] = body = next(sealed)
        if body is None:
            columns["payload_commit"][place] = None
            columns["meta"][place] = columns["meta"][place] | {"payload": "left_out"}
    return bodies


def columns_of(
    connection: Connection,
    actor: Principal,
    events: Sequence[Event] | Creations,
) -> tuple[Columns, Columns]:
    """(columns of `audit.event`, columns of `audit.event_payload`) for a writer that has a faster way than INSERT.

    Payloads are sealed in the transaction of `connection`.
    """
    tell: Any = _told_of if isinstance(events, Creations) else _told
    columns, bodies = tell(connection, actor, events)
    sealed = [(key, body) for key, body in zip(columns["event_id"], bodies, strict=True) if body is not None]
    return columns, {
        "event_id": [key for key, _body in sealed],
        "format": repeat(PAYLOAD_SEALED, len(sealed)),
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
_PREPARE = f"""PREPARE {{name}}(text) AS with given as (
  select * from json_to_recordset($1::json) as x({_KINDS}, body bytea)),
payload as (insert into {{tables.payload}} (event_id, format, body)
            select event_id, {PAYLOAD_SEALED}, body from given where body is not null)
insert into {{tables.event}} ({_NAMES}) select {_NAMES} from given"""
_PREPARED = "kontor.audit.prepared"
_MOST_AT_ONCE = 500


def telling(tables: Tables, given: Mapping[str, str], source: str, *, body: str | None = None) -> list[str]:
    """Common table expressions that insert one event, for a statement that reads and tells of it.

    Args:
        tables: Where it goes.
        given: SQL of its columns by name; those that are left out have their defaults.
        source: What follows FROM, with one row; without rows nothing is written.
        body: SQL of its sealed payload, if it has one.
    """
    names, values = ", ".join(given), ", ".join(given.values())
    event = f"insert into {tables.event} ({names}) select {values} from {source}"
    if body is None:
        return [f"event as ({event})"]
    sealed = f"select event_id, {PAYLOAD_SEALED}, {body} from event"
    payload = f"insert into {tables.payload} (event_id, format, body) {sealed}"
    return [f"event as ({event} returning event_id)", f"payload as ({payload})"]


def write(connection: Connection, actor: Principal, events: Iterable[Event]) -> None:
    """Insert events and their sealed payloads in the transaction of `connection`.

    One statement for both, prepared once a month on each connection: every change pays for this.
    """
    told = list(events)
    tables = tables_of((item.event_id for item in told), connection.engine, connection)
    columns, bodies = _told(connection, actor, told)
    columns |= {"payload_commit": _spelled(columns["payload_commit"]), "body": _spelled(bodies)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    name = f"record_{tables.event.partition('.')[2]}"
    prepared: set[str] = connection.info.setdefault(_PREPARED, set())
    if name not in prepared:
        connection.exec_driver_sql(_PREPARE.format(name=name, tables=tables))
        prepared.add(name)
    for start in range(0, len(rows), _MOST_AT_ONCE):
        text = orjson.dumps(rows[start : start + _MOST_AT_ONCE], option=orjson.OPT_UTC_Z).decode()
        connection.exec_driver_sql(f"EXECUTE {name}(%s)", (text,))


def _spelled(values: Iterable[bytes | None]) -> list[str | None]:
    """Bytes as PostgreSQL reads them in JSON."""
    return [None if value is None else f"\\x{value.hex()}" for value in values]
