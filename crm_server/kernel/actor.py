"""Who acts. A detached value: it can neither lazy-load nor be changed, and it travels with the transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from crm_server.kernel.recalled import Recalled

SYSTEM_ID = UUID(int=0)


class Origin(StrEnum):
    """Through which door the act came."""

    WEB = "web"
    API = "api"
    CLI = "cli"
    JOB = "job"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """The person or process on whose authority a transaction runs.

    Attributes:
        id: User id; `SYSTEM_ID` for the system itself.
        permissions: Permission names such as "crm:contact:read", already resolved from the roles.
        scopes: Row scopes such as "contact:read:own", of all roles together (`kernel/rowrules.py`).
        fields: Field rules by access group ("hidden", "masked", "read", "write").
        only: The fields that an API token is limited to, such as "contact.email"; None: no limit (AUTH-18).
        reduced: Why the actor holds less than their roles grant: "second_factor_required" until one is set up,
            "password_expired" until another one is chosen, "network" where a role doesn't count from here.
            Refusals name it.
        emergency_until: When a role ends that was taken in an emergency; pages say so all the time.
        recalled: What the actor was recalled from, where that is not looked up anew (`kernel/recalled.py`).
        session_ref: The session or token that authenticated the request, as a pseudonym for the audit log.
    """

    id: UUID
    name: str
    origin: Origin = Origin.WEB
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    fields: Mapping[str, str] = field(default_factory=dict)
    locale: str = "en"
    timezone: str = "UTC"
    theme: str = "auto"
    auth_method: str = "none"
    session_ref: UUID | None = None
    request_id: UUID | None = None
    purpose: str = "operation"
    all_permissions: bool = False
    only: frozenset[str] | None = None
    reduced: str | None = None
    emergency_until: datetime | None = None
    recalled: Recalled | None = field(default=None, compare=False)

    def may(self, permission: str) -> bool:
        """Whether the actor holds a permission. Default deny."""
        return self.all_permissions or permission in self.permissions

    def field_level(self, access: str, name: str | None = None) -> str:
        """What the actor may do with a field: "hidden", "masked", "read" or "write".

        Args:
            access: Its access group.
            name: The field itself, such as "contact.email" or "contact.custom.size". Whoever is limited to
                single fields has nothing of a group as a whole.
        """
        if access == "secret" or (self.only is not None and name not in self.only):
            return "hidden"
        return "write" if self.all_permissions else self.fields.get(access, "hidden")

    def __repr__(self) -> str:
        """Name the actor by id: the name is personal data and this ends up in logs."""
        return f"<Actor {self.id} {self.origin}>"


def system_actor(origin: Origin = Origin.SYSTEM, request_id: UUID | None = None) -> Actor:
    """The system itself: jobs without a person behind them, the command line, migrations."""
    return Actor(
        id=SYSTEM_ID,
        name="Kontor",
        origin=origin,
        auth_method="system",
        request_id=request_id,
        all_permissions=True,
    )
