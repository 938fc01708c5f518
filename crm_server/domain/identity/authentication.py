"""Who a request comes from: the session cookie of a browser or the bearer token of a program, to an `Actor`.

One prepared statement a request, or none where the actor can be recalled (`kernel/recalled.py`). Roles are small and
change rarely: what a role grants is cached by its version, so a change of a role counts at once. What several roles
grant together is one object as well, so that whatever is remembered about its sets of permissions is found again by
identity.
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
from crm_server.kernel.recalled import Recalled
from crm_server.permissions import Permission, administration
from security.access.fields import LEVELS
from security.access.networks import Network, contains, parse_networks
from security.identity.sessions import SessionFacts, SessionLimits, digest_session_token, judge_session
from security.identity.tokens import parse_api_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crm_server.settings import Settings

COOKIE = "__Host-kontor"

_USER = "u.id, u.name, u.state, u.locale, u.timezone, u.theme, ur.role_id::text, r.version, ur.expires_at"
_ABOUT_USER = 9
"""Columns of `_USER`. A user of several roles comes in several rows."""
_ROLE, _UNTIL = slice(6, 8), 8


@dataclass(frozen=True, slots=True)
class Door:
    """The two statements about one kind of token.

    Attributes:
        find: Who the token stands for; the last column is all that decides about it, as one text.
        look: Ends the transaction unless that text is still the same. Its parameters are hexadecimal.
    """

    find: Prepared
    look: Prepared


def _door(name: str, facts: str, used: str) -> Door:
    """Arguments: the table, the columns of it that decide, and the one that tells of the last use, which doesn't."""
    source = f"""
        from identity.{name} o
        join identity."user" u on u.id = o.user_id
        left join (identity.user_role ur join identity.role r on r.id = ur.role_id)
               on ur.user_id = u.id and (ur.expires_at is null or ur.expires_at > now())
        where o.token_hash = decode($1, 'hex')
    """
    each = f"row({_USER}, {facts})::text"
    rows = "over (order by ur.role_id rows between unbounded preceding and unbounded following)"
    found = f"string_agg({each}, '') {rows}"
    # A digest would be shorter, but making one costs PostgreSQL as much as reading two of the tables.
    still = f"string_agg({each}, '' order by ur.role_id) = convert_from(decode($2, 'hex'), 'UTF8')"
    return Door(
        Prepared(f"find_{name}", f"select {_USER}, {facts}, {used}, {found} {source}", ("text",)),
        Prepared(
            f"look_{name}",
            f"select case when {still} then true else kontor.outdated() end {source}",
            ("text", "text"),
        ),
    )


SESSION = _door(
    "session",
    "o.id, o.created_at, o.auth_method, o.revoked_at, o.must_enrol, o.must_change_password",
    "o.last_seen_at",
)
TOKEN = _door(
    "api_token", "o.id, o.prefix, o.expires_at, o.revoked_at, o.permissions, o.fields", "o.last_used_at"
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
"""So many versions of roles, and ways of holding them, are remembered, and ten times as many tokens."""
_NEVER = datetime.max.replace(tzinfo=UTC)
_RECALLED = timedelta(minutes=1)
"""What a token stands for is recalled for so long. It is confirmed each time, so this bounds memory alone."""
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
    """What one version of a role grants.

    Attributes:
        key: The role and its version.
    """

    key: tuple[str, int]
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


@dataclass(frozen=True, slots=True)
class Found:
    """What a token stands for.

    Attributes:
        rows: As `Door.find` gives them.
        until: Nothing in them depends on the time before this moment, and the last use need not be written.
        values: Of `Door.look`.
    """

    rows: list[tuple[Any, ...]]
    until: datetime
    values: tuple[str, ...]


class Authenticator:
    """Finds the actor behind a session token or an API token."""

    def __init__(self, hot: Hot, settings: Settings) -> None:
        self._hot = hot
        self._limits = SessionLimits(
            idle=timedelta(seconds=settings.session_idle),
            idle_administrator=timedelta(seconds=settings.session_idle_admin),
            absolute=timedelta(seconds=settings.session_absolute),
        )
        self._grants: dict[tuple[str, int], Grant] = {}
        self._held: dict[tuple[tuple[tuple[str, int], ...], tuple[str, ...] | None], Held] = {}
        self._found: dict[bytes, Found] = {}

    def by_session(
        self, cookie: str, request_id: UUID, address: Address = _nowhere, *, recall: bool = False
    ) -> Actor | None:
        """The actor of a session cookie, or None when it opens nothing.

        Args:
            cookie: What the browser sent.
            request_id: For the actor.
            address: Tells where the request comes from; asked only when a role minds. Such a role counts for
                nothing elsewhere, so does every role when the address isn't known (AUTH-18).
            recall: Take what was found a moment ago; it is confirmed before anything is answered.
        """
        digest = digest_session_token(cookie)
        if digest is None:
            return None
        rows, recalled = self._find(SESSION, digest, recall=recall)
        if not rows:
            return None
        user, (key, created, method, revoked, enrol, change, seen, _facts) = rows[0], rows[0][_ABOUT_USER:]
        grants = self._load(rows)
        at = now()
        verdict = judge_session(
            SessionFacts(
                created_at=created,
                last_seen_at=seen,
                administrator=any(grant.administrator for grant in grants),
                revoked_at=revoked,
                user_active=user[2] == "active",
            ),
            at,
            self._limits,
        )
        if not verdict.active:
            return None
        if verdict.touch:
            self._hot.run(TOUCH, (key,))
        elif recalled is None:
            until = min(created + self._limits.absolute, seen + self._limits.touch_every, at + _RECALLED)
            self._remember(digest, rows, until)
        if enrol or change:
            # Until the second factor is set up (AUTH-11) or the password changed (AUTH-17), nothing else can be done.
            actor = _actor(user, self._together([]), Origin.WEB, method, key, request_id, recalled=recalled)
            return replace(actor, reduced="second_factor_required" if enrol else "password_expired")
        here = _here(grants, address)
        held, emergency = self._together(here), _emergency(rows)
        actor = _actor(user, held, Origin.WEB, method, key, request_id, emergency, recalled)
        return actor if len(here) == len(grants) else replace(actor, reduced="network")

    def by_token(
        self, text: str, request_id: UUID, address: Address = _nowhere, *, recall: bool = False
    ) -> Actor | None:
        """The actor of an API token, limited to what the token may; None when it opens nothing.

        Arguments as those of `by_session`.
        """
        presented = parse_api_token(text)
        if presented is None:
            return None
        rows, recalled = self._find(TOKEN, presented.digest, recall=recall)
        if not rows:
            return None
        user, (key, prefix, expires, revoked, limited, fields, used, _facts) = rows[0], rows[0][_ABOUT_USER:]
        at = now()
        if prefix != presented.public_id or revoked is not None or user[2] != "active":
            return None
        if expires is not None and expires <= at:
            return None
        grants = self._load(rows)
        here = _here(grants, address)
        held = self._together(here, limited)
        actor = _actor(user, held, Origin.API, "token", key, request_id, _emergency(rows), recalled)
        if len(here) < len(grants):
            actor = replace(actor, reduced="network")
        if fields is not None:
            actor = replace(actor, only=frozenset(fields))
        if used is None or at - used > _TOKEN_TOUCH:
            self._hot.run(TOUCH_TOKEN, (key,), actor)
        elif recalled is None:
            self._remember(
                presented.digest, rows, min(expires or _NEVER, used + _TOKEN_TOUCH, at + _RECALLED)
            )
        return actor

    def _find(
        self, door: Door, digest: bytes, *, recall: bool
    ) -> tuple[list[tuple[Any, ...]], Recalled | None]:
        """What a token stands for: recalled, which is still to be confirmed, or found anew."""
        found = self._found.get(digest) if recall else None
        if found is not None and now() < found.until:
            return found.rows, Recalled(self._hot, door.look, found.values)
        return self._hot.run(door.find, (digest.hex(),)), None

    def _remember(self, digest: bytes, rows: list[tuple[Any, ...]], until: datetime) -> None:
        if len(self._found) > 10 * _MOST:
            self._found.clear()
        facts: str = rows[0][-1]
        self._found[digest] = Found(rows, until, (digest.hex(), facts.encode().hex()))

    def _load(self, rows: Iterable[tuple[Any, ...]]) -> list[Grant]:
        found = []
        for row in rows:
            key = row[_ROLE]
            if key[0] is None:
                continue
            grant = self._grants.get(key)
            if grant is None:
                grant = self._read(key)
                if grant is None:
                    continue
            found.append(grant)
        return found

    def _read(self, key: tuple[str, int]) -> Grant | None:
        rows = self._hot.run(ROLE, (key[0],))
        if not rows:
            return None
        name, permissions, scopes, fields, networks = rows[0]
        if len(self._grants) > _MOST:
            self._grants.clear()
        grant = self._grants[key] = Grant(
            key,
            name,
            frozenset(permissions),
            rowrules.flat(scopes),
            fields,
            parse_networks(networks),
            bool(administration(permissions)),
        )
        return grant

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


def _actor(  # noqa: PLR0917 - what an actor is made of
    user: tuple[Any, ...],
    held: Held,
    origin: Origin,
    method: str,
    session: UUID,
    request_id: UUID,
    emergency: datetime | None = None,
    recalled: Recalled | None = None,
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
        emergency_until=emergency,
        recalled=recalled,
    )


def _emergency(rows: Iterable[tuple[Any, ...]]) -> datetime | None:
    """Until when a role of emergency access counts, if one does."""
    return max((row[_UNTIL] for row in rows if row[_UNTIL] is not None), default=None)
