"""Company directories: signing people in through them, and comparing them with our accounts.

What their groups mean, and the accounts of their people, are the business of `GroupService`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import object_session

from compliance.datamap.text import Text, _
from crm_server.domain.identity import events, seeds
from crm_server.domain.identity.directory_models import CompanyDirectory
from crm_server.domain.identity.models import User
from crm_server.domain.identity.services.groups import Profile
from crm_server.domain.identity.services.sources import fill
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Errors, FieldError, ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.directory_models import GroupMapping
    from crm_server.domain.identity.services.groups import GroupService
    from crm_server.domain.identity.services.users import UserService
    from security.identity.ldap import Directory, DirectorySettings, Person, ServerAddress
    from security.identity.ldap.listing import Listing
    from security.identity.throttle import Throttle

SETTABLE = ("name", "flavour", "servers", "bind_dn", "user_base", "group_base", "user_filter", "authorities")
"""The fields of a directory that an administrator sets."""
SERVER_HELP = _(
    "ldaps://dc1.example.com or starttls://dc1.example.com is expected here, with a port if it is another one."
)
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

    def __init__(self, users: UserService, groups: GroupService, guesses: Throttle | None = None) -> None:
        """`guesses` limits passwords that go to a directory; without it nobody logs in."""
        self._guesses = guesses
        self._users = users
        self._groups = groups
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

    def save(
        self, db: Session, row: CompanyDirectory, values: Mapping[str, Any], secret: str | None = None
    ) -> None:
        """Say how a directory is reached, or change it; what isn't named stays.

        Args:
            values: JSON values of `SETTABLE` by name.
            secret: The service account's password, if it changes.

        Raises:
            ValidationFailed: naming each place.
        """
        fill(db, row, values, SETTABLE, secret)
        errors = Errors()
        if not row.servers or not all(map(_is_server, row.servers)):
            errors.add("/servers", "form", SERVER_HELP)
        if not secret and row.bind_password is None:
            errors.add("/secret", "required", _("The service account needs a password."))
        errors.raise_if_any()
        if secret:
            self.set_password(db, row, secret)
        try:
            self.client(row)
        except ValueError as wrong:
            raise ValidationFailed([FieldError("/servers", "unusable", Text(str(wrong)))]) from wrong

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
            source = source_of(row)
            result = client.authenticate(login, password, partial(self._may_try, source))
            if result.signed_in and result.person is not None:
                if self._guesses is not None:
                    self._guesses.forgive(f"{source}/{result.person.id}")
                groups = {str(group.id) for group in result.groups}
                return self._groups.admit(db, source, _profile(result.person), groups)
            reason = result.outcome.value
            if reason not in ("unknown_user", "ambiguous_user"):
                break
        return user, reason

    def _may_try(self, source: str, identity: UUID) -> bool:
        """Whether one more password of a person may go to their directory (AUTH-18)."""
        return self._guesses is not None and self._guesses.hit(f"{source}/{identity}").allowed

    def compare(self, db: Session, row: CompanyDirectory, *, apply: bool, force: bool = False) -> Comparison:
        """Compare a complete listing of the directory with our accounts, and bring them up to date if
        `apply`.

        More accounts to disable than the brake allows disables nobody, unless `force` (AUTH-8).

        Raises:
            DirectoryFailure: the directory gave no complete listing; nothing was changed.
        """
        from security.identity.ldap.listing import list_everybody

        mappings = self._groups.of(db, source_of(row))
        listing = list_everybody(self.client(row), {UUID(one.group_key) for one in mappings})
        known = list(db.scalars(select(User).where(User.source == source_of(row))))
        active = [user for user in known if user.state == "active"]
        changes: list[Change] = []
        leaving = {user.id for user in active if not _stays(user, listing, mappings)}
        held = len(leaving) > brake(len(active)) and not force
        changes += [Change(key, "disable") for key in leaving]
        for key in leaving if apply and not held else ():
            self._users.set_state(db, key, enabled=False)
        staying = [(user, listing.people[UUID(user.source_key)]) for user in active if user.id not in leaving]
        if apply:
            updated = self._groups.update_all(db, [(user, _profile(person)) for user, person in staying])
            changes += [Change(key, "update") for key in updated]
        belongs: dict[UUID, set[str]] = {user.id: set() for user, _person in staying}
        by_person = {person.id: user.id for user, person in staying}
        for group, members in listing.members.items():
            for one in members & by_person.keys():
                belongs[by_person[one]].add(str(group))
        governed = self._groups.govern_all(db, belongs, mappings, apply=apply)
        changes += [Change(key, "groups", given, taken) for key, (given, taken) in governed.items()]
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
        return [row for row in rows if user.source == source_of(row)]


def parse_server(text: str) -> ServerAddress:
    """Read "ldaps://dc1.example.com" or "starttls://dc1.example.com:389". Raises ValueError."""
    from security.identity.ldap import ServerAddress, Tls

    scheme, found, rest = text.strip().partition("://")
    if not found or scheme not in _PORTS:
        raise ValueError(SERVER_HELP)
    tls = Tls(scheme)
    host, colon, port = rest.rstrip("/").rpartition(":")
    if not colon:
        host, port = rest.rstrip("/"), str(_PORTS[scheme])
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(SERVER_HELP)
    return ServerAddress(host, int(port), tls)


def _is_server(text: str) -> bool:
    try:
        parse_server(text)
    except ValueError:
        return False
    return True


def source_of(row: CompanyDirectory) -> str:
    """What `User.source` says of people for whom this directory vouches."""
    return f"directory:{row.id}"


def _profile(person: Person) -> Profile:
    return Profile(str(person.id), person.login, person.display_name, person.email)


def _stays(user: User, listing: Listing, mappings: list[GroupMapping]) -> bool:
    """Whether a person is still there, not closed, and in a group that lets them in."""
    person = listing.people.get(UUID(user.source_key)) if user.source_key else None
    if person is None or not person.state.keeps_account:
        return False
    return any(person.id in listing.members.get(UUID(one.group_key), frozenset()) for one in mappings)
