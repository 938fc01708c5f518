"""The words for the codes of an event beside its action: origin, log-in, purpose, reason, and names of facts.

Codes are the same in every language, since searches and SIEMs know them; a page shows the words beside them. A code
without words stands alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.kernel.rowrules import RowAction

if TYPE_CHECKING:
    from compliance.datamap.text import Text

ORIGINS: dict[str, Text] = {
    "web": _("Page"),
    "api": _("Interface for programs"),
    "cli": _("Command line"),
    "job": _("Background job"),
    "system": _("The system itself"),
}
METHODS: dict[str, Text] = {
    "none": _("None"),
    "password": _("Password"),
    "directory": _("Company directory"),
    "totp": _("Code of an app"),
    "recovery_code": _("Recovery code"),
    "passkey": _("Passkey"),
    "sso": _("Single sign-on"),
    "token": _("API token"),
    "scim": _("SCIM"),
    "cli": _("Command line"),
    "job": _("Background job"),
    "system": _("The system itself"),
}
PURPOSES: dict[str, Text] = {"operation": _("Daily work")}
REASONS: dict[str, Text] = {
    "account_disabled": _("The account is disabled"),
    "account_expired": _("The account has ended"),
    "account_locked": _("The account is locked"),
    "account_not_ready": _("The account isn't set up yet"),
    "ambiguous_user": _("Several people have this log-in name"),
    "by_administrator": _("By an administrator"),
    "by_owner": _("By its owner"),
    "challenge_used_before": _("This attempt was used before"),
    "clock_drift": _("A clock is wrong"),
    "code_used_before": _("The code was used before"),
    "directory_misconfigured": _("The directory is set up wrongly"),
    "directory_unavailable": _("The directory can't be reached"),
    "empty_password": _("No password"),
    "ended_by_provider": _("Ended by the provider of single sign-on"),
    "entry_without_immutable_id": _("The directory knows no lasting id of them"),
    "factors_removed": _("The second factors were removed"),
    "login_taken": _("The log-in name belongs to somebody else"),
    "malformed_code": _("That is no code"),
    "malformed_login": _("That is no log-in name"),
    "must_change_password": _("The password has to be changed"),
    "network": _("The role doesn't count from this network"),
    "no_account": _("There is no account"),
    "no_entity": _("There is no such kind of record"),
    "no_password": _("The account has no password"),
    "not_authenticated": _("Nobody is logged in"),
    "not_in_an_allowed_group": _("In no group that may log in"),
    "other_source": _("The password lies elsewhere"),
    "outside_permitted_hours": _("Outside the permitted hours"),
    "passkey_counter_regressed": _("The passkey may have been copied"),
    "passkey_of_somebody_else": _("The passkey of somebody else"),
    "passkey_required": _("Only a passkey counts"),
    "password_changed": _("The password was changed"),
    "password_expired": _("The password is too old"),
    "permission": _("The permission is missing"),
    "provider_left_out": _("The provider of single sign-on vouches no more"),
    "rate_limited_before_directory": _("Too many guesses, so the directory was not asked"),
    "roles_changed": _("Roles were changed"),
    "second_factor_required": _("A second factor is missing"),
    "somebody_else": _("The proof of somebody else"),
    "unknown_passkey": _("An unknown passkey"),
    "unknown_user": _("Nobody of this name"),
    "user_disabled": _("The account was disabled"),
    "wrong_code": _("A wrong code"),
    "wrong_password": _("A wrong password"),
    "wrong_proof": _("A wrong proof"),
}
FACTS: dict[str, Text] = {
    "action": _("Action"),
    "active": _("Active accounts"),
    "address": _("Network address"),
    "count": _("Count"),
    "digest": _("Fingerprint of what was asked"),
    "entity": _("Kind of record"),
    "epoch": _("Epoch of keys"),
    "filter": _("Filter"),
    "filters": _("Filters"),
    "first_index": _("First number"),
    "format": _("Format"),
    "key_class": _("Class of keys"),
    "kind": _("Kind"),
    "known": _("Known"),
    "last_index": _("Last number"),
    "leaving": _("Leaving"),
    "level": _("Level"),
    "log": _("Log"),
    "login": _("Fingerprint of the log-in name"),
    "name": _("Name"),
    "parameters": _("What was asked"),
    "page": _("Page"),
    "q": _("Text searched for"),
    "reason": _("Reason"),
    "refs": _("Records"),
    "role": _("Role"),
    "root": _("Root of the log"),
    "rows": _("Rows"),
    "rule": _("Rule"),
    "sent": _("Sent"),
    "sha256": _("Fingerprint of the file"),
    "size": _("Size in bytes"),
    "sort": _("Sorted by"),
    "tag": _("Tag"),
    "tree_size": _("Size of the log"),
    "until": _("Until"),
    "user": _("User"),
    "version": _("Version"),
}
_ROWS: dict[str, Text] = {
    RowAction.READ: _("The record is not theirs to see"),
    RowAction.UPDATE: _("The record is not theirs to change"),
    RowAction.DELETE: _("The record is not theirs to delete"),
}


def method_words(code: str) -> list[Text]:
    """The words for a way of logging in, such as "password+totp"; none where a part of it has none."""
    found = [METHODS.get(part) for part in code.split("+")]
    return [word for word in found if word is not None] if all(found) else []


def reason_word(code: str) -> Text | None:
    """The words for a reason, if there are any."""
    kind, _colon, rest = code.partition(":")
    if kind == "row":
        return _ROWS.get(rest.rpartition(":")[2])
    # The permission that is missing, such as "crm:contact:delete".
    return REASONS["permission"] if rest else REASONS.get(code)
