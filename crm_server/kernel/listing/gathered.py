"""One event of the audit log for a page that shows many lists, instead of one for each of them (AUD-10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.audit.events import Event, write
from crm_server.kernel.db import actor_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef


def subject_column(entity: EntityDef) -> str | None:
    """The column that names the data subject of a row, for the event that tells of reading it."""
    subject = entity.policy.subject
    return subject if subject is not None and subject != "id" and subject in entity.fields else None


@dataclass(slots=True)
class Gathered:
    """What the lists of a page returned. Give it to `fetch`, and `write` it before the page goes out."""

    refs: dict[int, dict[str, None]] = field(default_factory=dict)
    """Keys of records by number of their entity; each once, in order."""
    subjects: dict[UUID, None] = field(default_factory=dict)

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
            self.subjects.update((UUID(row[key - 2]), None) for row in rows if row[key - 2])

    def write(self, session: Session, page: str) -> None:
        """Write the event, in the session's transaction; none when nothing was returned.

        Args:
            session: Of the request: nothing is shown unless it commits.
            page: A stable word for the page, such as "home".
        """
        if self.refs:
            refs = {str(number): list(keys) for number, keys in self.refs.items()}
            facts = {"page": page, "count": sum(map(len, refs.values())), "refs": refs}
            event = Event("read", "view", subjects=tuple(self.subjects), meta=facts)
            write(session.connection(), actor_of(session), [event])


__all__ = ["Gathered", "subject_column"]
