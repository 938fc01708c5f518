# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Tells the audit log what a list or a single read returned (AUD-10)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from compliance.audit.events import POLICY_VERSION, telling
from compliance.audit.months import Tables, tables_of
from crm_server.kernel.ids import new_id
from crm_server.kernel.listing.asking import array
from crm_server.kernel.listing.operators import Values
from crm_server.kernel.listing.running import run
from crm_server.kernel.listing.scope import sql_name
from crm_server.kernel.serialization import dumps_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot


def subject_column(entity: EntityDef) -> str | None:
    """The column that names the data subject of a row, for the event that tells of reading it."""
    subject = entity.policy.subject
    return subject if subject is not None and subject != "id" and subject in entity.fields else None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of an event stand in a statement.

    Attributes:
        tables: What it is written into.
        columns: SQL by column: who acts, and what was read.
        body: SQL of the sealed payload, if there is one.
    """

    tables: Tables
    columns: Mapping[str, str]
    body: str | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """What a statement that tells of it depends on."""
        return self.tables, *self.columns.values(), self.body

    def __or__(self, read: Mapping[str, str]) -> Places:
        """The same with what was read."""
        return replace(self, columns={**self.columns, **read})


@dataclass(frozen=True, slots=True)
class Reading:
    """The event of a read, told by the statement that reads: neither is there without the other.

    Attributes:
        payload: Commitment and sealed document of what was searched for.
    """

    actor: Actor
    action: str
    event_id: UUID = field(default_factory=new_id)
    payload: tuple[bytes, bytes] | None = field(default=None, repr=False)

    def places(self, values: Values, source: Hot | Session | Connection) -> Places:
        """Put what the event tells of whoever acts among the parameters.

        Args:
            source: Where it is read.
        """
        actor = self.actor
        told = {
            "event_id": values.add("uuid", str(self.event_id)),
            "actor_ref": values.add("uuid", str(actor.id)),
            "auth_method": values.add("text", actor.auth_method),
            "session_ref": values.add("uuid", str(actor.session_ref) if actor.session_ref else None),
            "request_id": values.add("uuid", str(actor.request_id) if actor.request_id else None),
            "origin": values.add("text", actor.origin.value),
            "purpose": values.add("text", actor.purpose),
        }
        body = None
        if self.payload is not None:
            commit, content = self.payload
            told["payload_commit"] = values.add("bytea", commit)
            body = values.add("bytea", content)
        connection = source.connection() if isinstance(source, Session) else source
        own = connection if isinstance(connection, Connection) else None
        return Places(tables_of((self.event_id,), connection.engine, own), told, body)

    def tell(
        self,
        source: Hot | Session | Connection,
        meta: dict[str, Any],
        *,
        object_type: int | None = None,
        subjects: Collection[str] = (),
    ) -> None:
        """Write the event by itself. What was read may leave when this returns, and must not if it raises.

        Args:
            source: Where it was read. A session or connection writes the event in its own transaction.
            meta: Facts without personal data.
            object_type: Number of the entity, where there is one.
            subjects: Keys of the data subjects whose records were returned.
        """
        values = Values()
        places = self.places(values, source) | {
            "object_type": values.add("smallint", object_type),
            "subject_ref": values.add("uuid[]", array(subjects) if subjects else None),
            "meta": values.add("jsonb", dumps_text(meta)),
        }
        text = f"with {', '.join(clauses(self.action, places, '(values (1)) x'))} values (1)"
        run(source, text, values, self.actor)


def clauses(action: str, places: Places, source: str) -> list[str]:
    """The expressions that write the event of a read.

    Args:
        action: What was done, such as "list".
        places: Those of `Reading.places`, and what was read.
        source: What follows FROM, with one row; without rows nothing is written.
    """
    same = {"occurred_at": "clock_timestamp()", "event_class": "'read'", "action": f"'{action}'",
            "outcome": "'success'", "policy_version": str(POLICY_VERSION)}  # fmt: skip
    return telling(places.tables, {**same, **places.columns}, source, body=places.body)


def of_one(entity: EntityDef, places: Places, page: str) -> list[str]:
    """Tell of the single record that the expression `page` found, if it did."""
    subject = subject_column(entity)
    about = "null::uuid[]" if subject is None else f"array_remove(array[{sql_name(subject)}], null)"
    read = {"object_type": str(entity.number), "object_ref": "id", "subject_ref": about}
    return clauses("read", places | read, page)


def of_list(entity: EntityDef, places: Places, page: str, limit: int) -> list[str]:
    """Tell of the first `limit` rows of the expression `page`: which records, and whom they concern."""
    subject = subject_column(entity)
    found = f"(select id{'' if subject is None else f', {sql_name(subject)} as subject'} from {page} limit {limit}) x"
    about = (
        "null::uuid[]"
        if subject is None
        else "array_agg(distinct subject) filter (where subject is not null)"
    )
    meta = "jsonb_build_object('count', count(*), 'refs', coalesce(to_jsonb(array_agg(id)), '[]'))"
    read = {"object_type": str(entity.number), "subject_ref": about, "meta": meta}
    return clauses("list", places | read, found)


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


__all__ = ["Gathered", "Places", "Reading", "clauses", "of_list", "of_one", "subject_column"]
