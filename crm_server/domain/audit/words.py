"""The words for what stands in events: actions, classes, outcomes. An action without a word is shown as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _

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
    "account": _("Account of a user"),
    "compliance": _("Compliance"),
    "rights": _("Rights of persons"),
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
    "node_forgotten": _("Node removed from the attestations of keys"),
    "unshare": _("Share ended"),
    "explain": _("Access explained"),
    "read": _("Looked at"),
    "list": _("List looked at"),
    "view": _("Page looked at"),
    "search": _("Searched"),
    "changes": _("Change feed read"),
    "download": _("File downloaded"),
    "export": _("Exported"),
    "import": _("Imported"),
    "deny": _("Refused"),
    "document_unreadable": _("Sealed document doesn't open"),
    "login": _("Logged in"),
    "logout": _("Logged out"),
    "session_ended": _("Session ended"),
    "password_changed": _("Password changed"),
    "password_set": _("Password set"),
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
    "sso_secret_set": _("Client secret of single sign-on set"),
    "sso_tested": _("Single sign-on tested"),
    "directory_password_set": _("Password of the directory's service account set"),
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
    "reconciliation": _("Nightly reconciliation"),
    "log_fork": _("Log begun anew"),
    "sink_test": _("Test event sent"),
    "sink_resend": _("Events sent again"),
    "sink_secrets_set": _("Secrets of a sink set"),
}

PRUNE_BEGUN = _("What is due is being removed.")


def action_word(action: str) -> Text | str:
    """An action in the reader's words, else as it stands in the log."""
    return ACTIONS.get(action, action.replace("_", " "))
