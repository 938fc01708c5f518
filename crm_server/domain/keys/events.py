"""The audit events of keys, and what can't be done with them. Events name keys and subjects by id alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.audit.events import Event, write
from compliance.datamap.text import _
from crm_server.kernel.errors import AppError
from monitoring import metrics

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from crm_server.kernel.actor import Actor

DATA_KEY, EPOCH = 130, 131
_WARNING, _SERIOUS = 2, 3


def record(connection: Connection, actor: Actor, *events: Event) -> None:
    """Write events in the transaction of the connection."""
    for event in events:
        metrics.KEY_EVENTS.labels(event.action, event.outcome).inc()
    write(connection, actor, events)


def epoch(action: str, outcome: str = "success", reason: str | None = None, **meta: Any) -> Event:
    """Something about an epoch: rotated, escrow made, destruction asked for, vetoed, refused, done."""
    return Event(
        "configuration",
        action,
        outcome,
        reason,
        _SERIOUS if outcome == "success" else _WARNING,
        object_type=EPOCH,
        meta=meta,
    )


def subject(action: str, person: UUID, outcome: str = "success", **meta: Any) -> Event:
    """Something about the keys of one data subject: erased, held, released."""
    return Event(
        "configuration",
        action,
        outcome,
        None,
        _SERIOUS,
        object_type=DATA_KEY,
        subjects=(person,),
        meta=meta,
    )


class KeyWorkRefused(AppError):
    """What was asked for can't be done with the keys as they are. `reason` is a stable word, one for each cause."""

    status = 409
    code = "keys_refused"
    title = _("This can't be done with the keys at the moment. Nothing was changed.")

    def __init__(self, reason: str, detail: Any, **extra: Any) -> None:
        super().__init__(detail, reason=reason, **extra)
        self.reason = reason
