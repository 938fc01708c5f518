"""Answer "why doesn't the directory work?" step by step, in words an operator can act on (AUTH-10).

Called by the directory page and by ``kontor directory test [USER]``. It asks every server, not only the first
that answers, and needs no password of the person it tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from security.identity.ldap.client import Directory, normalise_login
from security.identity.ldap.groups import groups_of
from security.identity.ldap.outcome import IncompleteListing, Misconfigured, ServerTrouble
from security.identity.ldap.people import Group, Person, person
from security.identity.ldap.settings import ServerAddress
from security.identity.ldap.transport import Session, TlsFacts
from security.network import Cause


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried. ``code`` names it for translations; ``detail`` holds facts, not sentences."""

    code: str
    passed: bool
    detail: str = field(default="", repr=False)
    milliseconds: int = 0
    cause: Cause | None = None
    """Why the connection failed, if that is what failed."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What one server answered."""

    server: ServerAddress
    steps: tuple[Step, ...]
    tls: TlsFacts | None = None
    person: Person | None = None
    groups: tuple[Group, ...] = field(default=(), repr=False)

    @property
    def passed(self) -> bool:
        """True if every step passed."""
        return all(step.passed for step in self.steps)


def diagnose(directory: Directory, login: str | None = None) -> tuple[ServerReport, ...]:
    """Test each server: connection, TLS, service account, search bases, and the person ``login`` if one is
    named.
    """
    return tuple(_diagnose_server(directory, server, login) for server in directory.settings.servers)


def _diagnose_server(directory: Directory, server: ServerAddress, login: str | None) -> ServerReport:
    steps: list[Step] = []
    start = perf_counter()
    try:
        with Session(directory.settings, server) as session:
            steps.append(Step("service_bind", passed=True, milliseconds=_elapsed(start)))
            for code, base in (
                ("user_base", directory.settings.user_base),
                ("group_base", directory.settings.group_base),
            ):
                start = perf_counter()
                there = session.read(base, ("objectClass",)) is not None
                steps.append(Step(code, there, base, _elapsed(start)))
            tls = session.tls
            if login is None or not all(step.passed for step in steps):
                return ServerReport(server, tuple(steps), tls)
            return _diagnose_person(directory, session, login, steps, tls)
    except ServerTrouble as problem:
        steps.append(_failed(problem, start, problem.cause))
    except Misconfigured as problem:
        steps.append(_failed(problem, start))
    except IncompleteListing as problem:
        steps.append(Step("listing", False, str(problem), _elapsed(start)))
    return ServerReport(server, tuple(steps))


def _diagnose_person(
    directory: Directory, session: Session, login: str, steps: list[Step], tls: TlsFacts
) -> ServerReport:
    start = perf_counter()
    name = normalise_login(login, directory.settings)
    entries = directory.search_login(session, name) if name else []
    steps.append(Step("one_match", len(entries) == 1, f"{len(entries)} found", _elapsed(start)))
    if len(entries) != 1:
        return ServerReport(session.server, tuple(steps), tls)
    found = person(directory.settings, entries[0].dn, entries[0].attributes, directory.now())
    steps.append(Step("immutable_id", found is not None, str(found.id) if found else ""))
    if found is None:
        return ServerReport(session.server, tuple(steps), tls)
    steps.append(Step("account_state", found.state.value == "active", found.state.value))
    start = perf_counter()
    groups = groups_of(session, found)
    steps.append(Step("groups", True, f"{len(groups)} found", _elapsed(start)))
    return ServerReport(session.server, tuple(steps), tls, found, groups)


def _failed(problem: ServerTrouble | Misconfigured, start: float, cause: Cause | None = None) -> Step:
    return Step(problem.step.replace(" ", "_"), False, problem.detail, _elapsed(start), cause)


def _elapsed(start: float) -> int:
    return round((perf_counter() - start) * 1000)
