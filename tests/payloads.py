"""Opens the sealed payload of an audit event, as the explorer does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from compliance.audit.models import AuditPayload
from crm_server.kernel.keys import Keys, keys_of


def payload_of(session: Session, event_id: UUID, keys: Keys | None = None) -> dict[str, Any]:
    """The payload of an event that has one."""
    body = session.scalars(select(AuditPayload.body).where(AuditPayload.event_id == event_id)).one()
    found = (keys or keys_of(session).keys).payloads.open(session.connection(), event_id, body)
    assert found is not None, "the key was erased"
    return found
