"""What permissions are called on pages: in a person's words, never by their code alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.text import Text, _
from crm_server.domain.identity.models import FACTOR_POLICIES
from crm_server.domain.identity.services.differences import Difference, RoleDraft, difference
from crm_server.kernel import rowrules
from crm_server.kernel.connection import CONNECTION
from crm_server.permissions import BUILT_IN_ROLES, Action, Permission

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from compliance.datamap import DataMap
    from security.identity.ldap.diagnosis import Step
    from security.identity.oidc.diagnosis import Step as ProviderStep

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
    Permission.AUDIT_MANAGE: _("Set where audit events go, how long they stay and what raises an alarm"),
    Permission.SETTINGS_READ: _("See the state of the system"),
    Permission.ACCESS_EXPLAIN: _("Ask who may do what, and why"),
    Permission.CHANGES_READ: _("Follow the change feed"),
    Permission.EXPORTS_RELEASE: _("Release exports of many records"),
    Permission.ADMINISTRATORS_RELEASE: _("Release grants of administrators"),
    Permission.AUDIT_RELEASE: _("Release changes of audit settings"),
    Permission.KEYS_READ: _("See the state of encryption keys"),
    Permission.KEYS_MANAGE: _("Rotate encryption keys and ask for their destruction"),
    Permission.EMERGENCY_USE: _("Take a role in an emergency"),
    Permission.EMERGENCY_REVIEW: _("Review emergency access"),
    Permission.KEYS_RELEASE: _("Release the destruction of keys"),
    Permission.ERASURES_RELEASE: _("Release the erasure of a person"),
    Permission.HOLDS_RELEASE: _("Release the end of a legal hold"),
    Permission.RESTORES_RELEASE: _("Release a restore from a backup"),
}


GROUPS: dict[str, Text] = {
    "general": _("General"),
    "personal": _("Personal"),
    "financial": _("Financial"),
    "special": _("Special categories"),
}
"""Groups of fields that roles have levels for."""
LEVELS: dict[str, Text] = {
    "hidden": _("hidden"),
    "masked": _("masked"),
    "read": _("read"),
    "write": _("read and change"),
}
FACTORS: Mapping[str, Text] = FACTOR_POLICIES
ROLES: Mapping[str, Text] = {str(one.name): one.label for one in BUILT_IN_ROLES}
"""Names of built-in roles; those of other roles stand as they were given."""
_DESCRIPTIONS = {str(one.description): one.description for one in BUILT_IN_ROLES}


def role(name: str) -> Text | str:
    """The name of a role in the reader's language, if it is a built-in one."""
    return ROLES.get(name, name)


def description(found: Any) -> Text | str | None:
    """What a role is for, in the reader's language, if it is a built-in one."""
    return _DESCRIPTIONS.get(found.description, found.description) if found.built_in else found.description


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """What changed from one kept version of a role to the next."""
    return difference(RoleDraft.read(before), RoleDraft.read(after))


def permission(datamap: DataMap, code: str) -> tuple[Text | str, Text | str]:
    """(what, act) of a permission in words: ("Contacts", "export"); the code itself where there are none."""
    scope, _colon, rest = code.partition(":")
    name, _colon, act = rest.partition(":")
    entity = datamap.entities.get(name)
    if scope == "crm" and entity is not None and act in set(Action):
        return entity.policy.label_plural, ACTIONS[Action(act)]
    return PERMISSIONS.get(code, code), ""


ROW_ACTS: Mapping[str, Text] = {act.value: ACTIONS[Action(act.value)] for act in rowrules.RowAction}
"""What row rules are about, in words."""
SCOPED: Mapping[str, Mapping[str, Text]] = {
    entity: {found.value: rowrules.SCOPE_LABELS[found] for found in rowrules.available(entity)}
    for entity in rowrules.GUARDED
}
"""The scopes that records of a kind can have, in words."""


def scopes(names: Iterable[str]) -> list[Text | str]:
    """Scopes in words, from narrow to wide."""
    given = set(names)
    return [label for found, label in rowrules.SCOPE_LABELS.items() if found.value in given]


def scope(datamap: DataMap, key: str) -> tuple[Text | str, Text | str]:
    """(what, act) of a key of row scopes, "contact:read"."""
    name, _colon, act = key.partition(":")
    entity = datamap.entities.get(name)
    label = ACTIONS[Action(act)] if act in set(Action) else act
    return (entity.policy.label_plural if entity else name), label


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


_WAYS: dict[str, Text] = {
    "password": _("Password"),
    "directory": _("Directory"),
    "sso": _("Single sign-on"),
    "provider": _("Second factor of the provider"),
    "passkey": _("Passkey"),
    "totp": _("Authenticator app"),
    "recovery_code": _("Recovery code"),
}


def ways(method: str) -> list[Text | str]:
    """How somebody logged in, step by step, from what a session keeps: "password+totp"."""
    return [_WAYS.get(step, step) for step in method.split("+")]


_STEPS: dict[str, Text] = {
    "service_account": _("The directory doesn't let the service account in. Check its name and password."),
    "user_base": _("There is no such entry, or the service account may not see it."),
    "group_base": _("There is no such entry, or the service account may not see it."),
    "search": _(
        "The directory refused the search. Check where people and groups are, and what the account may see."
    ),
    "one_match": _("Nobody has this log-in name there, or several people have it. Neither can log in."),
    "immutable_id": _("The service account can't read entryUUID or objectGUID of this person."),
    "account_state": _("The directory says that this account may not be used."),
    "listing": _("The answer was cut off. The service account must be allowed to list everybody."),
}


def directory_trouble(step: Step) -> Text | None:
    """What a failed step of the test of a directory means, and what to do; None where it passed."""
    if step.passed:
        return None
    return CONNECTION[step.cause] if step.cause is not None else _STEPS.get(step.code)


_PROVIDER_STEPS: dict[str, Text] = {
    "address": _(
        "This address can't be called from here. Networks of your own are named in KONTOR_OUTGOING_NETWORKS."
    ),
    "metadata": _(
        "The provider doesn't describe itself there. Check the issuer, its certificate, and that it is running."
    ),
    "keys": _("The provider's keys can't be read."),
    "authorization": _("The provider names no usable place for the log-in."),
}


def provider_trouble(step: ProviderStep) -> Text | None:
    """What a failed step of the test of a provider means, and what to do; None where it passed."""
    return None if step.passed else _PROVIDER_STEPS.get(step.code)
