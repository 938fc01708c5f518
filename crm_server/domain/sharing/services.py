"""Sharing records with users and teams, and handing them over. Each act is an event of the record's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, text

from compliance.audit.events import Event, write
from compliance.datamap.text import _
from crm_server.domain.sharing.models import LEVELS, RecordShare
from crm_server.kernel import rowrules, rowsql
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of, as_system
from crm_server.kernel.errors import Errors, NotAllowed, NotFound
from crm_server.kernel.ids import new_id
from crm_server.kernel.rowrules import RowAction, Scope

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef

Place = tuple[str, "UUID"]
MOST = 100
"""Shares of one record. More is a team."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share as pages and the API show it. `over` says that its time is past."""

    id: UUID
    user_id: UUID | None
    team_id: UUID | None
    name: str
    level: str
    until: datetime | None
    over: bool

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "user_id": self.user_id,
            "team_id": self.team_id,
            "name": self.name,
            "level": self.level,
            "until": self.until,
            "over": self.over,
        }


class SharingService:
    """Shares of records, as the session's actor.

    Whoever may change a record by a rule of their own may share it, for reading or changing; somebody to whom it was
    only shared may not pass it on. Shares add to the row rules of the receiver's roles: they need the permission for
    the kind of record and the scope "shared", and they go when the record is removed for good.
    """

    def __init__(self, session: Session, datamap: DataMap) -> None:
        self._session = session
        self._datamap = datamap
        self._actor = actor_of(session)
        self._user, self._team = datamap["user"].table, datamap["team"].table

    def of(self, place: Place) -> list[Share]:
        """The shares of a record that the actor may see, those of users first, by name.

        Raises:
            NotFound: no such record, or none that the actor may see.
        """
        entity = self._entity(place, "read")
        name = func.coalesce(self._user.c.name, self._team.c.name)
        rows = self._session.execute(
            select(RecordShare, name)
            .join(self._user, self._user.c.id == RecordShare.user_id, isouter=True)
            .join(self._team, self._team.c.id == RecordShare.team_id, isouter=True)
            .where(RecordShare.record_type == entity.number, RecordShare.record_id == place[1])
            .order_by(RecordShare.team_id.is_not(None), func.lower(name), RecordShare.id)
        )
        moment = now()
        return [
            Share(
                one.id,
                one.user_id,
                one.team_id,
                called or "",
                one.level,
                one.until,
                over=one.until is not None and one.until <= moment,
            )
            for one, called in rows
        ]

    def may_share(self, place: Place) -> bool:
        """Whether the actor may share a record."""
        entity = self._entity(place, "read")
        if not self._actor.may(f"crm:{entity.name}:update"):
            return False
        scopes = rowrules.scopes_of(self._actor, entity.name, RowAction.UPDATE)
        if Scope.ALL in scopes:
            return True
        conditions = [
            rowsql.condition(entity, scope, RowAction.UPDATE, "t")
            for scope in Scope
            if scope in scopes - {Scope.SHARED}
        ]
        if not conditions:
            return False
        found = f'select exists (select 1 from crm."{entity.table.name}" t where t.id = :id and ({{}}))'  # noqa: S608
        return bool(
            self._session.execute(text(found.format(" or ".join(conditions)).replace("::", r"\:\:")), {"id": place[1]})
            .scalar_one()
        )  # fmt: skip

    def share(
        self,
        place: Place,
        *,
        user_id: UUID | None = None,
        team_id: UUID | None = None,
        level: str = "read",
        until: datetime | None = None,
    ) -> Share:
        """Give a record to a user or a team; a share that is there already gets the new level and time.

        Args:
            place: The record.
            user_id: The receiver, or
            team_id: the team that receives.
            level: "read", or "write" for reading and changing.
            until: When it ends; None is for good.

        Raises:
            ValidationFailed: no such receiver, an unknown level, a time that is past, or too many shares.
            NotAllowed: the actor may not share this record.
        """
        entity = self._entity(place, "read")
        if not self.may_share(place):
            raise NotAllowed(
                f"row:{entity.name}:share",
                _("Only who may change this record by their own rules may share it."),
            )
        self._check(place, entity, user_id, team_id, level, until)
        found = self._session.scalars(
            select(RecordShare).where(
                RecordShare.record_type == entity.number,
                RecordShare.record_id == place[1],
                RecordShare.user_id == user_id if user_id is not None else RecordShare.team_id == team_id,
            )
        ).one_or_none()
        author = None if self._actor.all_permissions else self._actor.id
        if found is None:
            found = RecordShare(
                id=new_id(), record_type=entity.number, record_id=place[1], user_id=user_id, team_id=team_id,
                created_by=author,
            )  # fmt: skip
            self._session.add(found)
        found.level, found.until, found.updated_by = level, until, author
        self._session.flush()
        self._tell(entity, place[1], "share", {"level": level, "to": str(user_id or team_id)})
        return next(one for one in self.of(place) if one.id == found.id)

    def keep(self, place: Place) -> None:
        """Keep a share for reading of a record that the actor has just handed over."""
        entity = self._datamap[place[0]]
        there = select(RecordShare.id).where(
            RecordShare.record_type == entity.number,
            RecordShare.record_id == place[1],
            RecordShare.user_id == self._actor.id,
        )
        with as_system(self._session):
            if self._session.scalar(there) is not None:
                return
            self._session.add(
                RecordShare(
                    id=new_id(), record_type=entity.number, record_id=place[1], user_id=self._actor.id, level="read",
                    created_by=self._actor.id, updated_by=self._actor.id,
                )
            )  # fmt: skip
        self._tell(entity, place[1], "share", {"level": "read", "to": str(self._actor.id)})

    def stop(self, place: Place, share_id: UUID) -> None:
        """End a share. The receiver of a share may give it back.

        Raises:
            NotFound: no such share of this record.
            NotAllowed: the actor may not share this record.
        """
        entity = self._entity(place, "read")
        found = self._session.get(RecordShare, share_id)
        if found is None or (found.record_type, found.record_id) != (entity.number, place[1]):
            raise NotFound
        if not self.may_share(place) and found.user_id != self._actor.id:
            raise NotAllowed(
                f"row:{entity.name}:share",
                _("Only who may change this record by their own rules may share it."),
            )
        # Giving back is not changing the record.
        with as_system(self._session):
            self._session.delete(found)
        self._tell(entity, place[1], "unshare", {"to": str(found.user_id or found.team_id)})

    def _check(
        self,
        place: Place,
        entity: EntityDef,
        user_id: UUID | None,
        team_id: UUID | None,
        level: str,
        until: datetime | None,
    ) -> None:
        errors = Errors()
        if (user_id is None) == (team_id is None):
            errors.add("/user_id", "one_receiver", _("Name either a user or a team."))
        elif user_id is not None:
            live = select(self._user.c.id).where(self._user.c.id == user_id, self._user.c.state != "disabled")
            if self._session.scalar(live) is None:
                errors.add("/user_id", "unknown", _("There is no such user."))
        elif self._session.scalar(select(self._team.c.id).where(self._team.c.id == team_id)) is None:
            errors.add("/team_id", "unknown", _("There is no such team."))
        if level not in LEVELS:
            errors.add("/level", "choice", _("Choose reading, or reading and changing."))
        if until is not None and until <= now():
            errors.add("/until", "past", _("This time is past."))
        there = select(func.count()).where(
            RecordShare.record_type == entity.number, RecordShare.record_id == place[1]
        )
        if (self._session.scalar(there) or 0) >= MOST:
            errors.add(
                "",
                "too_many",
                _("A record can be shared ${n} times. Share it with a team.", mapping={"n": MOST}),
            )
        errors.raise_if_any()

    def _entity(self, place: Place, action: str) -> EntityDef:
        entity = self._datamap.entities.get(place[0])
        if entity is None or not rowrules.guarded(entity):
            raise NotFound
        permission = f"crm:{entity.name}:{action}"
        if not self._actor.may(permission):
            raise NotAllowed(permission)
        table = entity.table
        live = select(table.c.id).where(table.c.id == place[1], table.c.deleted_at.is_(None))
        if self._session.scalar(live) is None:
            raise NotFound
        return entity

    def _tell(self, entity: EntityDef, record_id: UUID, action: str, meta: dict[str, Any]) -> None:
        event = Event("change", action, object_type=entity.number, object_ref=record_id, meta=meta)
        write(self._session.connection(), self._actor, [event])


def forget(session: Session, entity: EntityDef, record_id: UUID) -> None:
    """Remove the shares of a record that is purged."""
    session.execute(
        delete(RecordShare).where(
            RecordShare.record_type == entity.number, RecordShare.record_id == record_id
        )
    )


__all__ = ["LEVELS", "Share", "SharingService", "forget"]
