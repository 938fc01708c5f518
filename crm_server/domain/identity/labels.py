"""What permissions are called on pages: in a person's words, never by their code alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import Text, _
from crm_server.permissions import Action, Permission

if TYPE_CHECKING:
    from compliance.datamap import DataMap

ACTIONS: dict[Action, Text] = {
    Action.READ: _("see"),
    Action.CREATE: _("create"),
    Action.UPDATE: _("change"),
    Action.DELETE: _("put into the bin"),
    Action.PURGE: _("remove for good"),
    Action.EXPORT: _("export"),
    Action.IMPORT: _("import"),
}
PERMISSIONS: dict[str, Text] = {
    Permission.LOGGED_IN: _("Use what concerns oneself"),
    Permission.USERS_MANAGE: _("Manage users, teams and territories"),
    Permission.ROLES_MANAGE: _("Give roles"),
    Permission.CUSTOM_FIELDS_MANAGE: _("Manage custom fields"),
    Permission.SHARED_VIEWS_MANAGE: _("Share views with everybody"),
    Permission.AUDIT_READ: _("Read the audit log"),
    Permission.SETTINGS_READ: _("See the state of the system"),
    Permission.CHANGES_READ: _("Follow the change feed"),
    Permission.EXPORTS_RELEASE: _("Release exports of many records"),
    Permission.ADMINISTRATORS_RELEASE: _("Release grants of administrators"),
    Permission.AUDIT_RELEASE: _("Release changes of audit settings"),
    Permission.KEYS_READ: _("See the state of encryption keys"),
    Permission.KEYS_MANAGE: _("Rotate encryption keys and ask for their destruction"),
    Permission.KEYS_RELEASE: _("Release the destruction of keys"),
}


def choices(datamap: DataMap, held: frozenset[str]) -> list[tuple[Text, list[tuple[str, Text]]]]:
    """The permissions somebody holds, in groups for a form: (heading, [(code, label), …]), one group an
    entity.
    """
    groups: list[tuple[Text, list[tuple[str, Text]]]] = []
    for entity in datamap.records():
        codes = [(f"crm:{entity.name}:{action.value}", label) for action, label in ACTIONS.items()]
        there = [(code, label) for code, label in codes if code in held]
        if there:
            groups.append((entity.policy.label_plural, there))
    others = [(str(code), label) for code, label in PERMISSIONS.items() if code in held]
    if others:
        groups.append((_("Everything else"), others))
    return groups
