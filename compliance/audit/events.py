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


def _sealed(
    connection: Connection, payloads: list[Payload], fresh: Mapping[UUID, DocumentKey]
) -> dict[UUID, bytes | None]:
    if not payloads:
        return {}
    vault = _vaults.get(connection.engine)
    if vault is None:
        return dict.fromkeys(one.event_id for one in payloads)
    return dict(zip((one.event_id for one in payloads), vault.seal(connection, payloads, fresh), strict=True))


def rows_of(
    connection: Connection,
    actor: Principal,
    events: Iterable[Event],
    fresh: Mapping[UUID, DocumentKey] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of `audit.event`, rows of `audit.event_payload`) for a writer that has a faster way than INSERT.

    Payloads are sealed in the transaction of `connection`.

    Args:
        fresh: Keys of data subjects that were made in this very transaction, so that nobody looks for them.
    """
    moment = datetime.now(UTC)
    events = list(events)
    commits: dict[UUID, bytes] = {}
    payloads: list[Payload] = []
    for item in events:
        if item.payload is None:
            continue
        commits[item.event_id], content = salted(item.payload)
        # Changes of records about nobody are the installation's; what somebody looked for is theirs.
        keeper = None if item.event_class == "change" else actor.id
        payloads.append(Payload(item.event_id, next(iter(item.subjects), None), keeper, content))
    sealed = _sealed(connection, payloads, fresh or {})
    rows: list[dict[str, Any]] = []
    for item in events:
        left_out = item.event_id in sealed and sealed[item.event_id] is None
        rows.append(
            {
                "event_id": item.event_id,
                "occurred_at": moment,
                "event_class": item.event_class,
                "action": item.action,
                "outcome": item.outcome,
                "reason": item.reason,
                "severity": item.severity,
                "actor_ref": actor.id,
                "auth_method": actor.auth_method,
                "session_ref": actor.session_ref,
                "request_id": actor.request_id,
                "origin": str(actor.origin),
                "object_type": item.object_type,
                "object_ref": item.object_ref,
                "subject_ref": list(item.subjects) or None,
                "purpose": actor.purpose,
                "policy_version": POLICY_VERSION,
                "meta": item.meta | {"payload": "left_out"} if left_out else item.meta,
                "payload_commit": None if left_out else commits.get(item.event_id),
            }
        )
    bodies = [
        {"event_id": key, "format": PAYLOAD_SEALED, "body": body}
        for key, body in sealed.items()
        if body is not None
    ]
    return rows, bodies


_COLUMNS = (
    "event_id",
    "occurred_at",
    "event_class",
    "action",
    "outcome",
    "reason",
    "severity",
    "actor_ref",
    "auth_method",
    "session_ref",
    "request_id",
    "origin",
    "object_type",
    "object_ref",
    "subject_ref",
    "purpose",
    "policy_version",
    "meta",
    "payload_commit",
)
_CASTS = {"subject_ref": "::uuid[]", "meta": "::jsonb"}
_ROW = "(" + ", ".join(f"%s{_CASTS.get(name, '')}" for name in _COLUMNS) + ")"
_MOST_AT_ONCE = 500


def write(connection: Connection, actor: Principal, events: Iterable[Event]) -> None:
    """Insert events and their sealed payloads in the transaction of `connection`.

    One statement for both, given to the driver as it is: every change pays for this.
    """
    rows, payloads = rows_of(connection, actor, events)
    bodies = {row["event_id"]: row["body"] for row in payloads}
    for start in range(0, len(rows), _MOST_AT_ONCE):
        batch = rows[start : start + _MOST_AT_ONCE]
        values: list[Any] = []
        sealed = [row["event_id"] for row in batch if row["event_id"] in bodies]
        statement = ""
        if sealed:
            places = ", ".join([f"(%s, {PAYLOAD_SEALED}, %s)"] * len(sealed))
            statement = (
                f"with payload as (insert into audit.event_payload (event_id, format, body) values {places}) "
            )
            for key in sealed:
                values += (key, bodies[key])
        statement += (
            f"insert into audit.event ({', '.join(_COLUMNS)}) values {', '.join([_ROW] * len(batch))}"
        )
        for row in batch:
            row["meta"] = orjson.dumps(row["meta"]).decode()
            values += [row[name] for name in _COLUMNS]
        connection.exec_driver_sql(statement, tuple(values))
