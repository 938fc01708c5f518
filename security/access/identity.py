"""The detached description of who is acting, made once a request and handed to every decision.

Made by the application's security policy from a session or an API token; read by ``security.access.policy``
and ``security.access.fields``. Frozen, so that no code can lift itself up in the middle of a request.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from security.access.fields import FieldRules


class Method(enum.Enum):
    """A way in which the actor proved who they are. The value is what audit events carry."""

    LOCAL_PASSWORD = "password"  # noqa: S105 - the name of a method, not a secret.
    DIRECTORY = "directory"
    SINGLE_SIGN_ON = "sso"
    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery_code"
    API_TOKEN = "api_token"  # noqa: S105 - as above.
    BREAK_GLASS = "break_glass"


SECOND_FACTORS = frozenset({Method.TOTP, Method.PASSKEY, Method.RECOVERY_CODE})


class Administrator(enum.Enum):
    """Three kinds of administrator that no one account holds together (separation of duties)."""

    SYSTEM = "system"
    SECURITY = "security"
    AUDIT = "audit"


class RowScope(enum.Enum):
    """How far a role reaches over the rows of one entity, from narrow to wide."""

    NONE = "none"
    OWN = "own"
    TEAM = "team"
    MANAGED = "managed"
    TERRITORY = "territory"
    ALL = "all"


class ConflictingAdministrationError(ValueError):
    """One account would hold two kinds of administration."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What all roles of one identity give together."""

    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    administrator: Administrator | None = None
    row_scopes: Mapping[tuple[str, str], frozenset[RowScope]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """(entity, action) → scopes; rows in any of them are reachable."""
    fields: FieldRules = field(default_factory=FieldRules)


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What an API token takes away from its owner's grants."""

    scopes: frozenset[str]
    fields: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """An actor in one request. ``repr`` shows ids only, never names or addresses."""

    user_id: UUID
    grants: Grants = field(default_factory=Grants, repr=False)
    methods: frozenset[Method] = frozenset()
    signed_in_at: datetime | None = None
    proved_at: datetime | None = None
    """Latest full proof (log-in or step-up), for rules that ask for a fresh one."""
    token: TokenLimits | None = field(default=None, repr=False)
    purpose: str | None = None

    @property
    def has_second_factor(self) -> bool:
        """True if this log-in went through a second factor or a passkey."""
        return bool(self.methods & SECOND_FACTORS)


def merge(grants: list[Grants]) -> Grants:
    """Add up the grants of several roles. Roles only ever add.

    Raises ConflictingAdministrationError if two roles make the account two kinds of administrator.
    """
    kinds = {one.administrator for one in grants if one.administrator is not None}
    if len(kinds) > 1:
        names = " and ".join(sorted(kind.value for kind in kinds))
        raise ConflictingAdministrationError(
            f"roles: one account can't be {names} administrator; take one of the roles away"
        )
    scopes: dict[tuple[str, str], frozenset[RowScope]] = {}
    for one in grants:
        for key, value in one.row_scopes.items():
            scopes[key] = scopes.get(key, frozenset()) | value
    return Grants(
        roles=frozenset().union(*(one.roles for one in grants)),
        permissions=frozenset().union(*(one.permissions for one in grants)),
        administrator=next(iter(kinds), None),
        row_scopes=MappingProxyType(scopes),
        fields=FieldRules.widest([one.fields for one in grants]),
    )
