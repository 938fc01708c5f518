"""Every kind of event that the product writes: its class, and what was done. Nothing else may stand in the log.

From it follow schema, sample and OCSF class of the content pack and the words of the explorer; tests hold that no kind
lacks one of them, and that no event of another kind is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EVENT_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "authentication": (
        *("login", "second_step", "passkey", "sso", "step_up", "session_ended", "passkey_counter_regressed"),
        *("step_up_password", "step_up_code", "step_up_passkey", "step_up_sso"),
    ),
    "authorization": (
        *("deny", "explain", "emergency_begun", "emergency_ended", "emergency_reviewed"),
        *("approval_requested", "approval_seconded", "approval_released", "approval_vetoed"),
        *("approval_withdrawn", "approval_expired", "approval_executed", "approval_failed"),
    ),
    "change": ("create", "update", "delete", "restore", "purge", "tag", "untag", "share", "unshare"),
    "read": ("read", "list", "view", "changes", "download", "audit_list", "audit_read", "audit_history"),
    "export": ("export", "export_done", "audit_proof", "audit_export", "audit_table"),
    "configuration": (
        *("password_changed", "password_set", "password_expired"),
        *("factor_added", "factor_removed", "link_made"),
        *("recovery_codes_made", "recovery_code_used", "user_enabled", "user_disabled"),
        *("user_made_by_directory", "user_made_by_sso", "token_created", "token_revoked"),
        *("role_created", "role_changed", "role_deleted", "role_given", "role_taken"),
        *("team_joined", "team_left", "territory_joined", "territory_left"),
        *("directory_comparison_held", "directory_comparison_failed", "directory_password_set"),
        *("scim_user_added", "scim_user_removed", "scim_token_created", "scim_token_revoked"),
        *("scim_deprovisioning_held", "scim_brake_released", "sso_secret_set", "sso_tested"),
        *("sink_test", "sink_resend", "sink_secrets_set"),
        *(
            "epoch_created",
            "epoch_handed_over",
            "epoch_rotated",
            "epoch_destroyed",
            "destruction_refused",
            "documents_resealed",
        ),
        *(
            "escrow_made",
            "escrow_opened",
            "erasures_replayed",
            "node_forgotten",
            "drill_passed",
            "drill_failed",
        ),
        *("keys_erased", "keys_held", "keys_released"),
    ),
    "job": (
        *("import_upload", "import_check", "import_run", "import", "import_undo", "import_delete"),
        "import_forget",
    ),
    "detection": ("alert_hours", "alert_mass_reads", "alert_denials", "alert_honey", "document_unreadable"),
    "audit": ("reconciliation", "log_fork", "prune", "prune_closed", "pruned", "unsealable_event", "test"),
}
