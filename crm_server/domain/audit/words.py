"""The words for what stands in events: class, action, outcome, origin, log-in, purpose, reason; and why a sink fails.

Codes are the same in every language, since searches and SIEMs know them. A page shows the words, and beside them
the code, where a reader may look for it. A code without words stands alone. The names of facts are in `facts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.audit.siem.transport import Refusal
from compliance.datamap.text import _
from crm_server.kernel.connection import CONNECTION
from crm_server.kernel.rowrules import RowAction
from crm_server.permissions import Action, Permission

if TYPE_CHECKING:
    from compliance.datamap.text import Text

CLASSES: dict[str, Text] = {
    "change": _("Change"),
    "read": _("Access"),
    "authentication": _("Log-in"),
    "authorization": _("Permission"),
    "export": _("Export"),
    "configuration": _("Configuration"),
    "job": _("Background job"),
    "detection": _("Alarm"),
    "audit": _("Audit log"),
}
OUTCOMES: dict[str, Text] = {
    "success": _("Success"),
    "failure": _("Failure"),
    "denied": _("Denied"),
}
COLOURS = {"success": "green", "failure": "red", "denied": "orange"}
ACTIONS: dict[str, Text] = {
    "create": _("Record created"),
    "update": _("Record changed"),
    "delete": _("Moved to the bin"),
    "restore": _("Restored"),
    "purge": _("Removed for good"),
    "tag": _("Tagged"),
    "untag": _("Tag removed"),
    "share": _("Shared"),
    "keys_erased": _("Keys of a person erased"),
    "keys_held": _("Keys of a person put under a legal hold"),
    "keys_released": _("Legal hold of a person's keys ended"),
    "epoch_created": _("Epoch of keys made"),
    "epoch_rotated": _("Keys rotated"),
    "epoch_destroyed": _("Epoch of keys destroyed"),
    "destruction_refused": _("Destruction of an epoch of keys refused"),
    "escrow_made": _("Escrow of keys made"),
    "escrow_opened": _("Escrow of keys opened"),
    "erasures_replayed": _("Erasures replayed after a restore"),
    "documents_resealed": _("Documents sealed anew"),
    "epoch_handed_over": _("Epoch of keys handed to another node"),
    "node_forgotten": _("Node removed from the attestations of keys"),
    "unshare": _("Share ended"),
    "explain": _("Access explained"),
    "read": _("Looked at"),
    "list": _("List looked at"),
    "view": _("Page looked at"),
    "changes": _("Change feed read"),
    "download": _("File downloaded"),
    "export": _("Exported"),
    "import": _("Imported"),
    "deny": _("Refused"),
    "document_unreadable": _("Sealed document doesn't open"),
    "login": _("Logged in"),
    "session_ended": _("Session ended"),
    "password_changed": _("Password changed"),
    "password_set": _("Password set"),
    "password_expired": _("Password has to be changed"),
    "factor_added": _("Second factor added"),
    "factor_removed": _("Second factor removed"),
    "role_given": _("Role given"),
    "role_taken": _("Role taken away"),
    "user_enabled": _("Account enabled"),
    "user_disabled": _("Account disabled"),
    "token_created": _("API token made"),
    "token_revoked": _("API token revoked"),
    "link_made": _("One-time link made"),
    "role_created": _("Role made"),
    "role_changed": _("Role changed"),
    "role_deleted": _("Role removed"),
    "emergency_begun": _("Emergency access taken"),
    "emergency_ended": _("Emergency access ended"),
    "emergency_reviewed": _("Emergency access reviewed"),
    "approval_requested": _("Second person asked"),
    "approval_seconded": _("Released by the first of two"),
    "approval_released": _("Released by a second person"),
    "approval_vetoed": _("Refused by a second person"),
    "approval_withdrawn": _("Request withdrawn"),
    "approval_expired": _("Request expired"),
    "approval_executed": _("Released act carried out"),
    "approval_failed": _("Released act not carried out"),
    "sso_tested": _("Single sign-on tested"),
    "audit_list": _("Audit log looked at"),
    "audit_read": _("Audit event looked at"),
    "audit_proof": _("Proof taken out"),
    "audit_history": _("History of a record looked at"),
    "audit_table": _("Found events exported"),
    "audit_export": _("Audit log exported"),
    "alert_hours": _("Work at odd hours"),
    "alert_mass_reads": _("Mass reads"),
    "alert_denials": _("Many denials"),
    "alert_honey": _("Honey record touched"),
    "prune": _("Events removed after their retention"),
    "prune_closed": _("Events of a closed log removed after their retention"),
    "reconciliation": _("Nightly reconciliation"),
    "log_fork": _("Log begun anew"),
    "pruned": _("Event removed before it was delivered"),
    "unsealable_event": _("Row that is no event"),
    "test": _("Test event"),
    "export_done": _("Export finished"),
    "import_upload": _("File for an import uploaded"),
    "import_check": _("Import tried out"),
    "import_run": _("Import begun"),
    "import_undo": _("Import taken back"),
    "import_delete": _("Import removed"),
    "import_forget": _("File of an import erased"),
    "second_step": _("Second step of a log-in"),
    "passkey": _("Log-in with a passkey"),
    "sso": _("Single sign-on"),
    "passkey_counter_regressed": _("Passkey may have been copied"),
    "step_up": _("Identity confirmed"),
    "step_up_password": _("Identity confirmed with the password"),
    "step_up_code": _("Identity confirmed with a code"),
    "step_up_passkey": _("Identity confirmed with a passkey"),
    "step_up_sso": _("Identity confirmed by single sign-on"),
    "recovery_codes_made": _("Recovery codes made"),
    "recovery_code_used": _("Recovery code used"),
    "user_made_by_directory": _("Account made by a directory"),
    "user_made_by_sso": _("Account made by single sign-on"),
    "team_joined": _("Team joined"),
    "team_left": _("Team left"),
    "territory_joined": _("Territory joined"),
    "territory_left": _("Territory left"),
    "directory_comparison_held": _("Comparison with a directory held up"),
    "directory_comparison_failed": _("Comparison with a directory failed"),
    "directory_password_set": _("Password for a directory set"),
    "scim_user_added": _("Account made by SCIM"),
    "scim_user_removed": _("Account removed by SCIM"),
    "scim_token_created": _("SCIM token made"),
    "scim_token_revoked": _("SCIM token revoked"),
    "scim_deprovisioning_held": _("Disabling of accounts by SCIM held up"),
    "scim_brake_released": _("Brake on SCIM released"),
    "sso_secret_set": _("Secret of single sign-on set"),
    "drill_passed": _("Drill of key destruction passed"),
    "drill_failed": _("Drill of key destruction failed"),
    "sink_test": _("Test event sent"),
    "sink_resend": _("Events sent again"),
    "sink_secrets_set": _("Secrets of a sink set"),
}
_MACHINES: dict[str, Text] = {
    "cli": _("Command line"),
    "job": _("Background job"),
    "system": _("The system itself"),
}
ORIGINS: dict[str, Text] = {
    "web": _("Page"),
    "api": _("Interface for programs"),
    "demo": _("Made-up data of a trial"),
    "sealer": _("The sealer of the log"),
    "sql": _("A command to the database, past the application"),
    **_MACHINES,
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
    "kontor_app": _("Role of the database"),
    "kontor_owner": _("Role of the database"),
    **_MACHINES,
}
PURPOSES: dict[str, Text] = {"operation": _("Daily work")}
REASONS: dict[str, Text] = {
    "absolute_limit": _("The session had lasted as long as one may"),
    "account_disabled": _("The account is disabled"),
    "account_expired": _("The account has ended"),
    "account_locked": _("The account is locked"),
    "account_not_ready": _("The account isn't set up yet"),
    "active": _("The epoch is in use"),
    "ambiguous_user": _("Several people have this log-in name"),
    "built_in_role": _("The role is built in"),
    "by_administrator": _("By an administrator"),
    "by_owner": _("By its owner"),
    "challenge_used_before": _("This attempt was used before"),
    "clock_drift": _("A clock is wrong"),
    "code_used_before": _("The code was used before"),
    "conflict": _("Things had changed by then"),
    "destroyed": _("The epoch is destroyed already"),
    "directory_misconfigured": _("The directory is set up wrongly"),
    "directory_unavailable": _("The directory can't be reached"),
    "empty_password": _("No password"),
    "ended_by_provider": _("Ended by the provider of single sign-on"),
    "entry_without_immutable_id": _("The directory knows no lasting id of them"),
    "factors_removed": _("The second factors were removed"),
    "field:financial": _("Their roles hide financial fields"),
    "field:personal": _("Their roles hide personal fields"),
    "given_back": _("Given back"),
    "handover-refused": _("It was asked for without proof"),
    "held_keys": _("Keys are under a legal hold"),
    "import": _("None of their roles lets them import"),
    "invite": _("Invitation"),
    "key-corrupt": _("The key is damaged"),
    "key-erased": _("The key was erased"),
    "key-missing": _("The key is missing"),
    "keys_refused": _("The keys were in another state by then"),
    "live_keys": _("Keys would be lost"),
    "logged_in_again": _("They logged in anew"),
    "logged_out": _("They logged out"),
    "login_taken": _("The log-in name belongs to somebody else"),
    "lost_update": _("Somebody else had changed it by then"),
    "malformed_code": _("That is no code"),
    "malformed_login": _("That is no log-in name"),
    "must_change_password": _("The password has to be changed"),
    "network": _("The role doesn't count from this network"),
    "no_account": _("There is no account"),
    "no_entity": _("There is no such kind of record"),
    "no_escrow": _("No escrow was opened on trial"),
    "no_password": _("The account has no password"),
    "no_person": _("Only a person may do it"),
    "no_veto": _("Nobody refused in time"),
    "nodes": _("A node hasn't attested"),
    "not_allowed": _("It is not allowed"),
    "not_authenticated": _("Nobody is logged in"),
    "not_author": _("Somebody else wrote it"),
    "not_found": _("What it was about was gone"),
    "not_in_an_allowed_group": _("In no group that may log in"),
    "other_source": _("The password lies elsewhere"),
    "outside_permitted_hours": _("Outside the permitted hours"),
    "own_account": _("It is their own account"),
    "own_emergency": _("It is their own emergency access"),
    "own_request": _("It is their own request"),
    "own_role": _("They hold the role themselves"),
    "own_roles": _("They are their own roles"),
    "passkey_counter_regressed": _("The passkey may have been copied"),
    "passkey_of_somebody_else": _("The passkey of somebody else"),
    "passkey_required": _("Only a passkey counts"),
    "password_changed": _("The password was changed"),
    "password_expired": _("The password is too old"),
    "permission": _("The permission is missing"),
    "person_erased": _("The person was erased by then"),
    "possible_clone": _("The passkey may have been copied"),
    "provider_left_out": _("The provider of single sign-on vouches no more"),
    "rate_limit_unavailable": _("Attempts can't be counted at the moment"),
    "rate_limited": _("Too many attempts"),
    "rate_limited_before_directory": _("Too many guesses, so the directory was not asked"),
    "reset": _("New password"),
    "roles_changed": _("Roles were changed"),
    "second_factor_required": _("A second factor is missing"),
    "somebody_else": _("The proof of somebody else"),
    "step_up_required": _("They didn't confirm who they are"),
    "stopped": _("Stopped by somebody else"),
    "time_over": _("The time was over"),
    "tokens": _("Blind indexes were made with it"),
    "too_many_to_disable": _("Too many accounts would have been disabled"),
    "unavailable": _("A service did not answer"),
    "unknown": _("There is no such epoch"),
    "unknown_passkey": _("An unknown passkey"),
    "unknown_user": _("Nobody of this name"),
    "user_disabled": _("The account was disabled"),
    "validation": _("Values were no longer allowed"),
    "wrong_code": _("A wrong code"),
    "wrong_password": _("A wrong password"),
    "wrong_proof": _("A wrong proof"),
}
_FAMILIES: dict[str, Text] = {
    "document-": _("The document was changed from outside"),
    "passkey_": _("The passkey was not accepted"),
    "sso_provider_": _("The provider of single sign-on refused"),
    "sso_": _("The answer of single sign-on was not accepted"),
}
"""Reasons that end in what a library or another system said, by how they begin."""
_ROWS: dict[str, Text] = {
    "create": _("Their roles don't let them make records there"),
    "share": _("The record is not theirs to share"),
    RowAction.READ: _("The record is not theirs to see"),
    RowAction.UPDATE: _("The record is not theirs to change"),
    RowAction.DELETE: _("The record is not theirs to delete"),
}
_PERMISSIONS = frozenset(map(str, Permission))
_ACTIONS_ON_RECORDS = frozenset(map(str, Action))
CAUSES: dict[str, Text] = {
    **CONNECTION,
    Refusal.ANSWERED: _("It answered, and refused the events."),
    Refusal.UNACKNOWLEDGED: _("It accepted events and didn't acknowledge them."),
    Refusal.TOO_LONG: _("An event is too long for it. Lower the limit of this sink."),
    Refusal.DISK: _("The file can't be written."),
    Refusal.LOG: _("The audit log can't be read here, or nothing is signed yet."),
}
"""Why a sink takes no events, by kind; what the network said exactly stands beside it, in its own language."""
RULE_VALUES: dict[str, Text] = {
    "enabled": _("Enabled"),
    "threshold": _("How many"),
    "minutes": _("Within how many minutes"),
    "from": _("Work begins, hour"),
    "to": _("Work ends, hour"),
    "records": _("Ids of the records, one a line"),
}
PRUNE_BEGUN = _("What is due is being removed.")


def action_word(action: str) -> Text | str:
    """An action in the reader's words, else as it stands in the log."""
    return ACTIONS.get(action, action.replace("_", " "))


def method_words(code: str) -> list[Text]:
    """The words for a way of logging in, such as "password+totp"; none where a part of it has none."""
    found = [METHODS.get(part) for part in code.split("+")]
    return [word for word in found if word is not None] if all(found) else []


def reason_word(code: str) -> Text | None:
    """The words for a reason, if there are any.

    A reason may be a permission that is missing ("crm:contact:delete", "audit:log:read"), or an act that the rules of
    rows forbid ("row:contact:update").
    """
    kind, _colon, rest = code.partition(":")
    act = rest.rpartition(":")[2]
    if kind == "row":
        return _ROWS.get(act)
    if code in _PERMISSIONS or (kind == "crm" and rest.count(":") == 1 and act in _ACTIONS_ON_RECORDS):
        return REASONS["permission"]
    family = next((word for start, word in _FAMILIES.items() if code.startswith(start)), None)
    return REASONS.get(code, family)
