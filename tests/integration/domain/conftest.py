"""What the tests of domains share: services on a session that is rolled back, and actors with narrow rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from crm_server.kernel import rowrules
from crm_server.kernel.actor import Actor
from crm_server.kernel.errors import ValidationFailed
from crm_server.kernel.ids import new_id
from crm_server.kernel.records import RecordService
from crm_server.services import records

Service = Callable[[str], Any]


@pytest.fixture
def service(session: Session) -> Callable[[str], RecordService]:
    """`service("contact")`: the service of an entity, as the session's actor."""
    return lambda entity: records(session, entity)


@pytest.fixture
def user(session: Session) -> Callable[..., Actor]:
    """Make a user with some permissions and let the session act as them."""

    def act_as(*permissions: str, **fields: str) -> Actor:
        key: UUID = new_id()
        session.execute(
            text("""insert into identity."user" (id, login, name) values (:id, :login, 'Somebody')"""),
            {"id": key, "login": f"user-{key}"},
        )
        levels = {"general": "write", "personal": "write", "financial": "write"} | fields
        granted = frozenset({"app:self:use", *permissions})
        actor = Actor(key, "Somebody", permissions=granted, scopes=rowrules.EVERYTHING, fields=levels)
        session.info["kontor.actor"] = actor
        return actor

    return act_as


def codes(refused: pytest.ExceptionInfo[ValidationFailed]) -> dict[str, str]:
    """Pointer to code of a refused input."""
    return {item.pointer: item.code for item in refused.value.errors}
