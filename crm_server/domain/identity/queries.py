"""What pages and commands read of identity: plain rows, no objects of the session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exists, func, select

from crm_server.domain.identity.actors import actor_of_user
from crm_server.domain.identity.factor_models import Passkey, TotpFactor
from crm_server.domain.identity.models import (
    LoginSession,
    Role,
    RoleVersion,
    Team,
    TeamMember,
    Territory,
    TerritoryMember,
    User,
    UserRole,
)
from crm_server.kernel.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

T = TypeVar("T")

MOST_USERS = 2000
"""More rows than a person reads on one page; lists say when they are cut."""
MOST_MEMBERS = 200
"""So many members of a group are shown by name, each with a button; the others are named in the form."""


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user in a list. `repr` tells the id alone."""

    id: UUID
    login: str = field(repr=False)
    name: str = field(repr=False)
    email: str | None = field(repr=False)
    state: str
    source: str
    roles: tuple[str, ...]
    factors: str
    last_login_at: datetime | None = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": str(self.id),
            "login": self.login,
            "name": self.name,
            "email": self.email,
            "state": self.state,
            "source": self.source,
            "roles": list(self.roles),
            "second_factor": self.factors != "none",
            "last_login_at": self.last_login_at.isoformat() if self.last_login_at else None,
        }


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A live session in its owner's list."""

    id: UUID
    created_at: datetime
    last_seen_at: datetime
    auth_method: str
    address: str | None = field(repr=False)
    user_agent: str | None = field(repr=False)
    current: bool = False


@dataclass(frozen=True, slots=True)
class TerritoryNode:
    """A territory in the tree, in the order in which a page shows it. `depth` counts from 0 at the top."""

    id: UUID
    name: str
    depth: int
    members: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A territory with those inside it."""

    id: UUID
    name: str
    members: int
    below: list[Branch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team in the list."""

    id: UUID
    name: str
    description: str | None
    members: int


def users(db: Session, *, text: str = "", limit: int = MOST_USERS) -> list[UserRow]:
    """Users by name; `text` is looked for in name and log-in name."""
    role_names = (
        select(func.array_agg(Role.name))
        .join(UserRole, UserRole.role_id == Role.id)
        .where(UserRole.user_id == User.id)
        .scalar_subquery()
    )
    query = select(
        User,
        role_names,
        exists().where(TotpFactor.user_id == User.id, TotpFactor.confirmed_at.is_not(None)),
        exists().where(Passkey.user_id == User.id),
    )
    if text.strip():
        wanted = f"%{_like(text.strip())}%"
        query = query.where(User.name.ilike(wanted) | User.login.ilike(wanted))
    rows = db.execute(query.order_by(func.lower(User.name), User.id).limit(limit))
    return [
        UserRow(
            id=user.id,
            login=user.login,
            name=user.name,
            email=user.email,
            state=user.state,
            source=user.source,
            roles=tuple(sorted(names or ())),
            factors="passkey" if passkey else "totp" if totp else "none",
            last_login_at=user.last_login_at,
        )
        for user, names, totp, passkey in rows
    ]


def live_sessions(db: Session, user_id: UUID, current: UUID | None = None) -> list[SessionRow]:
    """Sessions of a user that were not ended, the last used first."""
    query = (
        select(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
        .where(LoginSession.created_at > func.now() - func.make_interval(0, 0, 0, 1))
        .order_by(LoginSession.last_seen_at.desc())
    )
    return [
        SessionRow(
            row.id,
            row.created_at,
            row.last_seen_at,
            row.auth_method,
            row.address,
            row.user_agent,
            row.id == current,
        )
        for row in db.scalars(query)
    ]


def roles_of(db: Session, user_id: UUID) -> set[UUID]:
    """Ids of a user's roles."""
    return set(db.scalars(select(UserRole.role_id).where(UserRole.user_id == user_id)))


def user(db: Session, key: UUID) -> User:
    """One user. Raises NotFound."""
    return _one(db, User, key)


def role(db: Session, key: UUID) -> Role:
    """One role. Raises NotFound."""
    return _one(db, Role, key)


def team(db: Session, key: UUID) -> Team:
    """One team. Raises NotFound."""
    return _one(db, Team, key)


def territory(db: Session, key: UUID) -> Territory:
    """One territory. Raises NotFound."""
    return _one(db, Territory, key)


def roles(db: Session) -> list[Role]:
    """All roles: the built-in ones first, then by name."""
    return list(db.scalars(select(Role).order_by(Role.built_in.desc(), func.lower(Role.name))))


def proved_at(db: Session, session_id: UUID) -> datetime | None:
    """When the owner of a session last proved who they are."""
    return db.scalar(select(LoginSession.authenticated_at).where(LoginSession.id == session_id))


def _one(db: Session, kind: type[T], key: UUID) -> T:
    found = db.get(kind, key)
    if found is None:
        raise NotFound
    return found


def role_names(db: Session, user_id: UUID) -> list[str]:
    """Names of a user's roles."""
    query = select(Role.name).join(UserRole, UserRole.role_id == Role.id).where(UserRole.user_id == user_id)
    return sorted(db.scalars(query))


@dataclass(frozen=True, slots=True)
class Members:
    """Who is in a group: the first of them by name as (id, log-in name, name), and how many there are."""

    first: tuple[tuple[UUID, str, str], ...] = field(repr=False)
    number: int


def role_members(db: Session, role_id: UUID, most: int | None = MOST_MEMBERS) -> Members:
    """Who holds a role; all of them if `most` is None."""
    return _members(db, UserRole.user_id, UserRole.role_id == role_id, most)


def team_members(db: Session, team_id: UUID) -> Members:
    """Who is in a team."""
    return _members(db, TeamMember.user_id, TeamMember.team_id == team_id)


def territory_members(db: Session, territory_id: UUID) -> Members:
    """Who has a territory itself, not through one above."""
    return _members(db, TerritoryMember.user_id, TerritoryMember.territory_id == territory_id)


def _members(db: Session, user_id: Any, here: Any, most: int | None = MOST_MEMBERS) -> Members:
    query = select(User.id, User.login, User.name).where(User.id == user_id, here)
    rows = db.execute(query.order_by(func.lower(User.name), User.id).limit(most))
    number = db.scalar(select(func.count(user_id)).where(here)) or 0
    return Members(tuple((key, login, name) for key, login, name in rows), number)


def member_counts(db: Session) -> dict[UUID, int]:
    """How many hold each role."""
    rows = db.execute(select(UserRole.role_id, func.count().label("held")).group_by(UserRole.role_id))
    return {row.role_id: row.held for row in rows}


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version of a role: who made it when, and what it says."""

    version: int
    document: dict[str, Any]
    changed_at: datetime
    changed_by: str | None = field(repr=False)
    before: dict[str, Any] | None = None


def role_versions(db: Session, role: Role) -> list[VersionRow]:
    """The kept versions of a role, newest first, each with the one before it."""
    rows = list(
        db.scalars(
            select(RoleVersion).where(RoleVersion.role_id == role.id).order_by(RoleVersion.version.desc())
        )
    )
    names = names_of(db, [row.changed_by for row in rows])
    earlier = [*(row.document for row in rows[1:]), None]
    return [
        VersionRow(
            row.version,
            row.document,
            row.changed_at,
            names.get(row.changed_by) if row.changed_by else None,
            before,
        )
        for row, before in zip(rows, earlier, strict=True)
    ]


def teams(db: Session) -> list[TeamRow]:
    """Teams by name with the number of their members."""
    members = select(func.count()).where(TeamMember.team_id == Team.id).scalar_subquery()
    query = select(Team.id, Team.name, Team.description, members).order_by(func.lower(Team.name))
    return [TeamRow(*row) for row in db.execute(query)]


def territories(db: Session) -> list[TerritoryNode]:
    """The tree of territories, each followed by what lies inside it."""
    members = select(func.count()).where(TerritoryMember.territory_id == Territory.id).scalar_subquery()
    rows = list(db.execute(select(Territory.id, Territory.name, Territory.parent_id, members)))
    below: dict[UUID | None, list[tuple[UUID, str, int]]] = {}
    for key, name, parent, count in rows:
        below.setdefault(parent, []).append((key, name, count))
    found: list[TerritoryNode] = []
    waiting = [(0, *one) for one in sorted(below.get(None, ()), key=_by_name, reverse=True)]
    while waiting:
        depth, key, name, count = waiting.pop()
        found.append(TerritoryNode(key, name, depth, count))
        waiting += [(depth + 1, *one) for one in sorted(below.get(key, ()), key=_by_name, reverse=True)]
    return found


def territory_tree(db: Session) -> list[Branch]:
    """The territories at the top, each with those inside it."""
    top: list[Branch] = []
    path: list[Branch] = []
    for node in territories(db):
        branch = Branch(node.id, node.name, node.members)
        del path[node.depth :]
        (path[-1].below if path else top).append(branch)
        path.append(branch)
    return top


def names_of(db: Session, keys: Collection[UUID | None]) -> dict[UUID, str]:
    """Names of users by key, for pages that tell who did something."""
    wanted = {key for key in keys if key is not None}
    if not wanted:
        return {}
    rows = db.execute(select(User.id, User.name).where(User.id.in_(wanted)))
    return {row.id: row.name for row in rows}


def _by_name(one: tuple[UUID, str, int]) -> str:
    return one[1].casefold()


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


__all__ = [
    "MOST_MEMBERS",
    "MOST_USERS",
    "Members",
    "SessionRow",
    "TeamRow",
    "TerritoryNode",
    "UserRow",
    "actor_of_user",
    "live_sessions",
    "names_of",
    "proved_at",
    "role",
    "role_members",
    "role_names",
    "roles",
    "roles_of",
    "team",
    "team_members",
    "teams",
    "territories",
    "territory",
    "territory_members",
    "user",
    "users",
]
