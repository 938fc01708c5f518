"""``Directory``: sign a person in, look somebody up, over several servers.

Called by the identity domain at log-in, by the directory page and by ``kontor directory``. A log-in searches
as the service account for exactly one entry and then binds as that entry (AUTH-2). Refusals for an unknown,
ambiguous, wrong or disabled account take the same number of round trips: where there is nobody to bind as, a
decoy is bound.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from security.identity.ldap.breaker import CircuitBreaker
from security.identity.ldap.escape import dn_value, filter_value
from security.identity.ldap.groups import groups_of
from security.identity.ldap.outcome import (
    DirectoryFailure,
    IncompleteListing,
    Misconfigured,
    Outcome,
    ServerTrouble,
)
from security.identity.ldap.people import (
    PERSON_ATTRIBUTES,
    STATE_ATTRIBUTES,
    STATE_OUTCOMES,
    AccountState,
    Group,
    Person,
    id_filter,
    person,
)
from security.identity.ldap.settings import MAX_LOGIN_CHARACTERS, DirectorySettings, Flavour, ServerAddress
from security.identity.ldap.transport import Entry, Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Authentication:
    """Result of a log-in. ``person`` is known unless nobody or several people were found."""

    outcome: Outcome
    person: Person | None = None
    groups: tuple[Group, ...] = field(default=(), repr=False)
    """Nested groups, read only after a successful bind."""
    server: str | None = None
    detail: str = ""
    """For operators, when the directory is unavailable or misconfigured. Never shown at log-in."""

    @property
    def signed_in(self) -> bool:
        """True if the directory vouches for the person."""
        return self.outcome is Outcome.SIGNED_IN


class Directory:
    """One company directory behind one or more servers. Safe to share between threads."""

    def __init__(
        self, settings: DirectorySettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.settings = settings
        self.now = now
        self.breakers = {
            server: CircuitBreaker(settings.failures_to_open, settings.rest_seconds)
            for server in settings.servers
        }

    def authenticate(
        self, login: str, password: str, may_try: Callable[[UUID], bool] = lambda _identity: True
    ) -> Authentication:
        """Sign ``login`` in. Never raises for what a person typed or a server did; the outcome says it.

        ``may_try`` is asked with the immutable id of whoever was found, before their password goes to the server:
        a wrong one counts there towards a lock-out, however the log-in name was written.
        """
        if not password:
            return Authentication(Outcome.EMPTY_PASSWORD)
        name = normalise_login(login, self.settings)
        if name is None or "\x00" in password or not _is_unicode(password):
            return Authentication(Outcome.MALFORMED_LOGIN)
        try:
            return self.run(lambda session: self._authenticate(session, name, password, may_try))
        except DirectoryFailure as failure:
            return Authentication(failure.outcome, detail=failure.detail)

    def look_up(self, login: str) -> tuple[Person, tuple[Group, ...]] | None:
        """Find a person by log-in name without a password; None unless exactly one is found.

        Raises DirectoryFailure.
        """
        name = normalise_login(login, self.settings)
        if name is None:
            return None
        query = self._login_filter(name)
        return self.run(lambda session: self._one(session, query))

    def by_id(self, identity: UUID) -> tuple[Person, tuple[Group, ...]] | None:
        """Find a person by the immutable id, wherever they were moved. Raises DirectoryFailure."""
        query = f"(&{self.settings.people_filter}{id_filter(self.settings, identity)})"
        return self.run(lambda session: self._one(session, query))

    def run(self, action: Callable[[Session], T]) -> T:
        """Run ``action`` on the first server that answers, in the order of the settings.

        Servers whose circuit is open are asked only if all others failed too: a wrong guess must not lock
        everybody out. Raises DirectoryFailure.
        """
        problems: list[str] = []
        ready = [server for server in self.settings.servers if self.breakers[server].ready()]
        for server in ready or list(self.settings.servers):
            try:
                result = self._on(server, action)
            except ServerTrouble as trouble:
                self.breakers[server].failed()
                problems.append(f"{server}: {trouble}")
            except IncompleteListing as incomplete:
                self.breakers[server].failed()
                problems.append(f"{server}: listing broke off: {incomplete}")
            except Misconfigured as wrong:
                raise DirectoryFailure(Outcome.MISCONFIGURED, f"{server}: {wrong}") from wrong
            else:
                self.breakers[server].succeeded()
                return result
        raise DirectoryFailure(Outcome.UNAVAILABLE, "; ".join(problems) or "no server")

    def _on(self, server: ServerAddress, action: Callable[[Session], T]) -> T:
        with Session(self.settings, server) as session:
            return action(session)

    def _authenticate(
        self, session: Session, name: str, password: str, may_try: Callable[[UUID], bool]
    ) -> Authentication:
        server = str(session.server)
        entries = self._search(session, self._login_filter(name))
        if len(entries) != 1:
            session.bind_as(self._decoy_dn(name), password)
            outcome = Outcome.AMBIGUOUS_USER if entries else Outcome.UNKNOWN_USER
            return Authentication(outcome, server=server)
        found = person(self.settings, entries[0].dn, entries[0].attributes, self.now())
        if found is None or not may_try(found.id):
            session.bind_as(self._decoy_dn(name), password)
            return Authentication(Outcome.NO_IDENTITY_KEY if found is None else Outcome.SPARED, server=server)
        outcome = session.bind_as(entries[0].dn, password)
        outcome = _with_state(outcome, found.state)
        if outcome is not Outcome.SIGNED_IN:
            return Authentication(outcome, found, server=server)
        return Authentication(outcome, found, groups_of(session, found), server)

    def _one(self, session: Session, query: str) -> tuple[Person, tuple[Group, ...]] | None:
        entries = self._search(session, query)
        if len(entries) != 1:
            return None
        found = person(self.settings, entries[0].dn, entries[0].attributes, self.now())
        return None if found is None else (found, groups_of(session, found))

    def search_login(self, session: Session, name: str) -> list[Entry]:
        """Return up to two entries with this (normalised) log-in name; for the diagnosis, which shows the
        count.
        """
        return self._search(session, self._login_filter(name))

    def _search(self, session: Session, query: str) -> list[Entry]:
        flavour = self.settings.flavour
        wanted = dict.fromkeys(
            (*PERSON_ATTRIBUTES[flavour], *STATE_ATTRIBUTES[flavour], *self.settings.login_names)
        )
        return session.search(self.settings.user_base, query, tuple(wanted), limit=2)

    def _login_filter(self, name: str) -> str:
        value = filter_value(name)
        names = "".join(f"({attribute}={value})" for attribute in self.settings.login_names)
        return f"(&{self.settings.people_filter}(|{names}))"

    def _decoy_dn(self, name: str) -> str:
        """A well-formed name that doesn't exist, about as long as a real one."""
        return f"cn={dn_value('no such entry ' + name[:40])},{self.settings.user_base}"


def _with_state(outcome: Outcome, state: AccountState) -> Outcome:
    """Combine what the bind said with what the attributes say.

    A closed account is closed, whether or not the server accepted its password. A lock is the server's to
    judge: its attribute stays behind after the lock has run out, so an accepted bind outranks it.
    """
    if not state.keeps_account:
        return STATE_OUTCOMES[state]
    if outcome is Outcome.SIGNED_IN and state is not AccountState.LOCKED:
        return STATE_OUTCOMES.get(state, outcome)
    return outcome


def normalise_login(login: str, settings: DirectorySettings) -> str | None:
    r"""Return the log-in name to search for, or None if it can't be one.

    Spaces around it go away, and so does a Windows domain in front (``EXAMPLE\lena``).
    """
    text = unicodedata.normalize("NFC", login).strip()
    if settings.flavour is Flavour.ACTIVE_DIRECTORY and text.count("\\") == 1:
        text = text.split("\\")[1]
    if not 1 <= len(text) <= MAX_LOGIN_CHARACTERS or not _is_unicode(text):
        return None
    if any(unicodedata.category(character) == "Cc" for character in text):
        return None
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
