"""Which rows of a kind of record somebody reaches: the one declaration of row rules.

A role says for each kind of record and each act (read, update, delete) which scopes it has; scopes only ever add, also
over several roles. PostgreSQL enforces it as row-level security (`rowsql` writes the policies from this module), lists
read views made from the same conditions (`kernel/listing/rules.py`), and the access explainer asks those very
conditions one by one.

What the actor reaches travels with each transaction as the setting `kontor.rows`: short tokens such as ",2ro," (entity
number, act, scope), and "*" for the system itself. A transaction that tells nothing sees nothing.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from compliance.datamap.text import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from compliance.datamap import EntityDef
    from compliance.datamap.text import Text
    from crm_server.kernel.actor import Actor


class Scope(StrEnum):
    """How somebody is tied to a record."""

    OWN = "own"
    """They own it."""
    TEAM = "team"
    """It belongs to a team of theirs; where records have no team, a member of such a team owns it."""
    TERRITORY = "territory"
    """It lies in a territory of theirs, or below one."""
    MANAGED = "managed"
    """Somebody who reports to them, directly or through others, owns it."""
    SHARED = "shared"
    """It was shared with them or with a team of theirs."""
    RELATED = "related"
    """It is about a record that they may read: activities on a contact, an account, a case."""
    ALL = "all"
    """Every record."""


class RowAction(StrEnum):
    """What a row rule is about. Records are made within the scopes of changing them."""

    READ = "read"
    UPDATE = "update"
    DELETE = "delete"


SCOPE_LABELS: Mapping[Scope, Text] = {
    Scope.OWN: _("Own"),
    Scope.TEAM: _("Team"),
    Scope.TERRITORY: _("Territory and below"),
    Scope.MANAGED: _("Of those who report to them"),
    Scope.SHARED: _("Shared"),
    Scope.RELATED: _("About a visible record"),
    Scope.ALL: _("All"),
}

GUARDED: Mapping[str, tuple[str, ...]] = {
    "account": (),
    "contact": (),
    "lead": (),
    "opportunity": (),
    "activity": ("account_id", "contact_id", "lead_id", "opportunity_id", "case_id"),
    "case": (),
}
"""Kinds of records under row rules, with the references that the scope `RELATED` follows. Catalogues and settings
(products, price lists, pipelines, tags) are nobody's records: who may read the kind reads all of them."""

NUMBERS: Mapping[str, int] = {
    "account": 1,
    "contact": 2,
    "lead": 3,
    "opportunity": 4,
    "activity": 12,
    "case": 14,
}
"""Their numbers in the data map, which never change; a test compares them."""

_TEAM = frozenset({"account", "contact", "opportunity", "activity", "case", "lead"})
_TERRITORY = frozenset({"account", "contact", "lead", "opportunity"})
_LETTERS = {
    Scope.OWN: "o",
    Scope.TEAM: "t",
    Scope.TERRITORY: "r",
    Scope.MANAGED: "m",
    Scope.SHARED: "s",
    Scope.RELATED: "l",
    Scope.ALL: "a",
}
_ACTS = {RowAction.READ: "r", RowAction.UPDATE: "u", RowAction.DELETE: "d"}
_CREATE = "c"
EVERYTHING_TOLD = "*"
"""What the system itself tells: no row rule limits it."""


def available(entity: str) -> tuple[Scope, ...]:
    """The scopes that records of a kind can have, from narrow to wide."""
    return tuple(
        scope
        for scope in Scope
        if not (scope is Scope.RELATED and not GUARDED[entity])
        and not (scope is Scope.TEAM and entity not in _TEAM)
        and not (scope is Scope.TERRITORY and entity not in _TERRITORY)
    )


def everything() -> dict[str, list[str]]:
    """Scopes of a role that reaches every record."""
    return {f"{entity}:{act}": [Scope.ALL.value] for entity in GUARDED for act in RowAction}


def working() -> dict[str, list[str]]:
    """Scopes of staff who work with customers of their own: they see what is theirs, of their teams, in their
    territories, of those who report to them and what was shared with them; they change all of that, and delete what
    they or those who report to them own.
    """
    found: dict[str, list[str]] = {}
    for entity in GUARDED:
        wide = [scope.value for scope in available(entity) if scope is not Scope.ALL]
        found[f"{entity}:read"] = wide
        found[f"{entity}:update"] = [name for name in wide if name != Scope.RELATED]
        found[f"{entity}:delete"] = [Scope.OWN.value, Scope.MANAGED.value]
    return found


class BadScopes(ValueError):
    """Scopes that no role can have; says at which key and why."""

    def __init__(self, key: str, reason: Text) -> None:
        super().__init__(key)
        self.key = key
        self.reason = reason


def clean(raw: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Scopes as they are stored with a role: known keys and scopes, in the order of the declaration, and what somebody
    may change or delete they may also see.

    Args:
        raw: "contact:read" to names of scopes. What is not there is not reached.

    Raises:
        BadScopes: an unknown kind, act or scope.
    """
    given: dict[tuple[str, RowAction], set[Scope]] = {}
    for key, names in raw.items():
        entity, _colon, act = key.partition(":")
        if entity not in GUARDED or act not in set(RowAction):
            raise BadScopes(key, _("There are no row rules of this name."))
        chosen = {name for name in names if name in set(available(entity))}
        if len(chosen) != len(set(names)):
            raise BadScopes(key, _("Records of this kind don't have this scope."))
        given[entity, RowAction(act)] = {Scope(name) for name in chosen}
    found: dict[str, list[str]] = {}
    for entity in GUARDED:
        least: set[Scope] = set()
        for act in (RowAction.DELETE, RowAction.UPDATE, RowAction.READ):
            own = given.get((entity, act), set())
            # To see is part of changing; to change is no part of deleting.
            reached = own | (least if act is RowAction.READ else set())
            least |= own
            if reached:
                found[f"{entity}:{act.value}"] = (
                    [Scope.ALL.value]
                    if Scope.ALL in reached
                    else [scope.value for scope in Scope if scope in reached]
                )
    return {key: found[key] for key in sorted(found)}


def flat(scopes: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Scopes of a role in the form that an actor carries: "contact:read:own"; those of several roles are joined."""
    return frozenset(f"{key}:{name}" for key, names in scopes.items() for name in names)


EVERYTHING = flat(everything())


def scopes_of(actor: Actor, entity: str, act: RowAction) -> frozenset[Scope]:
    """What an actor reaches of a kind of record, if they hold the permission for the act. ALL stands alone."""
    if actor.all_permissions:
        return frozenset({Scope.ALL})
    return _reached(actor.permissions, actor.scopes, entity, act)


def creating(actor: Actor, entity: str) -> frozenset[Scope]:
    """Within which scopes an actor makes records: of changing them, else of reading them, and their own."""
    if actor.all_permissions:
        return frozenset({Scope.ALL})
    return _creating(actor.permissions, actor.scopes, entity)


@lru_cache(maxsize=2000)
def _reached(
    permissions: frozenset[str], scopes: frozenset[str], entity: str, act: RowAction
) -> frozenset[Scope]:
    if f"crm:{entity}:{act.value}" not in permissions:
        return frozenset()
    found = _given(scopes, entity, act)
    return frozenset({Scope.ALL}) if Scope.ALL in found else found


def _creating(permissions: frozenset[str], scopes: frozenset[str], entity: str) -> frozenset[Scope]:
    if f"crm:{entity}:create" not in permissions:
        return frozenset()
    for act in (RowAction.UPDATE, RowAction.READ):
        found = _given(scopes, entity, act)
        if Scope.ALL in found:
            return frozenset({Scope.ALL})
        found -= {Scope.SHARED, Scope.RELATED}
        if found:
            return found | {Scope.OWN}
    return frozenset({Scope.OWN})


def _given(scopes: frozenset[str], entity: str, act: RowAction) -> frozenset[Scope]:
    return frozenset(scope for scope in available(entity) if f"{entity}:{act.value}:{scope.value}" in scopes)


def token(entity: str, act: RowAction | None, scope: Scope) -> str:
    """The token of one scope, between its commas. `act` None is the making of records."""
    letter = _CREATE if act is None else _ACTS[act]
    return f",{NUMBERS[entity]}{letter}{_LETTERS[scope]},"


def everywhere(act: RowAction) -> str:
    """The token of those who reach all records of all kinds in an act; parts and the change feed ask it first."""
    return f",x{_ACTS[act]},"


def told(actor: Actor) -> str:
    """What a transaction tells PostgreSQL of its actor's reach: letters, digits and commas only, or "*"."""
    if actor.all_permissions:
        return EVERYTHING_TOLD
    return _told(actor.permissions, actor.scopes)


@lru_cache(maxsize=2000)
def _told(permissions: frozenset[str], scopes: frozenset[str]) -> str:
    words = []
    for act in RowAction:
        reached = {entity: _reached(permissions, scopes, entity, act) for entity in GUARDED}
        if all(Scope.ALL in found for found in reached.values()):
            words.append(everywhere(act))
        words += [token(entity, act, scope) for entity, found in reached.items() for scope in sorted(found)]
    words += [
        token(entity, None, scope)
        for entity in GUARDED
        for scope in sorted(_creating(permissions, scopes, entity))
    ]
    return f",{','.join(word.strip(',') for word in words)},"


def guarded(entity: EntityDef) -> bool:
    """Whether records of this kind are under row rules of their own."""
    return entity.name in GUARDED


__all__ = [
    "EVERYTHING",
    "GUARDED",
    "NUMBERS",
    "SCOPE_LABELS",
    "BadScopes",
    "RowAction",
    "Scope",
    "available",
    "clean",
    "creating",
    "everything",
    "everywhere",
    "flat",
    "guarded",
    "scopes_of",
    "token",
    "told",
    "working",
]
