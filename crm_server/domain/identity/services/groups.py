"""What membership in a group of another system means here, and the accounts of that system's people.

Company directories, single sign-on providers and SCIM share this: it finds or makes the account of somebody
for whom a source vouches, keeps it up to date, and turns groups into roles, teams and territories. Those that
any mapping of a source names are governed by that source for its people: membership gives them, its end takes
them away. What no mapping names stays as administrators set it. No mapping makes an administrator (AUTH-7).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, tuple_

from compliance.datamap.text import _
from crm_server.domain.identity import events
from crm_server.domain.identity.directory_models import GroupMapping
from crm_server.domain.identity.models import Role, TeamMember, TerritoryMember, User, UserRole
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Conflict, Errors, NotAllowed, NotFound
from crm_server.permissions import administration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.services.users import UserService

KINDS = ("login", "role", "team", "territory")
_EVENTS = {
    "role": (events.ROLE, "role_taken", "role_given"),
    "team": (events.TEAM, "team_left", "team_joined"),
    "territory": (events.TERRITORY, "territory_left", "territory_joined"),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """A person as a source describes them. `key` is the source's lasting id (AUTH-3)."""

    key: str
    login: str = field(repr=False)
    name: str = field(repr=False)
    email: str | None = field(default=None, repr=False)

    @property
    def usable_email(self) -> str | None:
        """The address, unless it is none."""
        return self.email if self.email and len(self.email) <= 254 and "@" in self.email else None


class GroupService:
    """Accounts of people from elsewhere, and the meanings of their groups."""

    def __init__(self, users: UserService) -> None:
        self._users = users

    def of(self, db: Session, source: str) -> list[GroupMapping]:
        """All mappings of a source."""
        return list(db.scalars(select(GroupMapping).where(GroupMapping.source == source)))

    def map_group(
        self,
        db: Session,
        source: str,
        group_key: str,
        group_name: str,
        kind: str,
        target: UUID | None = None,
    ) -> None:
        """Say what membership in a group means.

        Raises:
            ValidationFailed: an unknown kind, or no target where one is needed.
            Conflict: the role would make administrators.
        """
        errors = Errors()
        if kind not in KINDS or (kind == "login") != (target is None):
            errors.add("/kind", "kind", _("Choose what the group gives, and which."))
        if not group_key or len(group_key) > 300:
            errors.add("/group_key", "required", _("Name a group with at most 300 characters."))
        errors.raise_if_any()
        if kind == "role":
            role = db.get(Role, target)
            if role is None:
                raise NotFound
            if administration(role.permissions):
                raise Conflict(
                    _("A group can't make administrators. Give such roles to each person by hand.")
                )
        known = select(GroupMapping.id).where(
            GroupMapping.source == source,
            GroupMapping.group_key == group_key,
            GroupMapping.kind == kind,
            GroupMapping.target_id.is_not_distinct_from(target),
        )
        if db.scalars(known).first() is not None:
            raise Conflict(_("This group has this meaning already."))
        db.add(
            GroupMapping(
                source=source,
                group_key=group_key,
                group_name=group_name[:300],
                kind=kind,
                target_id=target,
            )
        )
        db.flush()

    def unmap(self, db: Session, source: str, mapping_id: UUID) -> None:
        """Take a meaning away from a group; it shows at the next log-in or comparison. Raises NotFound."""
        mapping = db.get(GroupMapping, mapping_id)
        if mapping is None or mapping.source != source:
            raise NotFound
        db.delete(mapping)
        db.flush()

    def admit(
        self, db: Session, source: str, profile: Profile, groups: Collection[str], *, make: bool = True
    ) -> tuple[User | None, str | None]:
        """Find or make the account of somebody for whom a source vouches, and bring it up to date.

        Args:
            make: Whether an account is made just in time; else only those that are there are let in.

        Returns:
            The account and None, or what is known of the account and the reason why not.
        """
        mappings = self.of(db, source)
        user = self.find(db, source, profile.key)
        if user is not None and user.state == "disabled":
            return user, "account_disabled"
        if not any(one.group_key in groups for one in mappings):
            return user, "not_in_an_allowed_group"
        if user is None:
            if not make:
                return None, "no_account"
            # Two first log-ins at once make one account: the second waits here and then finds it.
            db.execute(
                select(func.pg_advisory_xact_lock(func.hashtextextended(f"{source} {profile.key}", 0)))
            )
            user = self.find(db, source, profile.key)
        if user is None:
            user = self.make(db, source, profile)
            if user is None:
                return None, "login_taken"
        else:
            self.update(db, user, profile)
        self.govern(db, user, mappings, groups, apply=True)
        return user, None

    def find(self, db: Session, source: str, key: str) -> User | None:
        """The account of a person of a source."""
        query = select(User).where(User.source == source, User.source_key == key)
        return db.scalars(query).one_or_none()

    def make(self, db: Session, source: str, profile: Profile) -> User | None:
        """Make an account; None when a local account has the log-in name, which it keeps."""
        if not self._free_login(db, source, profile.login, profile.key):
            return None
        user = User(
            login=profile.login[:100],
            name=profile.name[:200],
            email=profile.usable_email,
            state="active",
            source=source,
            source_key=profile.key,
        )
        db.add(user)
        db.flush()
        events.record(db, events.account(f"user_made_by_{source.partition(':')[0]}", user.id))
        return user

    def update(self, db: Session, user: User, profile: Profile) -> bool:
        """Take over name, address and log-in name; returns whether anything changed (AUTH-3)."""
        return user.id in self.update_all(db, [(user, profile)])

    def update_all(self, db: Session, people: Sequence[tuple[User, Profile]]) -> set[UUID]:
        """The same for many, in few statements; returns the ids of those that changed."""
        names = {one.login[:100].lower() for user, one in people if one.login[:100] != user.login}
        holders = {
            one.login.lower() for one in db.scalars(select(User).where(func.lower(User.login).in_(names)))
        }
        changed: set[UUID] = set()
        for user, profile in people:
            wanted = {"name": profile.name[:200], "email": profile.usable_email}
            login = profile.login[:100]
            if login != user.login:
                if login.lower() in holders:
                    # Names that move from one to another must leave the first before they reach the second.
                    db.flush()
                if login.lower() not in holders or self._free_login(db, user.source, login, profile.key):
                    wanted["login"] = login
            fresh = {name: value for name, value in wanted.items() if getattr(user, name) != value}
            for name, value in fresh.items():
                setattr(user, name, value)
            if fresh:
                changed.add(user.id)
        db.flush()
        return changed

    def _free_login(self, db: Session, source: str, login: str, key: str) -> bool:
        """Make a log-in name free for the person with `key`.

        Another person of the same source who had it has been renamed or is gone: their account gives it up and
        gets the new one when the source next tells of them. Accounts of other sources keep theirs.
        """
        holder = db.scalars(select(User).where(func.lower(User.login) == login[:100].lower())).one_or_none()
        if holder is None or (holder.source == source and holder.source_key == key):
            return True
        if holder.source != source:
            return False
        holder.login = f"{login[:60]}#{str(holder.source_key)[:8]}"
        db.flush()
        return True

    def govern(
        self,
        db: Session,
        user: User,
        mappings: list[GroupMapping],
        groups: Collection[str],
        *,
        apply: bool,
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Bring roles, teams and territories that mappings name in line with a person's groups.

        Returns what is given and what is taken, as "role:<id>" and the like.
        """
        return self.govern_all(db, {user.id: groups}, mappings, apply=apply).get(user.id, ((), ()))

    def govern_all(
        self,
        db: Session,
        people: Mapping[UUID, Collection[str]],
        mappings: list[GroupMapping],
        *,
        apply: bool,
    ) -> dict[UUID, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The same for many people with their groups, in few statements; tells of those alone for whom something
        changes.

        A role that makes administrators is left alone, also when it became one after it was mapped (AUTH-7).

        Raises NotAllowed when somebody would change their own roles by this.
        """
        found: dict[UUID, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        for kind, model, column in (
            ("role", UserRole, UserRole.role_id),
            ("team", TeamMember, TeamMember.team_id),
            ("territory", TerritoryMember, TerritoryMember.territory_id),
        ):
            governed = {one.target_id for one in mappings if one.kind == kind and one.target_id}
            if kind == "role" and governed:
                roles = db.scalars(select(Role).where(Role.id.in_(governed)))
                governed = {one.id for one in roles if not administration(one.permissions)}
            if not governed:
                continue
            plan = _plan(db, people, [one for one in mappings if one.kind == kind], governed, model, column)
            for user, (give, take) in plan.items():
                before = found.get(user, ((), ()))
                found[user] = (
                    (*before[0], *(f"{kind}:{one}" for one in sorted(map(str, give)))),
                    (*before[1], *(f"{kind}:{one}" for one in sorted(map(str, take)))),
                )
            if apply and plan:
                self._carry_out(db, kind, model, column, plan)
        return found

    def _carry_out(
        self,
        db: Session,
        kind: str,
        model: Any,
        column: Any,
        plan: Mapping[UUID, tuple[set[UUID], set[UUID]]],
    ) -> None:
        if kind == "role" and actor_of(db).id in plan:
            raise NotAllowed("own_roles", _("Somebody else has to change your roles."))
        gone = [(user, one) for user, (_give, take) in plan.items() for one in take]
        come = [(user, one) for user, (give, _take) in plan.items() for one in give]
        if gone:
            db.execute(delete(model).where(tuple_(model.user_id, column).in_(gone)))
        db.add_all(model(user_id=user, **{column.key: one}) for user, one in come)
        db.flush()
        number, left, joined = _EVENTS[kind]
        events.record(
            db,
            *(events.membership(left, number, one, user) for user, one in gone),
            *(events.membership(joined, number, one, user) for user, one in come),
        )
        if kind == "role":
            # So that the change counts at once.
            self._users.end_sessions(db, plan.keys(), "roles_changed")


def _plan(
    db: Session,
    people: Mapping[UUID, Collection[str]],
    mappings: list[GroupMapping],
    governed: set[UUID],
    model: Any,
    column: Any,
) -> dict[UUID, tuple[set[UUID], set[UUID]]]:
    """What each person gets and loses of one kind, without those who keep what they have."""
    query = select(model.user_id, column).where(model.user_id.in_(list(people)), column.in_(governed))
    there: dict[UUID, set[UUID]] = {}
    for user, one in db.execute(query):
        there.setdefault(user, set()).add(one)
    plan = {}
    for user, groups in people.items():
        wanted = {one.target_id for one in mappings if one.group_key in groups and one.target_id in governed}
        held = there.get(user, set())
        if wanted != held:
            plan[user] = ({one for one in wanted - held if one}, held - wanted)
    return plan
