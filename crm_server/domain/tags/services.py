"""Tags on records. A tag on a record is an event of that record's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from compliance.audit.events import Event, write
from compliance.datamap.text import _
from crm_server.domain.base import DomainService
from crm_server.domain.tags.models import Tag, Tagging
from crm_server.kernel import reach
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import BadRequest, NotAllowed, NotFound
from crm_server.kernel.rowrules import RowAction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef

Place = tuple[str, "UUID"]


class TagService(DomainService):
    """Tags, and putting them on records."""

    entity_name = "tag"

    def add(self, place: Place, *, tag_id: UUID | None = None, name: str | None = None) -> Tag:
        """Put a tag on a record; by name, it is made when there is none (if the actor may make tags)."""
        entity = self._place(place, "update")
        tag = self._find(tag_id, name)
        if tag is None and name is not None:
            tag = self.create({"name": name})
        if tag is None:
            raise NotFound
        added = self.session.execute(
            insert(Tagging)
            .values(tag_id=tag.id, record_type=entity.number, record_id=place[1])
            .on_conflict_do_nothing()
            .returning(Tagging.tag_id)
        ).first()
        if added is not None:
            self._tell(entity, place[1], "tag", tag.id)
        return tag

    def remove(self, place: Place, tag_id: UUID) -> None:
        """Take a tag off a record; nothing happens when it is not there."""
        entity = self._place(place, "update")
        gone = self.session.execute(
            delete(Tagging)
            .where(
                Tagging.tag_id == tag_id, Tagging.record_type == entity.number, Tagging.record_id == place[1]
            )
            .returning(Tagging.tag_id)
        ).first()
        if gone is not None:
            self._tell(entity, place[1], "untag", tag_id)

    def merge(self, source_id: UUID, target_id: UUID) -> int:
        """Make two tags one: the records of `source` get `target`, and `source` goes into the bin.

        Returns:
            How many records had the source.
        """
        self.require("update")
        self.require("delete")
        if source_id == target_id:
            raise BadRequest(_("A tag can't be merged with itself."))
        source, target = self.get(source_id), self.get(target_id)
        rows = self.session.execute(
            select(Tagging.record_type, Tagging.record_id).where(Tagging.tag_id == source.id)
        ).all()
        if rows:
            self.session.execute(
                insert(Tagging)
                .values([{"tag_id": target.id, "record_type": kind, "record_id": key} for kind, key in rows])
                .on_conflict_do_nothing()
            )
            self.session.execute(delete(Tagging).where(Tagging.tag_id == source.id))
            write(
                self.session.connection(),
                self.actor,
                [
                    Event("change", "tag", object_type=kind, object_ref=key, meta={"tag": str(target.id)})
                    for kind, key in rows
                ],
            )
        self.delete(source.id)
        return len(rows)

    def of(self, entity: EntityDef, record_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
        """The tags of records: id, name and colour, by record."""
        found: dict[UUID, list[dict[str, Any]]] = {}
        rows = self.session.execute(
            select(Tagging.record_id, Tag.id, Tag.name, Tag.colour)
            .join(Tag, Tag.id == Tagging.tag_id)
            .where(
                Tagging.record_type == entity.number,
                Tagging.record_id.in_(record_ids),
                Tag.deleted_at.is_(None),
            )
            .order_by(func.lower(Tag.name))
        )
        for record_id, key, name, colour in rows:
            found.setdefault(record_id, []).append({"id": key, "name": name, "colour": colour})
        return found

    def of_record(self, place: Place) -> list[dict[str, Any]]:
        """The tags of one record that the actor may read."""
        return self.of(self._place(place, "read"), [place[1]]).get(place[1], [])

    def _find(self, tag_id: UUID | None, name: str | None) -> Tag | None:
        query = select(Tag).where(Tag.deleted_at.is_(None))
        if tag_id is not None:
            return self.session.scalar(query.where(Tag.id == tag_id))
        if name is None or not name.strip():
            raise BadRequest(_("Name the tag."))
        return self.session.scalar(query.where(func.lower(Tag.name) == func.lower(name.strip())))

    def _place(self, place: Place, action: str) -> EntityDef:
        entity = self.datamap.entities.get(place[0])
        if entity is None or not entity.exposed:
            raise NotFound
        permission = f"crm:{entity.name}:{action}"
        if not self.actor.may(permission):
            raise NotAllowed(permission)
        table = entity.table
        live = select(table.c.id).where(table.c.id == place[1], table.c.deleted_at.is_(None))
        if self.session.scalar(live) is None:
            raise NotFound
        reach.require(self.session, entity, place[1], RowAction(action), made=True)
        return entity

    def _tell(self, entity: EntityDef, record_id: UUID, action: str, tag_id: UUID) -> None:
        event = Event(
            "change", action, object_type=entity.number, object_ref=record_id, meta={"tag": str(tag_id)}
        )
        write(self.session.connection(), self.actor, [event])


def copy(session: Session, datamap: DataMap, source: Place, target: Place) -> None:
    """Put the tags of one record on another as well, in the transaction of the act that does so."""
    old, new = datamap[source[0]].number, datamap[target[0]].number
    keys = session.scalars(
        select(Tagging.tag_id).where(Tagging.record_type == old, Tagging.record_id == source[1])
    ).all()
    if not keys:
        return
    session.execute(
        insert(Tagging)
        .values([{"tag_id": key, "record_type": new, "record_id": target[1]} for key in keys])
        .on_conflict_do_nothing()
    )
    events = [
        Event("change", "tag", object_type=new, object_ref=target[1], meta={"tag": str(key)}) for key in keys
    ]
    write(session.connection(), actor_of(session), events)


def forget(session: Session, entity: EntityDef, record_id: UUID) -> None:
    """Take all tags off a record that is purged."""
    session.execute(
        delete(Tagging).where(Tagging.record_type == entity.number, Tagging.record_id == record_id)
    )
