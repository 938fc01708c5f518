"""Tells the audit log what a list or a single read returned (AUD-10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.orm import Session

from compliance.audit.events import POLICY_VERSION, recording
from crm_server.kernel.hot import Hot
from crm_server.kernel.ids import new_id
from crm_server.kernel.serialization import dumps_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor


def subject_column(entity: EntityDef) -> str | None:
    """The column that names the data subject of a row, for the event that tells of reading it."""
    subject = entity.policy.subject
    return subject if subject is not None and subject != "id" and subject in entity.fields else None


@dataclass(frozen=True, slots=True)
class Reading:
    """The event of a read that is under way. Made before the rows are read, so that what can't be told isn't read.

    Attributes:
        payload: Commitment and sealed document of what was searched for.
    """

    actor: Actor
    action: str
    event_id: UUID = field(default_factory=new_id)
    payload: tuple[bytes, bytes] | None = field(default=None, repr=False)

    def tell(
        self,
        source: Hot | Session | Connection,
        meta: dict[str, Any],
        *,
        object_type: int | None = None,
        record: str | None = None,
        subjects: Iterable[str] = (),
    ) -> None:
        """Write the event. What was read may leave when this returns, and must not if it raises.

        Args:
            source: Where it was read. A session or connection writes the event in its own transaction.
            meta: Facts without personal data.
            object_type: Number of the entity.
            record: Key of the record, where it is one.
            subjects: Keys of the data subjects whose records were returned.
        """
        actor = self.actor
        row: dict[str, Any] = {
            "event_id": self.event_id,
            "occurred_at": datetime.now(UTC),
            "event_class": "read",
            "action": self.action,
            "outcome": "success",
            "severity": 1,
            "actor_ref": actor.id,
            "auth_method": actor.auth_method,
            "session_ref": actor.session_ref,
            "request_id": actor.request_id,
            "origin": actor.origin.value,
            "object_type": object_type,
            "object_ref": record,
            "subject_ref": list(dict.fromkeys(subjects)) or None,
            "purpose": actor.purpose,
            "policy_version": POLICY_VERSION,
            "meta": meta,
        }
        if self.payload is not None:
            commit, body = self.payload
            row |= {"payload_commit": f"\\x{commit.hex()}", "payload_body": f"\\x{body.hex()}"}
        if isinstance(source, Hot):
            source.reads.record(row)
            return
        connection = source.connection() if isinstance(source, Session) else source
        connection.exec_driver_sql(_RECORD, (dumps_text([row]),))

    def tell_list(self, source: Hot | Session | Connection, entity: EntityDef, found: Gathered) -> None:
        """Write the event of one list."""
        refs = list(found.refs.get(entity.number, ()))
        meta = {"count": len(refs), "refs": refs}
        self.tell(source, meta, object_type=entity.number, subjects=found.subjects)


@dataclass(slots=True)
class Gathered:
    """What the lists of a page returned. Give it to `fetch`, and `tell` it before the page goes out."""

    refs: dict[int, dict[str, None]] = field(default_factory=dict)
    """Keys of records by number of their entity; each once, in order."""
    subjects: dict[str, None] = field(default_factory=dict)

    def add(self, entity: EntityDef, rows: Sequence[Sequence[Any]], key: int) -> None:
        """Take rows of a list.

        Args:
            entity: What they are.
            rows: As the statement returned them.
            key: Place of their key; the data subject stands two before it, if there is one.
        """
        if not rows:
            return
        self.refs.setdefault(entity.number, {}).update((row[key], None) for row in rows)
        if subject_column(entity) is not None:
            self.subjects.update((row[key - 2], None) for row in rows if row[key - 2])

    def tell(self, source: Hot, actor: Actor, page: str) -> None:
        """Write the event; none when nothing was returned. Returns when the page may go out.

        Args:
            source: Where it was read.
            actor: Who reads.
            page: A stable word for the page, such as "home".
        """
        if self.refs:
            refs = {str(number): list(keys) for number, keys in self.refs.items()}
            meta = {"page": page, "count": sum(map(len, refs.values())), "refs": refs}
            Reading(actor, "view").tell(source, meta, subjects=self.subjects)


_RECORD = recording("%s", whole=True)

__all__ = ["Gathered", "Reading", "subject_column"]
