"""Making, joining and releasing data subjects. Contacts and leads call it in the transaction that makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, select, union_all, update

from crm_server.domain.subjects.models import DataSubject
from crm_server.kernel.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef, FieldDef


_AT_ONCE = 200


def new_subject(session: Session) -> UUID:
    """Make a data subject. It is written by the same flush as the person; their foreign keys are checked at COMMIT."""
    key = new_id()
    session.add(DataSubject(id=key))
    return key


def release(session: Session, datamap: DataMap, subject_id: UUID) -> bool:
    """Remove a data subject that nothing refers to any more; True when it was removed."""
    session.flush()
    branches = [
        select(item.stored).where(item.stored == subject_id).limit(1)
        for _entity, item in _references(datamap)
    ]
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
    for entity, item in _references(datamap):
        if entity.documents and item.name == entity.policy.subject:
            _seal_anew(session, entity, item.name, source, target)
        else:
            column = item.stored
            session.execute(
                update(column.table).where(column == source).values({column.name: target}),
            )
    # What the session holds has old versions now.
    session.expire_all()
    release(session, datamap, source)


def split(session: Session, datamap: DataMap, records: Sequence[Any]) -> UUID:
    """Say that these records are about another person than the data subject they share: they get one of their own.

    Their documents, custom values and files are sealed anew under the keys of the new person, so that each of both can
    be erased alone. Whoever calls names everything that goes along: cases and activities of a contact, for example.

    Returns:
        The new data subject.

    Raises:
        ValueError: the records are about no person, or not all about the same one.
    """
    before = {record.subject_id for record in records}
    (source,) = before if len(before) == 1 else (None,)
    if source is None:
        raise ValueError("only records about one person can be split off")
    target = new_subject(session)
    session.flush()
    for record in records:
        record.subject_id = target
    session.flush()
    release(session, datamap, source)
    return target


def _seal_anew(session: Session, entity: EntityDef, name: str, source: UUID, target: UUID) -> None:
    """Hand rows with sealed documents over: the flush opens them for the one person and seals them for the other."""
    column = getattr(entity.model, name)
    query = select(entity.model).where(column == source).order_by(entity.model.id).limit(_AT_ONCE)
    while found := session.scalars(query).all():
        for record in found:
            setattr(record, name, target)
        session.flush()


def _references(datamap: DataMap) -> Iterator[tuple[EntityDef, FieldDef]]:
    """Every field that points at a data subject, told by the data map and by no list."""
    for entity in datamap:
        for item in entity.fields.values():
            if item.policy.target == "data_subject":
                yield entity, item
