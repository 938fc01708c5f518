"""Company directories: signing people in through them, accounts made just in time, groups to roles, and
comparing.

Roles, teams and territories that any mapping of a directory names are governed by that directory for its
people: membership gives them, its end takes them away. What no mapping names stays as administrators set it.
No mapping can make an administrator (AUTH-7).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import object_session

from compliance.datamap.text import _
from crm_server.domain.identity import events, seeds
from crm_server.domain.identity.directory_models import CompanyDirectory, DirectoryMapping
from crm_server.domain.identity.models import Role, TeamMember, TerritoryMember, User, UserRole
from crm_server.domain.identity.services.users import administration
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Conflict, Errors, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.services.users import UserService
    from security.identity.ldap import Directory, DirectorySettings, Person, ServerAddress
    from security.identity.ldap.listing import Listing

KINDS = ("login", "role", "team", "territory")
_PORTS = {"ldaps": 636, "starttls": 389}


@dataclass(frozen=True, slots=True)
class Change:
    """What a comparison would do, or did, with one account."""

    user_id: UUID
    action: str
    """"disable", "update", or "groups" with what is given and taken."""
    given: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing a directory with our accounts. `held` says that the brake stopped disabling."""

    changes: tuple[Change, ...]
    active: int
    to_disable: int
    held: bool
    duplicates: int
    applied: bool = False
    problems: tuple[str, ...] = field(default=(), repr=False)

    def plain(self) -> dict[str, object]:
        """As JSON: counts alone, no persons."""
        return {
            "active": self.active,
            "to_disable": self.to_disable,
            "held": self.held,
            "applied": self.applied,
            "updated": sum(change.action == "update" for change in self.changes),
            "groups_changed": sum(change.action == "groups" for change in self.changes),
            "duplicates": self.duplicates,
        }


def brake(active: int) -> int:
    """The most accounts that one comparison may disable: max(5, 10 % of the active ones) (AUTH-8)."""
    return max(5, active // 10)


class DirectoryService:
    """Everything that concerns company directories.

    Keeps one client a directory, so that its breakers remember.
    """

    def __init__(self, users: UserService) -> None:
        self._users = users
        self._clients: dict[UUID, tuple[int, Directory]] = {}
        self._lock = threading.Lock()

    def any_enabled(self, db: Session) -> bool:
        """Whether log-in asks a directory at all."""
        return (
            db.scalars(select(CompanyDirectory.id).where(CompanyDirectory.enabled).limit(1)).first()
            is not None
        )

    def draft(self) -> CompanyDirectory:
        """A directory that isn't saved yet."""
        return CompanyDirectory(servers=[])

    def name_taken(self, db: Session, row: CompanyDirectory, name: str) -> bool:
        """Whether another directory has this name."""
        with db.no_autoflush:
            keys = db.scalars(select(CompanyDirectory.id).where(CompanyDirectory.name == name))
            return any(key != row.id for key in keys)

    def unmap(self, db: Session, row: CompanyDirectory, mapping_id: UUID) -> None:
        """Take a meaning away from a group; it shows at the next comparison."""
        mapping = db.get(DirectoryMapping, mapping_id)
        if mapping is None or mapping.directory_id != row.id:
            raise NotFound
        db.delete(mapping)
        db.flush()

    def set_password(self, db: Session, row: CompanyDirectory, password: str) -> None:
        """Keep the password of the service account, sealed."""
        row.bind_password = seeds.seal(db, row.id, password.encode(), seeds.DIRECTORY_PASSWORD)
        db.flush()
        events.record(db, events.membership("directory_password_set", 50, row.id, row.id))

    def client(self, row: CompanyDirectory) -> Directory:
        """The client of a directory. Raises ValueError that names the setting that can't work."""
        with self._lock:
            known = self._clients.get(row.id)
            if known is None or known[0] != row.version:
                # Only processes that ask a directory pay for its library.
                from security.identity.ldap import Directory

                known = (row.version, Directory(self._settings(row)))
                self._clients[row.id] = known
            return known[1]

    def _settings(self, row: CompanyDirectory) -> DirectorySettings:
        from security.identity.ldap import DirectorySettings, Flavour

        password = b""
        if row.bind_password is not None:
            db = object_session(row)
            if db is None:
                raise LookupError("a directory's row without a session can't be opened")
            password = seeds.unseal(db, row.id, row.bind_password, seeds.DIRECTORY_PASSWORD)
        return DirectorySettings(
            servers=tuple(parse_server(one) for one in row.servers),
            flavour=Flavour(row.flavour),
            bind_dn=row.bind_dn,
            bind_password=password.decode(),
            user_base=row.user_base,
            group_base=row.group_base,
            user_filter=row.user_filter or "",
            ca_data=row.authorities,
        )

    def authenticate(
        self, db: Session, user: User | None, login: str, password: str, *, release: bool = False
    ) -> tuple[User | None, str | None]:
        """Sign in through the directory that vouches for `user`, or through all enabled ones for a new
        person.

        `release` gives the database connection back while the directory is asked.

        Returns:
            The account (made just now, if need be) and None, or what is known of the account and the reason why not.
        """
        reason = "unknown_user"
        rows = self._asked(db, user)
        if release:
            # A slow directory must not hold a connection of the database's pool. Nothing was written so far.
            db.commit()
        for row in rows:
            try:
                client = self.client(row)
            except ValueError:
                reason = "directory_misconfigured"
                continue
            result = client.authenticate(login, password)
            if result.signed_in and result.person is not None:
                return self._admit(db, row, result.person, {group.id for group in result.groups})
            reason = result.outcome.value
            if reason not in ("unknown_user", "ambiguous_user"):
                break
        return user, reason

    def map_group(
        self,
        db: Session,
        row: CompanyDirectory,
        group_id: UUID,
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
        errors.raise_if_any()
        if kind == "role":
            role = db.get(Role, target)
            if role is None:
                raise NotFound
            if administration(role.permissions):
                raise Conflict(
                    _("A group can't make administrators. Give such roles to each person by hand.")
                )
        db.add(
            DirectoryMapping(
                directory_id=row.id,
                group_id=group_id,
                group_name=group_name[:300],
                kind=kind,
                target_id=target,
            )
        )
        db.flush()

    def compare(self, db: Session, row: CompanyDirectory, *, apply: bool, force: bool = False) -> Comparison:
        """Compare a complete listing of the directory with our accounts, and bring them up to date if
        `apply`.

        More accounts to disable than the brake allows disables nobody, unless `force` (AUTH-8).

        Raises:
            DirectoryFailure: the directory gave no complete listing; nothing was changed.
        """
        from security.identity.ldap.listing import list_everybody

        mappings = list(db.scalars(select(DirectoryMapping).where(DirectoryMapping.directory_id == row.id)))
        listing = list_everybody(self.client(row), {one.group_id for one in mappings})
        known = list(db.scalars(select(User).where(User.source == _source(row))))
        active = [user for user in known if user.state == "active"]
        changes: list[Change] = []
        leaving = [user for user in active if not _stays(user, listing, mappings)]
        held = len(leaving) > brake(len(active)) and not force
        for user in leaving:
            changes.append(Change(user.id, "disable"))
            if apply and not held:
                self._users.set_state(db, user.id, enabled=False)
        for user in active:
            person = listing.people.get(UUID(user.source_key)) if user.source_key else None
            if person is None or user in leaving:
                continue
            if apply and self._update(db, user, person):
                changes.append(Change(user.id, "update"))
            groups = {group for group, members in listing.members.items() if person.id in members}
            given, taken = self._govern(db, user, mappings, groups, apply=apply)
            if given or taken:
                changes.append(Change(user.id, "groups", given, taken))
        result = Comparison(tuple(changes), len(active), len(leaving), held, len(listing.duplicates), apply)
        if apply:
            row.last_sync_at, row.last_sync = now(), result.plain()
            db.flush()
            if held:
                events.record(db, events.held(row.id, len(leaving), len(active)))
        return result

    def _asked(self, db: Session, user: User | None) -> list[CompanyDirectory]:
        query = select(CompanyDirectory).where(CompanyDirectory.enabled).order_by(CompanyDirectory.created_at)
        rows = list(db.scalars(query))
        if user is None:
            return rows
        return [row for row in rows if user.source == _source(row)]

    def _admit(
        self, db: Session, row: CompanyDirectory, person: Person, groups: Collection[UUID]
    ) -> tuple[User | None, str | None]:
        """Find or make the account of somebody for whom the directory vouches, and bring it up to date."""
        mappings = list(db.scalars(select(DirectoryMapping).where(DirectoryMapping.directory_id == row.id)))
        key = str(person.id)
        user = db.scalars(
            select(User).where(User.source == _source(row), User.source_key == key)
        ).one_or_none()
        if user is not None and user.state == "disabled":
            return user, "account_disabled"
        if not any(one.group_id in groups for one in mappings):
            return user, "not_in_an_allowed_group"
        if user is None:
            # Two first log-ins at once make one account: the second waits here and then finds it.
            db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
            user = db.scalars(
                select(User).where(User.source == _source(row), User.source_key == key)
            ).one_or_none()
        if user is None:
            if not self._free_login(db, person.login, key):
                return None, "login_taken"
            user = User(
                login=person.login[:100],
                name=person.display_name[:200],
                email=_email(person),
                state="active",
                source=_source(row),
                source_key=key,
            )
            db.add(user)
            db.flush()
            events.record(db, events.account("user_made_by_directory", user.id))
        else:
            self._update(db, user, person)
        self._govern(db, user, mappings, groups, apply=True)
        return user, None

    def _update(self, db: Session, user: User, person: Person) -> bool:
        """Take over name, address and log-in name; returns whether anything changed (AUTH-3)."""
        wanted = {"name": person.display_name[:200], "email": _email(person)}
        if person.login[:100] != user.login and self._free_login(db, person.login, str(person.id)):
            wanted["login"] = person.login[:100]
        changed = {name: value for name, value in wanted.items() if getattr(user, name) != value}
        for name, value in changed.items():
            setattr(user, name, value)
        if changed:
            db.flush()
        return bool(changed)

    def _free_login(self, db: Session, login: str, key: str) -> bool:
        """Make a log-in name free for the person with `key`.

        Another person of a directory who had it has been renamed or is gone: their account gives it up and
        gets the new one at the next comparison. A local account keeps it.
        """
        holder = db.scalars(select(User).where(func.lower(User.login) == login[:100].lower())).one_or_none()
        if holder is None or holder.source_key == key:
            return True
        if holder.source == "local":
            return False
        holder.login = f"{login[:60]}#{str(holder.source_key)[:8]}"
        db.flush()
        return True

    def _govern(
        self,
        db: Session,
        user: User,
        mappings: list[DirectoryMapping],
        groups: Collection[UUID],
        *,
        apply: bool,
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Bring roles, teams and territories that mappings name in line with the groups."""
        given: list[str] = []
        taken: list[str] = []
        for kind, model, column in (
            ("role", UserRole, UserRole.role_id),
            ("team", TeamMember, TeamMember.team_id),
            ("territory", TerritoryMember, TerritoryMember.territory_id),
        ):
            governed = {one.target_id for one in mappings if one.kind == kind and one.target_id}
            if not governed:
                continue
            wanted = {one.target_id for one in mappings if one.kind == kind and one.group_id in groups}
            query = select(column).where(model.user_id == user.id, column.in_(governed))
            there = set(db.scalars(query))
            given += [f"{kind}:{one}" for one in sorted(map(str, wanted - there))]
            taken += [f"{kind}:{one}" for one in sorted(map(str, there - wanted))]
            if not apply or wanted == there:
                continue
            if kind == "role":
                held = set(db.scalars(select(UserRole.role_id).where(UserRole.user_id == user.id)))
                self._users.set_roles(db, user.id, {one for one in (held - governed) | wanted if one})
                continue
            db.execute(delete(model).where(model.user_id == user.id, column.in_(there - wanted)))
            db.add_all(model(user_id=user.id, **{column.key: one}) for one in wanted - there)
            db.flush()
            number = events.TEAM if kind == "team" else events.TERRITORY
            events.record(
                db,
                *(events.membership(f"{kind}_left", number, one, user.id) for one in there - wanted if one),
                *(events.membership(f"{kind}_joined", number, one, user.id) for one in wanted - there if one),
            )
        return tuple(given), tuple(taken)


def parse_server(text: str) -> ServerAddress:
    """Read "ldaps://dc1.example.com" or "starttls://dc1.example.com:389". Raises ValueError with the way out."""
    from security.identity.ldap import ServerAddress, Tls

    scheme, found, rest = text.strip().partition("://")
    if not found or scheme not in _PORTS:
        raise ValueError(
            f'servers: "{text}" should look like ldaps://dc1.example.com or starttls://dc1.example.com'
        )
    tls = Tls(scheme)
    host, colon, port = rest.rstrip("/").rpartition(":")
    if not colon:
        host, port = rest.rstrip("/"), str(_PORTS[scheme])
    if not host or not port.isdecimal():
        raise ValueError(f'servers: "{text}" needs a host name and a port such as 636')
    return ServerAddress(host, int(port), tls)


def _source(row: CompanyDirectory) -> str:
    return f"directory:{row.id}"


def _email(person: Person) -> str | None:
    return person.email if person.email and len(person.email) <= 254 and "@" in person.email else None


def _stays(user: User, listing: Listing, mappings: list[DirectoryMapping]) -> bool:
    """Whether a person is still there, not closed, and in a group that lets them in."""
    person = listing.people.get(UUID(user.source_key)) if user.source_key else None
    if person is None or not person.state.keeps_account:
        return False
    return any(person.id in listing.members.get(one.group_id, frozenset()) for one in mappings)
