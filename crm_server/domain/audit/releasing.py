"""What weakens the audit log takes two persons: shorter retention, a sink without events, a milder rule (AUTH-15)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from compliance.audit.models import AuditLog
from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalRequired, ApprovalService, Kind, Release, register
from crm_server.domain.audit import alerts, retention, sinks, words
from crm_server.kernel.errors import Errors
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text

RETENTION = "audit.retention"
FORK = "audit.fork"


def ask_for(session: Session, needed: ApprovalRequired, reason: str) -> UUID:
    """Ask a second person for what was refused without one; returns the key of the request.

    Raises:
        ValidationFailed: no reason.
    """
    return ApprovalService(session).request(needed.extra["kind"], needed.extra["parameters"], reason).id


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


def ask_for_fork(session: Session, successor: str, reason: str) -> UUID:
    """Ask for a successor of the log that is open; the sealer's host carries it out (`kontor audit fork --release`).

    Raises:
        ValidationFailed: no reason, or a name that is taken or no name.
    """
    errors, log = Errors(), session.scalars(select(AuditLog).where(AuditLog.closed_at.is_(None))).first()
    taken = session.scalar(select(AuditLog.number).where(AuditLog.origin == successor))
    if log is None or taken is not None or not re.fullmatch(r"[\x21-\x2a\x2c-\x7e]{1,200}", successor):
        errors.add(
            "/successor", "name", _("The new log needs a name of its own, without spaces and plus signs.")
        )
    errors.raise_if_any()
    parameters = {"log": log.origin if log else "", "successor": successor}
    return ApprovalService(session).request(FORK, parameters, reason).id


def _stop(session: Session, release: Release) -> Mapping[str, Any]:
    """Deliver to the sink no more, or forget it."""
    sinks.stop(session, UUID(release.parameters["sink"]), remove=release.parameters["act"] == "remove")
    return {"sink": release.parameters["sink"]}


def _describe_sink(_session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    act = _("Remove this sink") if parameters["act"] == "remove" else _("Disable")
    return [(_("SIEM sink"), str(parameters["name"])), (_("What"), act)]


def _soften(session: Session, release: Release) -> Mapping[str, Any]:
    """Set the rule as it was asked for."""
    alerts.change(session, release.parameters["rule"], release.parameters["values"], released=True)
    return {"rule": release.parameters["rule"]}


def _describe_rule(session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    """The rule, and each value now and then."""
    code = parameters["rule"]
    present = next(rule for rule in alerts.rules(session) if rule.code == code)
    before, wanted = alerts.given_of(present), parameters["values"]
    return [
        (_("Rule"), present.label),
        *(
            (words.RULE_VALUES[name], f"{before[name] or '–'} → {wanted[name] or '–'}")
            for name in before
            if before[name] != wanted[name]
        ),
    ]


register(
    Kind(
        FORK,
        _("A new audit log after one that can't be continued"),
        str(Permission.AUDIT_RELEASE),
        describe=lambda _session, known: [(_("Log"), known["log"]), (_("Successor"), known["successor"])],
    )
)
register(
    Kind(
        sinks.STOP,
        _("SIEM sink that gets nothing more"),
        str(Permission.AUDIT_RELEASE),
        execute=_stop,
        describe=_describe_sink,
    )
)
register(
    Kind(
        alerts.SOFTEN,
        _("Milder rule for security alerts"),
        str(Permission.AUDIT_RELEASE),
        execute=_soften,
        describe=_describe_rule,
    )
)
register(
    Kind(
        RETENTION,
        _("Months for which audit events are kept"),
        str(Permission.AUDIT_RELEASE),
        execute=execute,
        describe=describe,
    )
)
