"""Roles made by administrators: create, copy, change, delete, look at a change before it counts, and undo it.

Built-in roles can be copied; what they grant is the product's, what they ask of those who hold them (second
factor, networks) is the customer's. Each version is kept, so any earlier one can be brought back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from compliance.datamap.text import _
from crm_server.domain.identity import events
from crm_server.domain.identity.factor_models import Passkey, TotpFactor
from crm_server.domain.identity.models import FACTOR_POLICIES, Role, RoleVersion, UserRole
from crm_server.domain.identity.services.differences import Difference, Holders, RoleDraft, difference
from crm_server.kernel import rowrules
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Conflict, Errors, NotAllowed, NotFound
from crm_server.permissions import Action, Permission, administration, all_permissions, record_permission
from security.access.fields import LEVELS
from security.access.networks import BadNetworkError, contains, parse_networks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap
    from crm_server.domain.identity.services.sessions import SessionService

__all__ = ["GROUPS", "LEVELS", "RoleDraft", "RoleService", "draft_of"]

GROUPS = ("general", "personal", "financial", "special")
MOST_GRACE = 90
"""Days that a role may leave for setting up the second factor."""
MOST_MINUTES = 480
"""Minutes for which a role can be taken in an emergency."""
_NETWORKS = {
    "form": _("${text} is no network. Write it like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7."),
    "host_bits": _("${text} is an address within a network. Write the network itself, or the address alone."),
    "too_many": _("A list has at most 200 networks."),
}


def draft_of(role: Role) -> RoleDraft:
    """What a stored role says."""
    return RoleDraft(
        name=role.name,
        description=role.description or "",
        permissions=tuple(role.permissions),
        fields=dict(role.field_rules),
        scopes=dict(role.scopes),
        factors=role.factors,
        factor_grace=role.factor_grace,
        networks=tuple(role.networks),
        emergency_minutes=role.emergency_minutes,
    )


class RoleService:
    """Keeps roles. `address` is where the person who acts comes from, so that nobody locks themselves out."""

    def __init__(self, datamap: DataMap, sessions: SessionService) -> None:
        self._datamap = datamap
        self._sessions = sessions

    def create(self, db: Session, draft: RoleDraft) -> Role:
        """Make a role. Raises ValidationFailed."""
        wanted = self._clean(db, draft, None)
        role = Role(built_in=False)
        self._write(role, wanted)
        role.factors_since = now() if wanted.factors != "none" else None
        db.add(role)
        db.flush()
        self._remember(db, role)
        events.record(db, events.role("role_created", role.id, permissions=sorted(wanted.permissions)))
        return role

    def copy(self, db: Session, role_id: UUID, name: str) -> Role:
        """Make a role of one's own out of another. Raises ValidationFailed, NotFound."""
        return self.create(db, replace(draft_of(self._get(db, role_id)), name=name))

    def preview(self, db: Session, role_id: UUID, draft: RoleDraft, address: str | None) -> Difference:
        """What a change would do, and to how many; changes nothing. Raises as `update` does."""
        role = self._get(db, role_id)
        wanted = self._checked(db, role, draft, address)
        return difference(draft_of(role), wanted, Holders.of(db, role))

    def update(
        self, db: Session, role_id: UUID, draft: RoleDraft, *, version: int, address: str | None
    ) -> Difference:
        """Change a role. It counts at once, for everybody who holds it.

        Args:
            db: The request's session.
            role_id: Key of the role.
            draft: The whole role as it shall be.
            version: The version that was read.
            address: Where the change comes from, for the check that it doesn't lock its maker out.

        Raises:
            ValidationFailed: something doesn't fit.
            NotAllowed: one's own role would grant more or less, or a built-in one something else.
            Conflict: somebody changed it meanwhile, or people with the role would become administrators.
        """
        role = db.get(Role, role_id, with_for_update=True, populate_existing=True)
        if role is None:
            raise NotFound
        if role.version != version:
            raise Conflict(_("Somebody else changed this role meanwhile. Look at it and repeat your change."))
        before = draft_of(role)
        wanted = self._checked(db, role, draft, address)
        found = difference(before, wanted, Holders.of(db, role))
        if not found:
            return found
        self._remember(db, role)
        self._write(role, wanted)
        if wanted.factors not in ("none", before.factors):
            role.factors_since = now()
        db.flush()
        self._remember(db, role)
        events.record(db, events.role("role_changed", role.id, **found.facts()))
        if wanted.factors not in ("none", before.factors):
            self._end_sessions_without_factor(db, role.id)
        return found

    def delete(self, db: Session, role_id: UUID, *, version: int) -> None:
        """Remove a role that nobody holds. Its history stays.

        Raises:
            NotAllowed: a built-in role.
            Conflict: somebody holds it, a directory gives it, or it was changed meanwhile.
        """
        role = self._get(db, role_id)
        if role.built_in:
            raise NotAllowed("built_in_role", _("A built-in role can't be removed. Copy it instead."))
        if role.version != version:
            raise Conflict(_("Somebody else changed this role meanwhile. Look at it and repeat your change."))
        if db.scalar(select(func.count()).where(UserRole.role_id == role_id)):
            raise Conflict(_("People hold this role. Take it from them first."))
        self._remember(db, role)
        try:
            with db.begin_nested():
                db.delete(role)
                db.flush()
        except IntegrityError:
            raise Conflict(
                _("A directory or single sign-on gives this role. Change what its groups mean first.")
            ) from None
        events.record(db, events.role("role_deleted", role_id))

    def restore(
        self, db: Session, role_id: UUID, earlier: int, *, version: int, address: str | None
    ) -> Difference:
        """Undo: make a role what it was in an earlier version. Raises as `update` does."""
        found = db.get(RoleVersion, (role_id, earlier))
        if found is None:
            raise NotFound
        return self.update(db, role_id, RoleDraft.read(found.document), version=version, address=address)

    def _checked(self, db: Session, role: Role, draft: RoleDraft, address: str | None) -> RoleDraft:
        before, wanted = draft_of(role), self._clean(db, draft, role)
        actor = actor_of(db)
        holds = bool(
            db.scalar(select(func.count()).where(UserRole.role_id == role.id, UserRole.user_id == actor.id))
        )
        changed = wanted.grants != before.grants
        if role.built_in and (
            changed or (wanted.name, wanted.description) != (before.name, before.description)
        ):
            raise NotAllowed(
                "built_in_role", _("What a built-in role grants stays. Copy it and change the copy.")
            )
        if changed and holds:
            raise NotAllowed("own_role", _("Somebody else has to change what a role grants that you hold."))
        if administration(before.permissions) != administration(wanted.permissions) and db.scalar(
            select(func.count()).where(UserRole.role_id == role.id)
        ):
            raise Conflict(
                _(
                    "People hold this role, and the change would make them administrators or unmake them. "
                    "Make a role of its own for that and give it to them; a second person releases it."
                )
            )
        if holds and wanted.networks and not contains(parse_networks(wanted.networks), address):
            errors = Errors()
            errors.add(
                "/networks", "locked_out", _("This list would lock you out: your own address is not in it.")
            )
            errors.raise_if_any()
        return wanted

    def _clean(self, db: Session, draft: RoleDraft, role: Role | None) -> RoleDraft:
        """The draft in its stored form. Raises ValidationFailed."""
        errors = Errors()
        name = " ".join(draft.name.split())
        if not name or len(name) > 100 or not name.isprintable():
            errors.add("/name", "required", _("Give a name of at most 100 characters."))
        else:
            taken = select(Role.id).where(func.lower(Role.name) == name.lower())
            if role is not None:
                taken = taken.where(Role.id != role.id)
            if db.scalar(taken):
                errors.add("/name", "taken", _("There is a role of this name."))
        if len(draft.description) > 500:
            errors.add("/description", "too_long", _("At most ${n} characters fit here.", mapping={"n": 500}))
        permissions = self._permissions(draft, errors)
        if any(group not in GROUPS or level not in LEVELS for group, level in draft.fields.items()):
            errors.add("/fields", "unknown", _("There is no such choice."))
        scopes: Mapping[str, list[str]] = {}
        try:
            scopes = rowrules.clean(draft.scopes)
        except rowrules.BadScopes as wrong:
            errors.add(f"/scopes/{wrong.key}", "unknown", wrong.reason)
        if draft.factors not in FACTOR_POLICIES:
            errors.add("/factors", "unknown", _("There is no such choice."))
        if not 0 <= draft.factor_grace <= MOST_GRACE:
            errors.add(
                "/factor_grace",
                "range",
                _("Between 0 and ${n} days are possible.", mapping={"n": MOST_GRACE}),
            )
        if not 0 <= draft.emergency_minutes <= MOST_MINUTES:
            errors.add(
                "/emergency_minutes",
                "range",
                _("Between 0 and ${n} minutes are possible.", mapping={"n": MOST_MINUTES}),
            )
        networks: tuple[str, ...] = ()
        try:
            networks = tuple(map(str, parse_networks(draft.networks)))
        except BadNetworkError as bad:
            errors.add("/networks", bad.code, _NETWORKS[bad.code] % {"text": bad.text[:60]})
        errors.raise_if_any()
        fields = {
            group: draft.fields[group] for group in GROUPS if draft.fields.get(group, "hidden") != "hidden"
        }
        return replace(
            draft,
            name=name,
            description=draft.description.strip(),
            permissions=permissions,
            fields=fields,
            scopes=scopes,
            networks=networks,
        )

    def _permissions(self, draft: RoleDraft, errors: Errors) -> tuple[str, ...]:
        """Known permissions in order; whoever may do something with records may see them, too."""
        given = set(map(str, draft.permissions)) | {str(Permission.LOGGED_IN)}
        known = all_permissions(self._datamap)
        if given - set(known):
            errors.add("/permissions", "unknown", _("There is no such permission."))
        for entity in self._datamap.records():
            acts = {record_permission(entity.name, action) for action in Action}
            if given & acts:
                given.add(record_permission(entity.name, Action.READ))
        if len(administration(given)) > 1:
            errors.add(
                "/permissions",
                "two_administrations",
                _("One role can't make a system, security and audit administrator at once."),
            )
        return tuple(sorted(given & set(known)))

    def _write(self, role: Role, draft: RoleDraft) -> None:
        role.name, role.description = draft.name, draft.description or None
        role.permissions, role.field_rules = list(draft.permissions), dict(draft.fields)
        role.scopes = {key: list(value) for key, value in draft.scopes.items()}
        role.factors, role.factor_grace = draft.factors, draft.factor_grace
        role.networks = list(draft.networks)
        role.emergency_minutes = draft.emergency_minutes

    def _remember(self, db: Session, role: Role) -> None:
        """Keep the present version, unless it is kept already."""
        if db.get(RoleVersion, (role.id, role.version)) is None:
            acting = actor_of(db).id
            db.add(
                RoleVersion(
                    role_id=role.id,
                    version=role.version,
                    document=draft_of(role).document(),
                    changed_at=role.updated_at or now(),
                    changed_by=None if acting == SYSTEM_ID else acting,
                )
            )
            db.flush()

    def _end_sessions_without_factor(self, db: Session, role_id: UUID) -> None:
        """Whoever lacks what is asked for now is led to it at the next log-in."""
        holders = db.scalars(
            select(UserRole.user_id).where(
                UserRole.role_id == role_id,
                ~select(TotpFactor.user_id)
                .where(TotpFactor.user_id == UserRole.user_id, TotpFactor.confirmed_at.is_not(None))
                .exists(),
                ~select(Passkey.id).where(Passkey.user_id == UserRole.user_id).exists(),
            )
        )
        for user_id in holders.all():
            if user_id != actor_of(db).id:
                self._sessions.end_all(db, user_id, "second_factor_required")

    def _get(self, db: Session, role_id: UUID) -> Role:
        found = db.get(Role, role_id)
        if found is None:
            raise NotFound
        return found
