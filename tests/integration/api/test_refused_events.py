"""What nobody is told of does not leave: reads while the audit log takes no events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from crm_server.migrations import manage
from crm_server.settings import Settings
from tests.integration.api.conftest import Client

TRIGGER = """
create function audit.refuse() returns trigger language plpgsql as $$
begin raise exception 'Karla Verschwiegen' using errcode = '{}'; end $$;
create trigger refuse before insert on audit.event for each row execute function audit.refuse();
"""
NO_TRIGGER = "drop trigger refuse on audit.event; drop function audit.refuse()"
FAULTS = {
    "no privilege": (
        "revoke insert on audit.event from kontor_app; revoke usage on schema audit_part from kontor_app",
        "grant insert on audit.event to kontor_app; grant usage on schema audit_part to kontor_app",
        "not_recorded",
    ),
    "a trigger that says no": (TRIGGER.format("P0001"), NO_TRIGGER, "not_recorded"),
    "a full disk": (TRIGGER.format("53100"), NO_TRIGGER, "no_space"),
}


@pytest.fixture(scope="module")
def owner(api_settings: Settings) -> Iterator[Engine]:
    made = manage.owner_engine(api_settings.owner_database_url)
    yield made
    made.dispose()


@contextmanager
def fault(owner: Engine, name: str) -> Iterator[str]:
    """A database with a fault; gives the code that clients are told."""
    broken, mended, code = FAULTS[name]
    with owner.begin() as connection:
        connection.exec_driver_sql(broken)
    try:
        yield code
    finally:
        with owner.begin() as connection:
            connection.exec_driver_sql(mended)


@pytest.mark.parametrize("name", FAULTS)
def test_a_read_whose_event_is_refused_shows_nothing(
    login: Callable[..., Client], owner: Engine, name: str
) -> None:
    """# AUD-10"""
    manager = login("Manager")
    made = manager.post("/contacts", {"family_name": "Verschwiegen", "given_name": "Karla"}, status=201).json
    reads: dict[str, Callable[[], Any]] = {
        "one": lambda: manager.get(f"/contacts/{made['id']}"),
        "list": lambda: manager.get("/contacts?limit=50"),
        "query": lambda: manager.post("/contacts/query", {"limit": 5}),
    }
    for read in reads.values():
        assert read().status_int == 200
    with fault(owner, name) as code:
        for what, read in reads.items():
            answer = read()
            assert (answer.status_int, answer.content_type) == (503, "application/problem+json"), what
            assert answer.json["code"] == code
            assert "Verschwiegen" not in answer.text
    for read in reads.values():
        assert read().status_int == 200


def test_a_change_on_a_full_disk_is_refused_with_the_reason(
    login: Callable[..., Client], owner: Engine
) -> None:
    manager = login("Manager")
    with fault(owner, "a full disk"):
        answer = manager.post("/contacts", {"family_name": "Verschwiegen"})
        assert (answer.status_int, answer.json["code"]) == (503, "no_space")
        assert answer.headers["Retry-After"]
        assert "Verschwiegen" not in answer.text
