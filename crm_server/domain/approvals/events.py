"""The audit events of two-person release: each step, with the fingerprint that binds it to its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.audit.events import Event, write
from crm_server.kernel.db import actor_of
from monitoring import metrics

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.domain.approvals.models import Approval

APPROVAL = 120
_WARNING = 2


def record(session: Session, step: str, approval: Approval, reason: str | None = None, **meta: Any) -> None:
    """Write `approval_<step>` in the session's transaction. What people wrote stands in the payload."""
    metrics.APPROVALS.labels(approval.kind, step).inc()
    failed = step in ("refused", "failed")
    event = Event(
        "authorization",
        f"approval_{step}",
        "failure" if failed else "success",
        reason,
        _WARNING,
        object_type=APPROVAL,
        object_ref=approval.id,
        subjects=(approval.requested_by,) if approval.requested_by else (),
        meta={"kind": approval.kind, "digest": approval.digest, **meta},
        payload={"reason": approval.reason, "parameters": approval.asked} if step == "requested" else None,
    )
    write(session.connection(), actor_of(session), [event])
