# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Whether the actor of a session reaches a record in an act, asked of PostgreSQL with the conditions of the policies.

Reading needs no question: what is not reached is not found. Writing is asked beforehand, so that a refusal says what it
is and is not mistaken for a lost update.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from compliance.datamap.text import _
from crm_server.kernel import rowrules, rowsql
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import NotAllowed
from crm_server.kernel.rowrules import RowAction, Scope

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import TextClause
    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef
    from crm_server.kernel.actor import Actor


Place = tuple[UUID | None, UUID | None, UUID | None]
"""Owner, team and territory of a record."""


def reaches(
    session: Session,
    entity: EntityDef,
    record_id: UUID,
    act: RowAction,
    *,
    made: bool = False,
    actor: Actor | None = None,
) -> bool:
    """Whether the session's actor reaches a record in an act.

    Args:
        session: Carries the actor.
        entity: Kind of the record; one without row rules is always reached.
        record_id: Its key.
        act: What is to be done.
        made: A record that the actor may make counts as well: its parts come with it.
        actor: Whom the transaction speaks for now, if that is not the session's actor.
    """
    if not rowrules.guarded(entity):
        return True
    if Scope.ALL in rowrules.scopes_of(actor or actor_of(session), entity.name, act):
        return True
    return bool(session.execute(_question(entity, act, made=made), {"id": record_id}).scalar_one())


def require(
    session: Session, entity: EntityDef, record_id: UUID, act: RowAction, *, made: bool = False
) -> None:
    """Refuse when the session's actor does not reach a record that they see. Arguments as for `reaches`.

    Raises:
        NotAllowed: with the reason "row:<entity>:<act>".
    """
    if not reaches(session, entity, record_id, act, made=made):
        raise refused(entity, act)


def may_make(session: Session, entity: EntityDef, places: Collection[Place]) -> set[Place]:
    """Those among the places at which the session's actor may make records: PostgreSQL's own rule, asked beforehand.

    Args:
        places: Owner, team and territory of the records to come.
    """
    everywhere = not rowrules.guarded(entity) or Scope.ALL in rowrules.creating(
        actor_of(session), entity.name
    )
    if everywhere or not places:
        return set(places)
    given = list(places)
    columns = dict(zip(("owners", "teams", "territories"), map(list, zip(*given, strict=True)), strict=True))
    found = session.execute(_making(entity), columns).scalars()
    return {given[place - 1] for place in found}


def refused(entity: EntityDef, act: RowAction) -> NotAllowed:
    """The error of a record that is seen and not reached."""
    return NotAllowed(
        f"row:{entity.name}:{act.value}",
        _("Your roles let you see this record, but not do this with it. Its owner can share it with you."),
    )


@lru_cache(maxsize=200)
def _question(entity: EntityDef, act: RowAction, *, made: bool) -> TextClause:
    acts = (act, None) if made else (act,)
    found = f'select exists (select 1 from crm."{entity.table.name}" t where t.id = :id and ({{}}))'
    return text(found.format(rowsql.rule(entity, "t", *acts).replace("::", r"\:\:")))


@lru_cache(maxsize=200)
def _making(entity: EntityDef) -> TextClause:
    rule = rowsql.rule(entity, "t", None).replace("::", r"\:\:")
    return text(
        "select t.place from unnest(:owners, :teams, :territories) with ordinality "
        f"as t (owner_id, team_id, territory_id, place) where {rule}"
    ).bindparams(*(bindparam(name, type_=ARRAY(Uuid)) for name in ("owners", "teams", "territories")))


__all__ = ["Place", "may_make", "reaches", "refused", "require"]
