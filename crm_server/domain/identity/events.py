"""The audit events of identity, in one place: what each is called and what it tells.

No event names a person in clear: users are referred to by id, a log-in name that belongs to nobody by a keyed
fingerprint, and network addresses stand in the sealed payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.audit.events import Event, write
from crm_server.kernel import db
from monitoring import metrics

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.models import Emergency
    from crm_server.kernel.actor import Actor

USER, ROLE, TEAM, TERRITORY, SESSION, TOKEN, PASSKEY, PROVIDER = 30, 31, 34, 36, 38, 39, 47, 80
EMERGENCY = 123
_WARNING, _INFO = 2, 1


def record(session: Session, *events: Event, actor: Actor | None = None) -> None:
    """Write events in the session's transaction, on behalf of `actor` or of whom the session acts for."""
    write(session.connection(), actor or db.actor_of(session), events)


def login(
    outcome: str,
    reason: str | None,
    *,
    user_id: UUID | None = None,
    fingerprint: str | None = None,
    address: str | None = None,
    action: str = "login",
) -> Event:
    """A log-in or one of its steps: `outcome` "success" or "failure" with its reason."""
    metrics.LOGINS.labels(outcome if reason is None else reason).inc()
    return Event(
        "authentication",
        action,
        outcome,
        reason,
        _INFO if outcome == "success" else _WARNING,
        object_type=USER,
        object_ref=user_id,
        subjects=(user_id,) if user_id else (),
        meta={"login": fingerprint} if fingerprint else {},
        payload={"address": address} if address else None,
    )


def account(action: str, user_id: UUID, reason: str | None = None, **meta: Any) -> Event:
    """Something about a user's account: password, factors, links, state."""
    return Event(
        "configuration",
        action,
        reason=reason,
        severity=_WARNING,
        object_type=USER,
        object_ref=user_id,
        subjects=(user_id,),
        meta=meta,
    )


def session_ended(session_id: UUID, user_id: UUID, reason: str) -> Event:
    """A session was ended: by log-out, by its owner elsewhere, by an administrator, by a change of password."""
    return Event(
        "authentication",
        "session_ended",
        reason=reason,
        object_type=SESSION,
        object_ref=session_id,
        subjects=(user_id,),
    )


def token(action: str, token_id: UUID, user_id: UUID, **meta: Any) -> Event:
    """An API token was made or revoked."""
    return Event(
        "configuration",
        action,
        severity=_WARNING,
        object_type=TOKEN,
        object_ref=token_id,
        subjects=(user_id,),
        meta=meta,
    )


def membership(action: str, kind: int, group_id: UUID, user_id: UUID, **meta: Any) -> Event:
    """A role was given or taken, or somebody joined or left a team or territory."""
    return Event(
        "configuration",
        action,
        severity=_WARNING,
        object_type=kind,
        object_ref=group_id,
        subjects=(user_id,),
        meta={"user": str(user_id), **meta},
    )


def role(action: str, role_id: UUID, **meta: Any) -> Event:
    """A role was made, changed or removed; `meta` tells the difference."""
    return Event("configuration", action, severity=_WARNING, object_type=ROLE, object_ref=role_id, meta=meta)


def emergency(step: str, taken: Emergency, reason: str | None = None, **meta: Any) -> Event:
    """Emergency access was begun, ended or reviewed. Its beginning is of the highest severity there is."""
    metrics.EMERGENCIES.labels(step).inc()
    texts = {"begun": taken.reason, "reviewed": taken.review}
    return Event(
        "authorization",
        f"emergency_{step}",
        reason=reason,
        severity=4 if step == "begun" else 3,
        object_type=EMERGENCY,
        object_ref=taken.id,
        subjects=(taken.user_id,),
        meta={"role": str(taken.role_id), "until": taken.ends_at.isoformat(), **meta},
        payload={"text": texts[step]} if texts.get(step) else None,
    )


def held(directory_id: UUID, leaving: int, active: int) -> Event:
    """A comparison with a directory would have disabled too many accounts and disabled none; an alarm."""
    return Event(
        "configuration",
        "directory_comparison_held",
        "failure",
        "too_many_to_disable",
        3,
        object_type=50,
        object_ref=directory_id,
        meta={"leaving": leaving, "active": active},
    )


def comparison_failed(directory_id: UUID, reason: str) -> Event:
    """A directory could not be compared; told once for each outage."""
    return Event(
        "configuration",
        "directory_comparison_failed",
        "failure",
        reason,
        2,
        object_type=50,
        object_ref=directory_id,
    )


def cloned_passkey(passkey_id: UUID, user_id: UUID, known: int, sent: int) -> Event:
    """A passkey's signature counter went back or stood still: it may have been copied. An alarm."""
    return Event(
        "authentication",
        "passkey_counter_regressed",
        "failure",
        "possible_clone",
        3,
        object_type=PASSKEY,
        object_ref=passkey_id,
        subjects=(user_id,),
        meta={"known": known, "sent": sent},
    )


def provider(action: str, provider_id: UUID, **meta: Any) -> Event:
    """Something about a provider of single sign-on: its secret, its SCIM tokens."""
    return Event(
        "configuration",
        action,
        severity=_WARNING,
        object_type=PROVIDER,
        object_ref=provider_id,
        meta=meta,
    )


def deprovisioning_held(provider_id: UUID, active: int) -> Event:
    """SCIM would have disabled more accounts than it may in an hour; an alarm (AUTH-8)."""
    return Event(
        "configuration",
        "scim_deprovisioning_held",
        "failure",
        "too_many_to_disable",
        3,
        object_type=PROVIDER,
        object_ref=provider_id,
        meta={"active": active},
    )
