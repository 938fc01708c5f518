"""What other parts may ask of identity: logging in, users, factors, tokens, teams and territories.

The services are made once by `make` and hang at the registry; they open sessions of their own where nobody is
logged in yet, and take the request's session everywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crm_server.domain.identity.limits import LoginLimits, login_limits
from crm_server.domain.identity.services.directories import DirectoryService
from crm_server.domain.identity.services.emergency import EmergencyService
from crm_server.domain.identity.services.factors import FactorService
from crm_server.domain.identity.services.groups import GroupService
from crm_server.domain.identity.services.links import LinkService
from crm_server.domain.identity.services.login import Client, LoginService
from crm_server.domain.identity.services.passkeys import PasskeyService
from crm_server.domain.identity.services.roles import RoleService
from crm_server.domain.identity.services.scim import ScimService
from crm_server.domain.identity.services.sessions import SessionService
from crm_server.domain.identity.services.sso import SsoService
from crm_server.domain.identity.services.sso_sessions import SsoSessions
from crm_server.domain.identity.services.users import UserService
from crm_server.kernel.clock import now
from crm_server.kernel.db import setting
from crm_server.models import datamap
from security.identity.password import HashProfile, PasswordHasher
from security.web.outgoing import Outgoing

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.kernel.hot import Hot

__all__ = ["Client", "IdentityServices", "make", "make_directories"]


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """All services of identity."""

    login: LoginService
    sessions: SessionService
    users: UserService
    roles: RoleService
    emergency: EmergencyService
    links: LinkService
    groups: GroupService
    directories: DirectoryService
    sso: SsoService
    scim: ScimService
    passkeys: PasskeyService
    factors: FactorService
    limits: LoginLimits


def make(factory: sessionmaker[Session], hot: Hot) -> IdentityServices:
    """Wire the services of one process."""
    known = factory()
    strict = setting(known, "crypto_profile") == "strict"
    hasher = PasswordHasher(HashProfile.PBKDF2_SHA256 if strict else HashProfile.ARGON2ID)
    limits = login_limits(hot, now, setting(known, "directory_guesses"))
    sessions = SessionService()
    factors = FactorService(limits)
    links = LinkService(factory, hasher, limits, sessions)
    users = UserService(hasher, sessions)
    groups = GroupService(users)
    directories = DirectoryService(users, groups, limits.directory)
    passkeys = PasskeyService()
    kept = SsoSessions()
    login = LoginService(factory, hasher, limits, sessions, factors, directories, passkeys, kept)
    outgoing = Outgoing(setting(known, "outgoing_networks"))
    return IdentityServices(
        login=login,
        sso=SsoService(factory, limits, groups, login, sessions, kept, outgoing),
        scim=ScimService(limits, groups, users),
        passkeys=passkeys,
        sessions=sessions,
        users=users,
        roles=RoleService(datamap(), sessions),
        emergency=EmergencyService(),
        links=links,
        groups=groups,
        directories=directories,
        factors=factors,
        limits=limits,
    )


def make_directories() -> DirectoryService:
    """The service of directories alone, for the worker; nobody logs in by it."""
    users = UserService(PasswordHasher(), SessionService())
    return DirectoryService(users, GroupService(users))
