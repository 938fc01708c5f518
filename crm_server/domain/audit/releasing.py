"""How long audit events are kept is decided by two persons: shortening it removes evidence (AUTH-15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalService, Kind, Release, register
from crm_server.domain.audit import retention, words
from crm_server.kernel.errors import Errors
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text

RETENTION = "audit.retention"


def ask(session: Session, months: Mapping[str, int], reason: str) -> UUID:
    """Ask a second person to let classes be kept for other times; returns the key of the request.

    Raises:
        ValidationFailed: no such class, less than six months, or no reason.
    """
    errors = Errors()
    for name, wanted in months.items():
        retention.check(name, wanted, errors)
    errors.raise_if_any()
    return ApprovalService(session).request(RETENTION, {"months": dict(months)}, reason).id


def execute(session: Session, release: Release) -> Mapping[str, Any]:
    """Keep the classes for as long as was released."""
    for name, months in release.parameters["months"].items():
        retention.keep(session, name, months)
    return {"classes": len(release.parameters["months"])}


def describe(session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    """Each class with its months now and then."""
    present = retention.months_of(session)
    return [
        (words.CLASSES.get(name, _("Class")), f"{present.get(name, 0)} → {months}")
        for name, months in parameters["months"].items()
    ]


register(
    Kind(
        RETENTION,
        _("Months for which audit events are kept"),
        str(Permission.AUDIT_RELEASE),
        execute=execute,
        describe=describe,
    )
)
