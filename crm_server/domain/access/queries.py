# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Explains a decision about a record, rule by rule, with the very code that decides.

Permissions are asked of the actor that a request of the person would have; row rules by the conditions that the
policies of PostgreSQL are made of (`kernel/rowsql.py`), evaluated as that person; and whether the record is reached in
the end is what PostgreSQL itself answers under its policies. Nothing is worked out a second time here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from compliance.audit.events import Event, write
from compliance.datamap import Access
from compliance.datamap.text import _
from crm_server.domain.identity.queries import actor_of_user
from crm_server.kernel import db, reach, rowrules, rowsql
from crm_server.kernel.errors import NotAllowed, NotFound
from crm_server.kernel.rowrules import RowAction, Scope
from crm_server.permissions import Action, Permission

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef
    from compliance.datamap.text import Text
    from crm_server.kernel.actor import Actor

ACTS = {
    Action.READ: RowAction.READ,
    Action.EXPORT: RowAction.READ,
    Action.UPDATE: RowAction.UPDATE,
    Action.DELETE: RowAction.DELETE,
    Action.PURGE: RowAction.DELETE,
}
"""The acts that can be explained for a record, with the row rule that each asks."""
_GROUPS = (Access.GENERAL, Access.PERSONAL, Access.FINANCIAL, Access.SPECIAL)
_FACTS = ("id", "owner_id", "team_id", "territory_id")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule and what it says.

    Attributes:
        code: Stable: "account", "permission", "row", "bin".
        role: The role that holds it, if one does.
        scope: The scope of a row rule.
        allows: True and False are decisions; None means that the role doesn't have this rule.
        because: What it found: the permission, the team, the territory, the share, the manager.
    """

    code: str
    allows: bool | None
    role: str | None = None
    scope: Scope | None = None
    because: Text | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON, without the words."""
        return {
            "rule": self.code,
            "allows": self.allows,
            "role": self.role,
            "scope": None if self.scope is None else self.scope.value,
        }


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What a role says about a group of fields; with `role` None no role lets the person see them."""

    group: str
    level: str
    role: str | None
    decides: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all rules that speak about it. `fields` is the level by group of fields."""

    user_id: UUID
    user: str
    entity: str
    record_id: UUID
    action: Action
    allowed: bool
    rules: tuple[Rule, ...]
    fields: Mapping[str, str]
    field_rules: tuple[FieldRule, ...]


def explain(
    session: Session,
    datamap: DataMap,
    user_id: UUID,
    place: tuple[str, UUID],
    action: Action,
) -> Explanation:
    """Why a user may or may not do something with a record. The question is an event of the audit log.

    Whoever has the permission `ACCESS_EXPLAIN` asks about anybody; everybody else about themselves, and is told no more
    of a record that they can't see than of one that isn't there.

    Args:
        session: Carries whoever asks.
        datamap: The data map.
        user_id: Whom it is about.
        place: The record, by name of its entity and key.
        action: One of `ACTS`.

    Raises:
        NotAllowed: about somebody else, without the permission.
        NotFound: no such user, kind of record, or (for those with the permission) record.
    """
    asking = db.actor_of(session)
    administrator = asking.may(Permission.ACCESS_EXPLAIN)
    if not administrator and user_id != asking.id:
        raise NotAllowed(str(Permission.ACCESS_EXPLAIN))
    entity = datamap.entities.get(place[0])
    if entity is None or not entity.exposed or action not in ACTS:
        raise NotFound
    name = session.scalar(select(datamap["user"].table.c.name).where(datamap["user"].table.c.id == user_id))
    if name is None:
        raise NotFound
    who = actor_of_user(session, user_id)
    event = Event(
        "authorization",
        "explain",
        object_type=entity.number,
        object_ref=place[1],
        meta={"user": str(user_id), "action": action.value},
    )
    write(session.connection(), asking, [event])
    roles = _roles(session, datamap, user_id)
    facts = _facts(session, entity, place[1])
    rules = [Rule("account", allows=who is not None)]
    reached = False
    if who is not None:
        rules += _permissions(entity, action, roles, who)
        with _acting_as(session, who):
            reached = _reached(session, entity, place[1], ACTS[action], who)
            # What is said of an unseen record must not differ from what is said of one that isn't there.
            seen = facts is not None and (
                administrator or _reached(session, entity, place[1], RowAction.READ, who)
            )
        if facts is None and administrator:
            raise NotFound
        rules += _rows(session, entity, who, roles, ACTS[action], facts if seen else None)
        if seen and facts is not None and facts["deleted_at"] is not None:
            rules.append(Rule("bin", allows=action is not Action.UPDATE))
    allowed = (
        who is not None
        and reached
        and who.may(f"crm:{entity.name}:{action.value}")
        and all(one.allows for one in rules if one.code == "bin")
    )
    levels = {} if who is None else {group.value: who.field_level(group) for group in _GROUPS}
    field_rules = tuple(_field_rules(roles, levels))
    return Explanation(
        user_id, name, entity.name, place[1], action, allowed, tuple(rules), levels, field_rules
    )


@contextmanager
def _acting_as(session: Session, who: Actor) -> Iterator[None]:
    """Let PostgreSQL answer as it would answer somebody else; only for asking."""
    connection = session.connection()
    connection.exec_driver_sql(*db.telling(who))
    try:
        yield
    finally:
        connection.exec_driver_sql(*db.telling(db.actor_of(session)))


def _roles(session: Session, datamap: DataMap, user_id: UUID) -> list[Any]:
    role, held = datamap["role"].table, datamap["user_role"].table
    return list(
        session.execute(
            select(role.c.name, role.c.permissions, role.c.scopes, role.c.field_rules)
            .join(held, held.c.role_id == role.c.id)
            .where(held.c.user_id == user_id)
            .order_by(role.c.name)
        )
    )


def _facts(session: Session, entity: EntityDef, record_id: UUID) -> dict[str, Any] | None:
    """What row rules look at, whoever asks."""
    table = entity.table
    names = [*_FACTS, *rowrules.GUARDED.get(entity.name, ()), "deleted_at"]
    with db.as_system(session):
        row = session.execute(
            select(*(table.c[name] for name in names if name in table.c)).where(table.c.id == record_id)
        ).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _reached(session: Session, entity: EntityDef, record_id: UUID, act: RowAction, who: Actor) -> bool:
    """What PostgreSQL says under its policies."""
    table = entity.table
    if session.scalar(select(table.c.id).where(table.c.id == record_id)) is None:
        return False
    return act is RowAction.READ or reach.reaches(session, entity, record_id, act, actor=who)


def _permissions(entity: EntityDef, action: Action, roles: list[Any], who: Actor) -> Iterator[Rule]:
    permission = f"crm:{entity.name}:{action.value}"
    for role in roles:
        yield Rule("permission", True if permission in role.permissions else None, role=role.name)
    if not who.may(permission):
        yield Rule("permission", allows=False)


def _field_rules(roles: list[Any], levels: Mapping[str, str]) -> Iterator[FieldRule]:
    """Each group of fields with what each role says of it; the widest level decides, and without one it is hidden."""
    for group, level in levels.items():
        said = {role.name: role.field_rules.get(group, "hidden") for role in roles}
        if level == "hidden":
            yield FieldRule(group, level, None, decides=True)
            continue
        for name, one in said.items():
            if one != "hidden":
                yield FieldRule(group, one, name, decides=one == level)


def _rows(
    session: Session,
    entity: EntityDef,
    who: Actor,
    roles: list[Any],
    act: RowAction,
    facts: dict[str, Any] | None,
) -> Iterator[Rule]:
    """Each scope of each role. Without `facts` the record isn't seen, and no scope of a role fits it."""
    if not rowrules.guarded(entity):
        yield Rule("row", True, scope=Scope.ALL)
        return
    fits = {} if facts is None else _fitting(session, entity, who, act, facts)
    any_fits = False
    for role in roles:
        held = role.scopes.get(f"{entity.name}:{act.value}", ())
        for scope in Scope:
            if scope.value not in held:
                continue
            matches = (scope is Scope.ALL and facts is not None) or fits.get(scope, False)
            because = None
            if matches and facts is not None:
                because = _because(session, entity, scope, who, facts)
            any_fits = any_fits or matches
            yield Rule("row", matches, role=role.name, scope=scope, because=because)
    if not any_fits:
        yield Rule("row", allows=False)


def _fitting(
    session: Session, entity: EntityDef, who: Actor, act: RowAction, facts: dict[str, Any]
) -> dict[Scope, bool]:
    """Which scopes a record is within: the conditions of the policies, on what they look at of the record."""
    scopes = [scope for scope in rowrules.available(entity.name) if scope is not Scope.ALL]
    columns = ", ".join(f"cast(:{name} as uuid) as {name}" for name in facts if name != "deleted_at")
    asked = ", ".join(
        f"coalesce({rowsql.condition(entity, scope, act, 't')}, false) as {scope.value}" for scope in scopes
    )
    statement = text(f"select {asked.replace('::', chr(92) + ':' + chr(92) + ':')} from (select {columns}) t")
    with _acting_as(session, who):
        row = session.execute(
            statement, {name: value for name, value in facts.items() if name != "deleted_at"}
        )
        return {Scope(name): found for name, found in row.mappings().one().items()}


_CHAIN = text("""
with recursive up (id, name, manager_id, depth) as (
  select id, name, manager_id, 0 from identity."user" where id = :owner
  union
  select u.id, u.name, u.manager_id, up.depth + 1 from identity."user" u join up on u.id = up.manager_id
   where up.depth < 50)
select name from up where depth <= coalesce((select min(depth) from up where id = :user), 0) order by depth
""")
_TERRITORY = text("""
select t.name as place, a.name as held from identity.territory_path p
  join identity.territory_member m on m.territory_id = p.ancestor_id and m.user_id = :user
  join identity.territory t on t.id = p.territory_id join identity.territory a on a.id = p.ancestor_id
 where p.territory_id = :territory limit 1
""")
_TEAM = text("select name from identity.team where id = :team")
_TEAM_OF_OWNER = text("""
select t.name from identity.team t join identity.team_member a on a.team_id = t.id and a.user_id = :user
  join identity.team_member b on b.team_id = t.id and b.user_id = :owner limit 1
""")
_SHARE = text("""
select s.level, t.name as team from crm.record_share s left join identity.team t on t.id = s.team_id
 where s.record_type = :kind and s.record_id = :record and (s.until is null or s.until > now())
   and (s.user_id = :user or s.team_id in (select team_id from identity.team_member where user_id = :user))
 order by s.level desc limit 1
""")


def _because(
    session: Session, entity: EntityDef, scope: Scope, who: Actor, facts: dict[str, Any]
) -> Text | None:
    """What made a scope fit, by name."""
    keys = {"kind": entity.number, "record": facts["id"], "user": who.id, "owner": facts["owner_id"]}
    found: Text | None = None
    with db.as_system(session):
        if scope is Scope.TEAM and facts.get("team_id") is not None:
            found = _named(_("Team ${team}"), team=session.scalar(_TEAM, {"team": facts["team_id"]}))
        elif scope is Scope.TEAM:
            found = _named(_("Team ${team}"), team=session.scalar(_TEAM_OF_OWNER, keys))
        elif scope is Scope.TERRITORY:
            row = session.execute(_TERRITORY, {"user": who.id, "territory": facts["territory_id"]}).one()
            found = _named(_("${place}, through ${held}"), place=row.place, held=row.held)
        elif scope is Scope.MANAGED:
            found = _named(_("Reports: ${chain}"), chain=" → ".join(session.scalars(_CHAIN, keys)))
        elif scope is Scope.SHARED:
            team = session.execute(_SHARE, keys).one().team
            found = (
                _("Shared with them") if team is None else _named(_("Shared with team ${team}"), team=team)
            )
    return found


def _named(sentence: Text, **names: Any) -> Text:
    """A sentence with names in it."""
    return sentence % names


__all__ = ["ACTS", "Explanation", "Rule", "explain"]
