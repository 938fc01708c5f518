"""Users, their roles, teams and territories, as administrators manage them.

No one sets or sees another's password: a new user gets a one-time link (`LinkService`). No account may be two
kinds of administrator, and nobody changes their own roles (AUTH-7, separation of duties).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import delete, func, select

from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalRequired, ApprovalService
from crm_server.domain.identity import events
from crm_server.domain.identity.models import (
    LoginSession,
    Role,
    Team,
    TeamMember,
    Territory,
    TerritoryMember,
    User,
    UserRole,
)
from crm_server.domain.identity.passwords import check_new_password
from crm_server.domain.identity.services.login import canonical_login
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Conflict, Errors, NotAllowed, NotFound
from crm_server.permissions import Permission, administration, guarded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.approvals.services import Approval, Release
    from crm_server.domain.identity.services.sessions import SessionService
    from security.identity.password import PasswordHasher

GRANT = "administrators.grant"
"""The kind of two-person release for roles that make or unmake an administrator."""


class UserService:
    """Creates, changes, disables users; gives roles; manages teams and territories."""

    def __init__(self, hasher: PasswordHasher, sessions: SessionService) -> None:
        self._hasher = hasher
        self._sessions = sessions

    def find(self, db: Session, login: str) -> User:
        """The user with a log-in name. Raises NotFound."""
        found = db.scalars(select(User).where(func.lower(User.login) == canonical_login(login))).one_or_none()
        if found is None:
            raise NotFound
        return found

    def create(
        self, db: Session, login: str, name: str, email: str | None = None, locale: str = "en"
    ) -> User:
        """Create a local user who waits for the first password.

        Raises:
            ValidationFailed: a name is missing, taken or not usable.
        """
        errors = Errors()
        wanted = " ".join(login.split())
        if not wanted or len(wanted) > 100 or not wanted.isprintable():
            errors.add("/login", "required", _("Give a log-in name of at most 100 characters."))
        elif db.scalars(select(User.id).where(func.lower(User.login) == canonical_login(wanted))).first():
            errors.add("/login", "taken", _("This log-in name is taken."))
        if not name.strip() or len(name.strip()) > 200:
            errors.add("/name", "required", _("Give a name of at most 200 characters."))
        if email:
            try:
                email = validate_email(
                    email, check_deliverability=False, globally_deliverable=False, test_environment=True
                ).normalized
            except EmailNotValidError:
                errors.add("/email", "email", _("This is not an e-mail address."))
        errors.raise_if_any()
        user = User(login=wanted, name=name.strip(), email=email or None, state="invited", locale=locale)
        db.add(user)
        db.flush()
        return user

    def set_state(self, db: Session, user_id: UUID, *, enabled: bool) -> None:
        """Enable or disable an account. Disabling ends its sessions and tokens at once (AUTH-8).

        Raises:
            NotAllowed: somebody would disable themselves.
            Conflict: nobody would be left who can manage users.
        """
        user = self._get(db, user_id)
        if not enabled and actor_of(db).id == user_id:
            raise NotAllowed("own_account", _("You can't disable your own account."))
        if not enabled and user.state == "active" and self._is_last_manager(db, user_id):
            raise Conflict(_("This is the last account that can manage users."))
        state = (
            ("active" if user.password_hash or user.source != "local" else "invited")
            if enabled
            else "disabled"
        )
        if user.state == state:
            return
        user.state = state
        db.flush()
        events.record(db, events.account("user_enabled" if enabled else "user_disabled", user_id))
        if not enabled:
            self._sessions.end_all(db, user_id, "user_disabled")
            self._sessions.revoke_all_tokens(db, user_id)

    def change_roles(
        self, db: Session, user_id: UUID, role_ids: Collection[UUID], reason: str
    ) -> Approval | None:
        """Give a user exactly these roles, or ask a second person where that takes one.

        Returns:
            The request, when a second person has to release it; None when it is done.

        Raises:
            ValidationFailed: it takes a second person and no reason was given.
        """
        try:
            self.set_roles(db, user_id, role_ids)
        except ApprovalRequired as needed:
            return ApprovalService(db).request(GRANT, needed.extra["parameters"], reason)
        return None

    def set_roles(
        self, db: Session, user_id: UUID, role_ids: Collection[UUID], *, release: Release | None = None
    ) -> None:
        """Give a user exactly these roles, and end their sessions so that the change counts at once.

        Raises:
            NotAllowed: somebody would change their own roles.
            NotFound: a role doesn't exist.
            Conflict: the roles together would be two kinds of administrator, or take away the last manager of users.
            ApprovalRequired: the user would become an administrator or cease to be one, and `release` is missing.
        """
        user = self._get(db, user_id)
        acting = actor_of(db)
        if acting.id == user_id:
            raise NotAllowed("own_roles", _("Somebody else has to change your roles."))
        wanted = list(db.scalars(select(Role).where(Role.id.in_(role_ids))))
        if len(wanted) != len(set(role_ids)):
            raise NotFound
        kinds = administration(permission for role in wanted for permission in role.permissions)
        if len(kinds) > 1:
            raise Conflict(
                _(
                    "One account can't be system, security and audit administrator at once. "
                    "Give these roles to different people."
                )
            )
        held = list(db.scalars(select(Role).join(UserRole).where(UserRole.user_id == user_id)))
        before, after = {role.id for role in held}, {role.id for role in wanted}
        if before == after:
            return
        was = _guarded(held)
        if "system" not in kinds and user.state == "active" and self._is_last_manager(db, user_id):
            raise Conflict(_("This is the last account that can manage users."))
        # The command line makes the first administrators; whoever has it is the operator of the machine.
        if was != _guarded(wanted) and release is None and acting.id != SYSTEM_ID:
            parameters = {"user": str(user_id), "roles": _keys(after), "before": _keys(before)}
            raise ApprovalRequired(GRANT, parameters)
        for role_id in before - after:
            db.execute(delete(UserRole).where(UserRole.user_id == user_id, UserRole.role_id == role_id))
        db.add_all(UserRole(user_id=user_id, role_id=role_id) for role_id in after - before)
        db.flush()
        events.record(
            db,
            *(events.membership("role_taken", events.ROLE, key, user_id) for key in sorted(before - after)),
            *(events.membership("role_given", events.ROLE, key, user_id) for key in sorted(after - before)),
        )
        self._sessions.end_all(db, user_id, "roles_changed")

    def end_sessions(self, db: Session, user_ids: Collection[UUID], reason: str) -> None:
        """End all sessions of these users; those who have none cost nothing."""
        live = select(LoginSession.user_id).where(
            LoginSession.user_id.in_(user_ids), LoginSession.revoked_at.is_(None)
        )
        for user_id in set(db.scalars(live)):
            self._sessions.end_all(db, user_id, reason)

    def change_own_password(
        self, db: Session, user_id: UUID, new: str, *, second_factor: bool, keep_session: UUID | None
    ) -> None:
        """Set the user's own password after the old one was checked; ends all other sessions (AUTH-16).

        Raises:
            ValidationFailed: the new one is too weak.
            Conflict: the password lies in a directory.
        """
        user = self._get(db, user_id)
        if user.source != "local":
            raise Conflict(_("Your password is kept in the company directory. Change it there."))
        check_new_password(user, new, second_factor=second_factor)
        user.password_hash = self._hasher.hash(new)
        user.password_changed_at = now()
        db.flush()
        events.record(db, events.account("password_changed", user_id))
        self._sessions.end_all(db, user_id, "password_changed", keep=keep_session)

    def change_team(
        self, db: Session, team_id: UUID, *, joining: Collection[UUID] = (), leaving: Collection[UUID] = ()
    ) -> None:
        """Let users join a team and leave it; who is in it already, or isn't, stays so. Raises NotFound."""
        if db.get(Team, team_id, with_for_update=True) is None:
            raise NotFound
        there = set(db.scalars(select(TeamMember.user_id).where(TeamMember.team_id == team_id)))
        came, went = self._members(db, joining) - there, set(leaving) & there
        db.execute(delete(TeamMember).where(TeamMember.team_id == team_id, TeamMember.user_id.in_(went)))
        db.add_all(TeamMember(team_id=team_id, user_id=user_id) for user_id in came)
        db.flush()
        self._tell_members(db, events.TEAM, "team", team_id, came, went)

    def change_territory(
        self,
        db: Session,
        territory_id: UUID,
        *,
        joining: Collection[UUID] = (),
        leaving: Collection[UUID] = (),
    ) -> None:
        """Give a territory to users and take it from others, as `change_team` does. Raises NotFound."""
        if db.get(Territory, territory_id, with_for_update=True) is None:
            raise NotFound
        mine = TerritoryMember.territory_id == territory_id
        there = set(db.scalars(select(TerritoryMember.user_id).where(mine)))
        came, went = self._members(db, joining) - there, set(leaving) & there
        db.execute(delete(TerritoryMember).where(mine, TerritoryMember.user_id.in_(went)))
        db.add_all(TerritoryMember(territory_id=territory_id, user_id=user_id) for user_id in came)
        db.flush()
        self._tell_members(db, events.TERRITORY, "territory", territory_id, came, went)

    def _members(self, db: Session, user_ids: Collection[UUID]) -> set[UUID]:
        """These users, all of whom exist. Raises NotFound."""
        return {self._get(db, user_id).id for user_id in user_ids}

    def create_team(self, db: Session, name: str, description: str | None = None) -> Team:
        """Create a team. Raises ValidationFailed."""
        wanted = " ".join(name.split())
        errors = Errors()
        if not wanted or len(wanted) > 200:
            errors.add("/name", "required", _("Give a name of at most 200 characters."))
        elif db.scalars(select(Team.id).where(Team.name == wanted)).first():
            errors.add("/name", "taken", _("There is a team of this name."))
        errors.raise_if_any()
        team = Team(name=wanted, description=(description or "").strip()[:500] or None)
        db.add(team)
        db.flush()
        return team

    def create_territory(self, db: Session, name: str, parent_id: UUID | None) -> Territory:
        """Create a territory below another or at the top. Raises ValidationFailed."""
        wanted = " ".join(name.split())
        errors = Errors()
        if not wanted or len(wanted) > 200:
            errors.add("/name", "required", _("Give a name of at most 200 characters."))
        if parent_id is not None and db.get(Territory, parent_id) is None:
            errors.add("/parent_id", "unknown", _("There is no such territory."))
        errors.raise_if_any()
        territory = Territory(name=wanted, parent_id=parent_id)
        db.add(territory)
        db.flush()
        return territory

    def move_territory(self, db: Session, territory_id: UUID, parent_id: UUID | None) -> None:
        """Hang a territory below another. Raises NotFound; Conflict when the tree would close to a circle."""
        territory = db.get(Territory, territory_id)
        if territory is None:
            raise NotFound
        above, steps = parent_id, 0
        while above is not None:
            parent = db.get(Territory, above)
            if parent is None:
                raise NotFound
            if parent.id == territory_id or steps > 100:
                raise Conflict(_("A territory can't lie inside itself."))
            above, steps = parent.parent_id, steps + 1
        territory.parent_id = parent_id
        db.flush()

    def _tell_members(
        self, db: Session, kind: int, word: str, group_id: UUID, came: set[UUID], went: set[UUID]
    ) -> None:
        events.record(
            db,
            *(events.membership(f"{word}_left", kind, group_id, one) for one in sorted(went)),
            *(events.membership(f"{word}_joined", kind, group_id, one) for one in sorted(came)),
        )

    def _get(self, db: Session, user_id: UUID) -> User:
        found = db.get(User, user_id)
        if found is None or user_id == SYSTEM_ID:
            raise NotFound
        return found

    def _is_last_manager(self, db: Session, user_id: UUID) -> bool:
        """Whether `user_id` is the only active account that may manage users."""
        holders = set(
            db.scalars(
                select(UserRole.user_id)
                .join(Role, Role.id == UserRole.role_id)
                .join(User, User.id == UserRole.user_id)
                .where(User.state == "active", Role.permissions.contains([str(Permission.USERS_MANAGE)]))
            )
        )
        return holders == {user_id}


def _guarded(roles: Iterable[Role]) -> frozenset[str]:
    return guarded(permission for role in roles for permission in role.permissions)


def _keys(found: Iterable[UUID]) -> list[str]:
    return sorted(map(str, found))
