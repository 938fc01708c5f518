"""ENC-7: a process that is killed between a data key and the first row that uses it leaves neither."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from crm_server.settings import Settings

WORK = """
import sys, time
from sqlalchemy import event
from crm_server.domain.contacts.models import Contact
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys
from crm_server.services import records
from crm_server.settings import load

place, marker = sys.argv[1], sys.argv[2]
settings = load()
engine = db.create_app_engine(settings)
keys = Keys.open(settings, engine, listen=False)

def stand_still(*_):
    open(marker, "w").close()
    time.sleep(60)

with db.open_session(db.session_factory(engine, settings, keys), system_actor()) as session:
    if place == "between":
        # The key is written by the hook that seals, before the flush writes the row.
        event.listen(Contact, "before_insert", stand_still)
    records(session, "contact").create({"family_name": "Killed"})
    if place == "before commit":
        stand_still()
    session.commit()
    stand_still()
"""


@pytest.mark.parametrize("place,left", [("between", 0), ("before commit", 0), ("after commit", 1)], ids=str)
def test_key_and_row_come_together_or_not_at_all(
    settings: Settings, engine: Engine, tmp_path: Path, place: str, left: int
) -> None:
    def counts() -> tuple[int, int, int]:
        with engine.connect() as connection:
            connection.exec_driver_sql("select set_config('kontor.rows', '*', true)")
            row = connection.execute(
                text(
                    "select (select count(*) from keys.data_key where class = 'identity'), "
                    "(select count(*) from crm.contact), "
                    "(select count(*) from crm.contact c where not exists (select from keys.data_key k "
                    "where k.kid = substring(c.sealed_identity from 3 for 16)))"
                )
            ).one()
            return (row[0], row[1], row[2])

    marker = tmp_path / "there"
    before = counts()
    environment = os.environ | {
        "KONTOR_DATABASE_URL": settings.database_url,
        "KONTOR_OWNER_DATABASE_URL": settings.owner_database_url,
        "KONTOR_KEY_RING": str(settings.key_ring),
    }
    process = subprocess.Popen([sys.executable, "-c", WORK, place, str(marker)], env=environment)
    try:
        until = time.monotonic() + 90
        while not marker.exists():
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(90)
    finally:
        process.kill()
    # PostgreSQL notices the lost client when it next reads from it.
    until = time.monotonic() + 90
    while counts() != (wanted := (before[0] + left, before[1] + left, 0)) and time.monotonic() < until:
        time.sleep(0.05)
    assert counts() == wanted
