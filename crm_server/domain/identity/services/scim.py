"""What SCIM does to accounts and groups: make, change, disable, and the brake on disabling (AUTH-8).

Accounts belong to the provider whose token made them. Taking one away disables it and forgets nothing that it
did; the same person (the same lasting id) who comes back gets the same account. Groups get their meaning on the
provider's page, through the mappings that directories use, and each change of a membership counts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select

from compliance.datamap.text import _
from crm_server.domain.identity import events
from crm_server.domain.identity.models import User
from crm_server.domain.identity.services.directories import brake
from crm_server.domain.identity.services.groups import Profile
from crm_server.domain.identity.services.sso import source_of
from crm_server.domain.identity.sso_models import ScimGroup, ScimMember, ScimToken, ScimUser, SsoProvider
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, Errors, NotFound, TooManyRequests
from security.identity.throttle import Limit
from security.identity.tokens import new_api_token, parse_api_token

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.limits import LoginLimits
    from crm_server.domain.identity.services.groups import GroupService
    from crm_server.domain.identity.services.users import UserService

_WINDOW = timedelta(hours=1)
MAX_TOKENS = 10


@dataclass(frozen=True, slots=True)
class Person:
    """An account as SCIM says it should be."""

    login: str = field(repr=False)
    name: str = field(repr=False)
    external_id: str | None = field(repr=False)
    active: bool
    emails: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def email(self) -> str | None:
        """The primary address, else the first."""
        ordered = sorted(self.emails, key=lambda one: not one.get("primary"))
        return str(ordered[0]["value"]) if ordered else None


class ScimService:
    """Everything that SCIM may do. Every method takes the provider whose token was shown."""

    def __init__(self, limits: LoginLimits, groups: GroupService, users: UserService) -> None:
        self._limits = limits
        self._groups = groups
        self._users = users

    def make_token(self, db: Session, row: SsoProvider, name: str, days: int) -> str:
        """Make a token; the text is shown once. Raises ValidationFailed."""
        errors = Errors()
        if not name.strip():
            errors.add("/name", "required", _("Say what the token is for."))
        if not 1 <= days <= 366:
            errors.add("/days", "range", _("A token lives between one and 366 days."))
        alive = select(func.count()).where(ScimToken.provider_id == row.id, ScimToken.revoked_at.is_(None))
        if (db.scalar(alive) or 0) >= MAX_TOKENS:
            errors.add("/name", "too_many", _("Revoke tokens that you no longer need."))
        errors.raise_if_any()
        token = new_api_token()
        made = ScimToken(
            provider_id=row.id,
            name=name.strip()[:100],
            prefix=token.public_id,
            token_hash=token.digest,
            expires_at=now() + timedelta(days=days),
        )
        db.add(made)
        db.flush()
        events.record(db, events.provider("scim_token_created", row.id, token=str(made.id)))
        return token.text

    def revoke_token(self, db: Session, row: SsoProvider, token_id: UUID) -> None:
        """Revoke a token. Raises NotFound."""
        found = db.get(ScimToken, token_id)
        if found is None or found.provider_id != row.id:
            raise NotFound
        found.revoked_at = found.revoked_at or now()
        db.flush()
        events.record(db, events.provider("scim_token_revoked", row.id, token=str(token_id)))

    def provider_of(self, db: Session, text: str) -> tuple[SsoProvider, UUID] | None:
        """The provider and the token behind a bearer token that works; None for any other text."""
        shown = parse_api_token(text)
        if shown is None:
            return None
        query = (
            select(SsoProvider, ScimToken.id)
            .join(ScimToken, ScimToken.provider_id == SsoProvider.id)
            .where(
                ScimToken.token_hash == shown.digest,
                ScimToken.prefix == shown.public_id,
                ScimToken.revoked_at.is_(None),
                ScimToken.expires_at > now(),
                SsoProvider.provisioning == "scim",
            )
        )
        found = db.execute(query).one_or_none()
        return None if found is None else (found[0], found[1])

    def users(self, db: Session, row: SsoProvider, **wanted: Any) -> list[tuple[User, ScimUser]]:
        """The accounts of a provider, the oldest first. `login`, `external_id` or `id` narrow them."""
        query = select(User, ScimUser).join(ScimUser, ScimUser.user_id == User.id)
        query = query.where(ScimUser.provider_id == row.id)
        if "login" in wanted:
            query = query.where(func.lower(User.login) == str(wanted["login"]).lower())
        if "external_id" in wanted:
            query = query.where(User.source_key == wanted["external_id"])
        if "id" in wanted:
            query = query.where(User.id == wanted["id"])
        return [(user, kept) for user, kept in db.execute(query.order_by(User.id))]

    def user(self, db: Session, row: SsoProvider, key: UUID) -> tuple[User, ScimUser]:
        """One account. Raises NotFound, also for accounts that aren't this provider's."""
        found = self.users(db, row, id=key)
        if not found:
            raise NotFound
        return found[0]

    def create_user(self, db: Session, row: SsoProvider, person: Person) -> tuple[User, ScimUser]:
        """Make an account, or take up the one that the same person had before.

        Raises Conflict when the log-in name or the lasting id is taken.
        """
        self._check_free(db, row, person, None)
        profile = Profile(person.external_id or "", person.login, person.name, person.email)
        before = self._groups.find(db, source_of(row), person.external_id) if person.external_id else None
        if before is None:
            user = self._groups.make(db, source_of(row), profile)
            if user is None:
                raise Conflict(_("This log-in name is taken."))
            user.source_key = person.external_id
        else:
            user = before
            self._groups.update(db, user, profile)
        kept = ScimUser(
            user_id=user.id, provider_id=row.id, active=before is None, emails=list(person.emails)
        )
        db.add(kept)
        db.flush()
        events.record(db, events.account("scim_user_added", user.id))
        self._activate(db, row, user, kept, active=person.active)
        return user, kept

    def update_user(self, db: Session, row: SsoProvider, key: UUID, person: Person) -> tuple[User, ScimUser]:
        """Bring an account to what SCIM says. Raises NotFound, Conflict, TooManyRequests (the brake)."""
        user, kept = self.user(db, row, key)
        self._check_free(db, row, person, user)
        profile = Profile(person.external_id or "", person.login, person.name, person.email)
        user.source_key = person.external_id
        db.flush()
        self._groups.update(db, user, profile)
        if user.login.lower() != person.login.lower():
            raise Conflict(_("This log-in name is taken."))
        kept.emails = list(person.emails)
        self._activate(db, row, user, kept, active=person.active)
        db.flush()
        return user, kept

    def delete_user(self, db: Session, row: SsoProvider, key: UUID) -> None:
        """Disable an account and forget that SCIM knows it. Raises NotFound, TooManyRequests (the brake)."""
        user, kept = self.user(db, row, key)
        self._activate(db, row, user, kept, active=False)
        db.execute(delete(ScimMember).where(ScimMember.user_id == user.id))
        self._govern_some(db, row, [user.id])
        db.delete(kept)
        db.flush()
        events.record(db, events.account("scim_user_removed", user.id))

    def groups(self, db: Session, row: SsoProvider, **wanted: Any) -> list[ScimGroup]:
        """The groups of a provider, the oldest first. `name` or `id` narrow them."""
        query = select(ScimGroup).where(ScimGroup.provider_id == row.id)
        if "name" in wanted:
            query = query.where(func.lower(ScimGroup.display_name) == str(wanted["name"]).lower())
        if "id" in wanted:
            query = query.where(ScimGroup.id == wanted["id"])
        return list(db.scalars(query.order_by(ScimGroup.id)))

    def group(self, db: Session, row: SsoProvider, key: UUID) -> ScimGroup:
        """One group. Raises NotFound."""
        found = self.groups(db, row, id=key)
        if not found:
            raise NotFound
        return found[0]

    def members(self, db: Session, groups: Collection[UUID]) -> dict[UUID, list[UUID]]:
        """The members of groups."""
        query = select(ScimMember).where(ScimMember.group_id.in_(groups)).order_by(ScimMember.user_id)
        found: dict[UUID, list[UUID]] = {}
        for one in db.scalars(query):
            found.setdefault(one.group_id, []).append(one.user_id)
        return found

    def groups_of(self, db: Session, users: Collection[UUID]) -> dict[UUID, list[tuple[UUID, str]]]:
        """(group, name) of the groups of users."""
        query = (
            select(ScimMember.user_id, ScimGroup.id, ScimGroup.display_name)
            .join(ScimGroup, ScimGroup.id == ScimMember.group_id)
            .where(ScimMember.user_id.in_(users))
            .order_by(ScimGroup.id)
        )
        found: dict[UUID, list[tuple[UUID, str]]] = {}
        for user_id, group_id, name in db.execute(query):
            found.setdefault(user_id, []).append((group_id, name))
        return found

    def save_group(
        self,
        db: Session,
        row: SsoProvider,
        key: UUID | None,
        name: str,
        external_id: str | None,
        members: Collection[UUID],
    ) -> ScimGroup:
        """Make a group (`key` None) or bring one to what SCIM says.

        Raises NotFound for a group or a member that isn't the provider's, Conflict when the name is taken.
        """
        group = ScimGroup(provider_id=row.id) if key is None else self.group(db, row, key)
        taken = [one.id for one in self.groups(db, row, name=name) if one.id != key]
        if taken:
            raise Conflict(_("There is a group of this name."))
        known = select(ScimUser.user_id).where(ScimUser.provider_id == row.id, ScimUser.user_id.in_(members))
        if set(db.scalars(known)) != set(members):
            raise NotFound
        group.display_name, group.external_id = name, external_id
        db.add(group)
        db.flush()
        before = set(self.members(db, [group.id]).get(group.id, ()))
        wanted = set(members)
        db.execute(
            delete(ScimMember).where(ScimMember.group_id == group.id, ScimMember.user_id.in_(before - wanted))
        )
        db.add_all(ScimMember(group_id=group.id, user_id=one) for one in wanted - before)
        db.flush()
        self._govern_some(db, row, before ^ wanted)
        return group

    def delete_group(self, db: Session, row: SsoProvider, key: UUID) -> None:
        """Remove a group, and what it gave. Raises NotFound."""
        group = self.group(db, row, key)
        self.save_group(db, row, key, group.display_name, group.external_id, ())
        db.delete(group)
        db.flush()

    def _govern_some(self, db: Session, row: SsoProvider, users: Collection[UUID]) -> None:
        """Give and take what the groups of these users mean."""
        groups = self.groups_of(db, users)
        people = {one: {str(key) for key, _name in groups.get(one, ())} for one in users}
        self._groups.govern_all(db, people, self._groups.of(db, source_of(row)), apply=True)

    def govern_all(self, db: Session, row: SsoProvider) -> None:
        """Give and take for everybody of a provider, after a meaning was changed."""
        if row.provisioning == "scim":
            self._govern_some(db, row, [user.id for user, _kept in self.users(db, row)])

    def release_brake(self, db: Session, row: SsoProvider) -> None:
        """Let SCIM disable any number of accounts for one hour; an administrator's act."""
        row.brake_released_until = now() + _WINDOW
        db.flush()
        events.record(db, events.provider("scim_brake_released", row.id))

    def _activate(self, db: Session, row: SsoProvider, user: User, kept: ScimUser, *, active: bool) -> None:
        """Follow a change of `active`. What an administrator disabled here stays so until the provider changes it."""
        if active == kept.active:
            return
        if not active and user.state == "active":
            self._ask_brake(db, row)
        kept.active = active
        db.flush()
        self._users.set_state(db, user.id, enabled=active)

    def _ask_brake(self, db: Session, row: SsoProvider) -> None:
        """Count one account that is to be disabled. Raises TooManyRequests when they are too many in an hour."""
        if row.brake_released_until is not None and row.brake_released_until > now():
            return
        active = db.scalar(select(func.count()).where(User.source == source_of(row), User.state == "active"))
        limit = Limit(brake(active or 0), _WINDOW)
        if self._limits.store.take("scim/brake", str(row.id), limit, now()).granted:
            return
        raise TooManyRequests("scim/brake", int(_WINDOW.total_seconds()))

    def tell_brake(self, db: Session, row: SsoProvider) -> None:
        """Raise the alarm that the brake held, once in an hour."""
        if self._limits.store.take("scim/alarm", str(row.id), Limit(1, _WINDOW), now()).granted:
            active = db.scalar(
                select(func.count()).where(User.source == source_of(row), User.state == "active")
            )
            events.record(db, events.deprovisioning_held(row.id, active or 0))

    def _check_free(self, db: Session, row: SsoProvider, person: Person, user: User | None) -> None:
        own = None if user is None else user.id
        holders = db.execute(
            select(User.id, ScimUser.user_id)
            .outerjoin(ScimUser, ScimUser.user_id == User.id)
            .where(User.source == source_of(row), func.lower(User.login) == person.login.lower())
        )
        if any(scim is not None and key != own for key, scim in holders):
            raise Conflict(_("This log-in name is taken."))
        if person.external_id is not None:
            same = [one for one, _kept in self.users(db, row, external_id=person.external_id)]
            if any(one.id != own for one in same):
                raise Conflict(_("This lasting id is taken."))
