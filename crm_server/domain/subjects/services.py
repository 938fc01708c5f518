"""Making, joining and releasing data subjects. Contacts and leads call it in the transaction that makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, select, union_all, update

from crm_server.domain.subjects.models import DataSubject
from crm_server.kernel.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from sqlalchemy import Column
    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap


def new_subject(session: Session) -> UUID:
    """Make a data subject. It is written by the same flush as the person; their foreign keys are checked at COMMIT."""
    key = new_id()
    session.add(DataSubject(id=key))
    return key


def release(session: Session, datamap: DataMap, subject_id: UUID) -> bool:
    """Remove a data subject that nothing refers to any more; True when it was removed."""
    session.flush()
    branches = [select(column).where(column == subject_id).limit(1) for column in _references(datamap)]
    if session.scalar(select(exists(union_all(*(branch.subquery().select() for branch in branches))))):
        return False
    subject = session.get(DataSubject, subject_id)
    if subject is None:
        return False
    session.delete(subject)
    session.flush()
    return True


def join(session: Session, datamap: DataMap, source: UUID, target: UUID) -> None:
    """Say that two data subjects are one person: what belonged to `source` belongs to `target`, and it is gone."""
    if source == target:
        return
    session.flush()
    for column in _references(datamap):
        session.execute(
            update(column.table).where(column == source).values({column.name: target}),
        )
    # What the session holds has old versions now.
    session.expire_all()
    release(session, datamap, source)


def _references(datamap: DataMap) -> Iterator[Column[UUID]]:
    """Every column that points at a data subject, told by the data map and by no list."""
    for entity in datamap:
        for item in entity.fields.values():
            if item.policy.target == "data_subject":
                yield item.stored
