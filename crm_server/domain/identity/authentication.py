"""Who a request comes from: the session cookie of a browser or the bearer token of a program, to an `Actor`.

One prepared statement a request. Roles are small and change rarely: what a role grants is cached by its
version, so a change of a role counts at once. What several roles grant together is one object as well, so that whatever
is remembered about its sets of permissions is found again by identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from crm_server.kernel import rowrules
from crm_server.kernel.actor import Actor, Origin
from crm_server.kernel.clock import now
from crm_server.kernel.hot import Hot, Prepared
from crm_server.permissions import Permission, administration
from security.access.fields import LEVELS
from security.access.networks import Network, contains, parse_networks
from security.identity.sessions import SessionFacts, SessionLimits, digest_session_token, judge_session
from security.identity.tokens import parse_api_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crm_server.settings import Settings

COOKIE = "__Host-kontor"

_USER = """
    u.id, u.name, u.state, u.locale, u.timezone, u.theme,
    array(select ur.role_id::text || ':' || (select r.version from identity.role r where r.id = ur.role_id)
                 || coalesce('@' || extract(epoch from ur.expires_at)::bigint, '')
            from identity.user_role ur
           where ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now()))
"""
_ABOUT_USER = 7
"""Columns of `_USER`."""
BY_SESSION = Prepared(
    "identity_session",
    f"select {_USER}, s.id, s.created_at, s.last_seen_at, s.authenticated_at, s.auth_method, "  # noqa: S608
    "s.revoked_at, s.must_enrol, s.must_change_password "
    'from identity.session s join identity."user" u on u.id = s.user_id where s.token_hash = $1',
    ("bytea",),
)
BY_TOKEN = Prepared(
    "identity_token",
    f"select {_USER}, t.id, t.expires_at, t.revoked_at, t.permissions, t.last_used_at, t.fields "  # noqa: S608
    'from identity.api_token t join identity."user" u on u.id = t.user_id '
    "where t.token_hash = $1 and t.prefix = $2",
    ("bytea", "text"),
)
TOUCH = Prepared(
    "identity_touch", "update identity.session set last_seen_at = now() where id = $1", ("uuid",)
)
# The trigger of audit capture tells the log of each such update, so it is made once an hour and not at every
# call.
TOUCH_TOKEN = Prepared(
    "identity_touch_token", "update identity.api_token set last_used_at = now() where id = $1", ("uuid",)
)
_TOKEN_TOUCH = timedelta(hours=1)
_MOST = 1000
"""So many versions of roles, and ways of holding them, are remembered."""
ROLE = Prepared(
    "identity_role",
    "select name, permissions, scopes, field_rules, networks from identity.role where id = $1",
    ("uuid",),
)

Address = Callable[[], str | None]


def _nowhere() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What one version of a role grants."""

    key: str
    name: str
    permissions: frozenset[str]
    scopes: frozenset[str]
    fields: Mapping[str, str]
    networks: tuple[Network, ...]
    administrator: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What roles grant together, or an API token leaves of it."""

    roles: frozenset[str]
    permissions: frozenset[str]
    scopes: frozenset[str]
    fields: Mapping[str, str]


class Authenticator:
    """Finds the actor behind a session token or an API token."""

    def __init__(self, hot: Hot, settings: Settings) -> None:
        self._hot = hot
        self._limits = SessionLimits(
            idle=timedelta(seconds=settings.session_idle),
            idle_administrator=timedelta(seconds=settings.session_idle_admin),
            absolute=timedelta(seconds=settings.session_absolute),
        )
        self._grants: dict[str, Grant] = {}
        self._held: dict[tuple[tuple[str, ...], tuple[str, ...] | None], Held] = {}

    def by_session(self, cookie: str, request_id: UUID, address: Address = _nowhere) -> Actor | None:
        """The actor of a session cookie, or None when it opens nothing.

        Args:
            cookie: What the browser sent.
            request_id: For the actor.
            address: Tells where the request comes from; asked only when a role minds. Such a role counts for
                nothing elsewhere, so does every role when the address isn't known (AUTH-18).
        """
        digest = digest_session_token(cookie)
        rows = self._hot.run(BY_SESSION, (digest,)) if digest else []
        if not rows:
            return None
        user, (key, created, seen, _proved, method, revoked, enrol, change) = (
            rows[0][:_ABOUT_USER],
            rows[0][_ABOUT_USER:],
        )
        grants = self._load(user[6])
        verdict = judge_session(
            SessionFacts(
                created_at=created,
                last_seen_at=seen,
                administrator=any(grant.administrator for grant in grants),
                revoked_at=revoked,
                user_active=user[2] == "active",
            ),
            now(),
            self._limits,
        )
        if not verdict.active:
            return None
        if verdict.touch:
            self._hot.run(TOUCH, (key,))
        if enrol or change:
            # Until the second factor is set up (AUTH-11) or the password changed (AUTH-17), nothing else can be done.
            actor = _actor(user, self._together([]), Origin.WEB, method, key, request_id)
            return replace(actor, reduced="second_factor_required" if enrol else "password_expired")
        here = _here(grants, address)
        actor = _actor(user, self._together(here), Origin.WEB, method, key, request_id)
        return actor if len(here) == len(grants) else replace(actor, reduced="network")

    def by_token(self, text: str, request_id: UUID, address: Address = _nowhere) -> Actor | None:
        """The actor of an API token, limited to what the token may; None when it opens nothing.

        Arguments as those of `by_session`.
        """
        presented = parse_api_token(text)
        rows = self._hot.run(BY_TOKEN, (presented.digest, presented.public_id)) if presented else []
        if not rows:
            return None
        user, (key, expires, revoked, limited, used, fields) = rows[0][:_ABOUT_USER], rows[0][_ABOUT_USER:]
        if revoked is not None or user[2] != "active" or (expires is not None and expires <= now()):
            return None
        grants = self._load(user[6])
        here = _here(grants, address)
        actor = _actor(user, self._together(here, limited), Origin.API, "token", key, request_id)
        if len(here) < len(grants):
            actor = replace(actor, reduced="network")
        if fields is not None:
            actor = replace(actor, only=frozenset(fields))
        if used is None or now() - used > _TOKEN_TOUCH:
            self._hot.run(TOUCH_TOKEN, (key,), actor)
        return actor

    def _load(self, keys: Iterable[str]) -> list[Grant]:
        found = []
        for entry in keys:
            key = entry.partition("@")[0]
            grant = self._grants.get(key)
            if grant is None:
                rows = self._hot.run(ROLE, (UUID(key.partition(":")[0]),))
                if not rows:
                    continue
                name, permissions, scopes, fields, networks = rows[0]
                grant = Grant(
                    key,
                    name,
                    frozenset(permissions),
                    rowrules.flat(scopes),
                    fields,
                    parse_networks(networks),
                    bool(administration(permissions)),
                )
                if len(self._grants) > _MOST:
                    self._grants.clear()
                self._grants[key] = grant
            found.append(grant)
        return found

    def _together(self, grants: list[Grant], limited: list[str] | None = None) -> Held:
        """What roles grant together; of it what a token's permissions leave, if it is limited to some."""
        key = (tuple(grant.key for grant in grants), None if limited is None else tuple(limited))
        held = self._held.get(key)
        if held is None:
            permissions = frozenset().union(*(grant.permissions for grant in grants))
            if limited is not None:
                permissions &= frozenset(limited)
            fields: dict[str, str] = {}
            for grant in grants:
                for group, level in grant.fields.items():
                    fields[group] = max(level, fields.get(group, LEVELS[0]), key=LEVELS.index)
            held = Held(
                frozenset(grant.name for grant in grants),
                permissions | {str(Permission.LOGGED_IN)},
                frozenset().union(*(grant.scopes for grant in grants)),
                MappingProxyType(fields),
            )
            if len(self._held) > _MOST:
                self._held.clear()
            self._held[key] = held
        return held


def _here(grants: list[Grant], address: Address) -> list[Grant]:
    """The roles that count where the request comes from."""
    if not any(grant.networks for grant in grants):
        return grants
    known = address()
    return [grant for grant in grants if not grant.networks or contains(grant.networks, known)]


def _actor(
    user: tuple[Any, ...], held: Held, origin: Origin, method: str, session: UUID, request_id: UUID
) -> Actor:
    return Actor(
        id=user[0],
        name=user[1],
        origin=origin,
        roles=held.roles,
        permissions=held.permissions,
        scopes=held.scopes,
        fields=held.fields,
        locale=user[3],
        timezone=user[4],
        theme=user[5],
        auth_method=method,
        session_ref=session,
        request_id=request_id,
        emergency_until=_emergency(user[6]),
    )


def _emergency(roles: list[str]) -> datetime | None:
    """Until when a role of emergency access counts, if one does."""
    ends = [int(end) for _key, at, end in (entry.partition("@") for entry in roles) if at]
    return datetime.fromtimestamp(max(ends), UTC) if ends else None
