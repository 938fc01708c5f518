"""Every permission of the application, on one page.

Permissions on records follow from the data map: `crm:<entity>:<action>`. The rest is listed here. Whoever holds no
role that grants a permission does not have it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from pyramid.security import NO_PERMISSION_REQUIRED

from compliance.datamap.text import Text, _
from crm_server.kernel import rowrules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from compliance.datamap import DataMap, EntityDef

PUBLIC = NO_PERMISSION_REQUIRED
"""Said of a view that anybody may call. A view that says nothing stops the start."""


class Action(StrEnum):
    """What can be done with records. In a view's `permission` with an `EntityContext` behind the route."""

    READ = "read"
    """See records and lists."""
    CREATE = "create"
    """Make records."""
    UPDATE = "update"
    """Change records and their parts."""
    DELETE = "delete"
    """Put records into the bin and take them out."""
    PURGE = "purge"
    """Remove records in the bin for good."""
    EXPORT = "export"
    """Take lists out as files."""
    IMPORT = "import"
    """Load files."""


class Permission(StrEnum):
    """Permissions that are not about one kind of record: `scope:resource:action`."""

    LOGGED_IN = "app:self:use"
    """Use what concerns oneself: home, profile, own sessions and views. Everybody who is logged in has it."""
    USERS_MANAGE = "system:users:manage"
    """Create, change and disable users; teams and territories."""
    ROLES_MANAGE = "security:roles:manage"
    """Make roles and give them to users."""
    CUSTOM_FIELDS_MANAGE = "system:custom_fields:manage"
    """Add, change and remove custom fields."""
    SHARED_VIEWS_MANAGE = "crm:saved_view:share"
    """Share saved views with everybody."""
    AUDIT_READ = "audit:log:read"
    """Read the audit log."""
    AUDIT_MANAGE = "audit:settings:manage"
    """Say where audit events are sent, how long they are kept, and what raises an alarm."""
    SETTINGS_READ = "system:settings:read"
    """See the state of the system."""
    ACCESS_EXPLAIN = "security:access:read"
    """Ask why anybody may or may not do something with a record."""
    CHANGES_READ = "integration:changes:read"
    """Follow the change feed."""
    EXPORTS_RELEASE = "release:exports:mass"
    """Be the second person for exports of many records."""
    ADMINISTRATORS_RELEASE = "release:administrators:grant"
    """Be the second person when somebody becomes an administrator or ceases to be one."""
    AUDIT_RELEASE = "release:audit:settings"
    """Be the second person for changes of what the audit log does."""
    KEYS_READ = "security:keys:read"
    """See the state of the keys of sealed data."""
    KEYS_MANAGE = "security:keys:manage"
    """Rotate keys, make escrows, ask for the destruction of an epoch."""
    EMERGENCY_USE = "emergency:access:use"
    """Take a role for a short time in an emergency (break-glass)."""
    EMERGENCY_REVIEW = "emergency:access:review"
    """Learn of emergency access at once, and review it afterwards."""
    KEYS_RELEASE = "release:keys:destroy"
    """Be the second person for the destruction of keys."""
    ERASURES_RELEASE = "release:persons:erase"
    """Be the second person for the erasure of a person."""
    HOLDS_RELEASE = "release:holds:end"
    """Be the second person for the end of a legal hold."""
    RESTORES_RELEASE = "release:restores:run"
    """Be the second person for a restore from a backup."""


def administration(permissions: Iterable[str]) -> frozenset[str]:
    """The kinds of administrator that permissions amount to: "system", "security", "audit".

    Any permission of scope audit, and those of scope system and security that do more than read. No account
    holds two kinds; the database refuses it by the same rule (`sql/guards.sql`).
    """
    return frozenset(
        kind
        for kind, _colon, rest in (str(one).partition(":") for one in permissions)
        if kind == "audit" or (kind in ("system", "security") and not rest.endswith(":read"))
    )


def guarded(permissions: Iterable[str]) -> frozenset[str]:
    """What of permissions takes a second person to give and to take: administration, and emergency access."""
    held = frozenset(map(str, permissions))
    return administration(held) | (held & {str(Permission.EMERGENCY_USE)})


@dataclass(frozen=True, slots=True)
class EntityContext:
    """What a route about one kind of record leads to; permissions of actions are asked for it."""

    entity: EntityDef


def record_permission(entity: str, action: Action) -> str:
    """The name of a permission on records."""
    return f"crm:{entity}:{action}"


def all_permissions(datamap: DataMap) -> tuple[str, ...]:
    """Every permission there is, in the order in which a page shows them."""
    records = [record_permission(item.name, action) for item in datamap.records() for action in Action]
    return (*records, *(str(item) for item in Permission))


LEVELS_ALL = dict.fromkeys(("general", "personal", "financial", "special"), "write")
LEVELS_STAFF = {"general": "write", "personal": "write", "financial": "write", "special": "hidden"}
LEVELS_READ = {"general": "read", "personal": "masked", "financial": "read", "special": "hidden"}


@dataclass(frozen=True, slots=True)
class BuiltInRole:
    """A role that exists from the first start. Stored in English, shown in the reader's language."""

    name: Text
    description: Text
    actions: tuple[Action, ...]
    permissions: tuple[Permission, ...]
    fields: dict[str, str]
    emergency_minutes: int = 0
    """For how long the role can be taken in an emergency at the first start; later the customer says."""
    scopes: Mapping[str, list[str]] = field(default_factory=rowrules.everything)
    """Row scopes (kernel/rowrules.py); all records by default."""

    @property
    def label(self) -> Text:
        """The name in the reader's language."""
        # The word is another one than that for somebody's superior.
        return _("role_manager", default="Manager") if self.name == "Manager" else self.name

    def grants(self, datamap: DataMap) -> list[str]:
        """The names of all permissions of the role."""
        records = [
            record_permission(item.name, action) for item in datamap.records() for action in self.actions
        ]
        return sorted({*records, *map(str, self.permissions), str(Permission.LOGGED_IN)})


_WORK = (Action.READ, Action.CREATE, Action.UPDATE, Action.DELETE)

BUILT_IN_ROLES: tuple[BuiltInRole, ...] = (
    BuiltInRole(
        _("System administrator"),
        _("Runs the system: users, fields, settings. Sees business data, masks personal data."),
        (Action.READ,),
        (
            Permission.USERS_MANAGE,
            Permission.CUSTOM_FIELDS_MANAGE,
            Permission.ACCESS_EXPLAIN,
            Permission.SETTINGS_READ,
            Permission.SHARED_VIEWS_MANAGE,
        ),
        LEVELS_READ,
        60,
    ),
    BuiltInRole(
        _("Security administrator"),
        _("Decides who may do what. Sees no business data."),
        (),
        (
            Permission.ROLES_MANAGE,
            Permission.ACCESS_EXPLAIN,
            Permission.SETTINGS_READ,
            Permission.EXPORTS_RELEASE,
            Permission.ADMINISTRATORS_RELEASE,
            Permission.AUDIT_RELEASE,
            Permission.KEYS_READ,
            Permission.KEYS_MANAGE,
            Permission.KEYS_RELEASE,
            Permission.ERASURES_RELEASE,
            Permission.HOLDS_RELEASE,
            Permission.RESTORES_RELEASE,
            Permission.EMERGENCY_REVIEW,
        ),
        {},
        60,
    ),
    BuiltInRole(
        _("Audit administrator"),
        _(
            "Reads the audit log, says where it is sent and how long it is kept, and is the second person for what "
            "other administrators may not do alone. Sees no business data."
        ),
        (),
        (
            Permission.AUDIT_READ,
            Permission.AUDIT_MANAGE,
            Permission.ADMINISTRATORS_RELEASE,
            Permission.AUDIT_RELEASE,
            Permission.ERASURES_RELEASE,
            Permission.HOLDS_RELEASE,
            Permission.RESTORES_RELEASE,
            Permission.EMERGENCY_REVIEW,
        ),
        {},
    ),
    BuiltInRole(
        _("Emergency access"),
        _(
            "Can take an administrator's role for a short time when nobody else can. Each use is told and reviewed."
        ),
        (),
        (Permission.EMERGENCY_USE,),
        {},
    ),
    BuiltInRole(
        _("Manager"),
        _("Leads sales, service or marketing: works with all records, imports, exports and empties the bin."),
        tuple(Action),
        (Permission.SHARED_VIEWS_MANAGE, Permission.CHANGES_READ, Permission.EXPORTS_RELEASE),
        LEVELS_ALL,
    ),
    BuiltInRole(
        _("Sales"),
        _(
            "Works with records of their own, of their teams and territories, and with what was shared with them."
        ),
        _WORK,
        (),
        LEVELS_STAFF,
        scopes=rowrules.working(),
    ),
    BuiltInRole(_("User"), _("Works with records in sales, service and marketing."), _WORK, (), LEVELS_STAFF),
    BuiltInRole(_("Reader"), _("Sees records; personal data is masked."), (Action.READ,), (), LEVELS_READ),
)
