"""How long a rotation of a million data keys takes while the application goes on, and what an escrow of them costs.

Beside the rotation a reader opens keys of random people through the key table, as requests do, and a writer makes new
people; none of them may fail (ENC-8). `KONTOR_BENCH_KEYS` sets another number of keys.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from compliance.datamap import KeyClass
from crm_server.domain.keys import escrow, rotation
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys, keys_of
from crm_server.settings import Settings
from tests.bench.bench_audit_overhead import product
from tests.bench.measure import resident_megabytes

Row = dict[str, Any]
NUMBER = int(os.environ.get("KONTOR_BENCH_KEYS", "1000000"))
_BATCH = 10_000


class Serving:
    """A reader and a writer that go on until they are stopped, and count what failed."""

    def __init__(self, factory: sessionmaker[Session], kids: list[bytes]) -> None:
        self.factory = factory
        self.kids = kids
        self.done = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(work,)) for work in (self._read, self._write)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, work: Any) -> None:
        while not self._stopped.wait(0.02):
            started = time.perf_counter()
            try:
                with db.open_session(self.factory, system_actor()) as session:
                    work(session)
                    session.commit()
            except Exception as error:  # noqa: BLE001 - every kind of failure counts
                self.failed.append(type(error).__name__)
            self.done += 1
            self.slowest = max(self.slowest, time.perf_counter() - started)

    def _read(self, session: Session) -> None:
        keys = keys_of(session)
        keys.keys.cache.clear()
        wanted = random.sample(self.kids, 50)
        if len(keys.by_ids(wanted)) != 50:
            raise LookupError("keys are missing")

    @staticmethod
    def _write(session: Session) -> None:
        keys_of(session).for_sealing(uuid4(), KeyClass.IDENTITY)


def run() -> list[Row]:
    """All figures of this module."""
    with product() as found, tempfile.TemporaryDirectory(prefix="kontor-bench-ring-") as folder:
        settings = Settings({**found.values, "state_dir": Path(folder)})
        engine = db.create_app_engine(settings)
        keys = Keys.open(settings, engine)
        factory = db.session_factory(engine, settings, keys)
        filling = time.perf_counter()
        kids = _fill(factory)
        filled = time.perf_counter() - filling
        work = KeyWork(keys, engine, settings, system_actor())
        busy = time.process_time()
        with Serving(factory, kids) as serving:
            done = rotation.rotate(work)
        busy = time.process_time() - busy
        started = time.perf_counter()
        made = escrow.export(work)
        exported = time.perf_counter() - started
        started = time.perf_counter()
        escrow.open_scratch(work, made.file)
        opened = time.perf_counter() - started
        with engine.connect() as connection:
            size: int = connection.execute(
                text("select pg_total_relation_size('keys.data_key')")
            ).scalar_one()
        keys.close()
        engine.dispose()
    thousand = f"{NUMBER:,} keys"
    return [
        {"name": f"keys: made for new people, {thousand}", "value": NUMBER / filled, "unit": "keys/s"},
        {
            "name": f"keys: rotation of {thousand}, verified, while serving",
            "value": done.seconds,
            "unit": "s",
            "limit": 120.0 * NUMBER / 1_000_000,
            "met": done.seconds <= 120 * NUMBER / 1_000_000 and done.complete,
        },
        {"name": "keys: of that, processor time of the rotating process", "value": busy, "unit": "s"},
        {
            "name": f"keys: requests that failed meanwhile, of {serving.done:,}",
            "value": len(serving.failed),
            "unit": "requests",
            "limit": 0,
            "met": not serving.failed and serving.done > 0,
        },
        {"name": "keys: slowest request meanwhile", "value": serving.slowest * 1000, "unit": "ms"},
        {"name": f"keys: escrow of {thousand} written", "value": exported, "unit": "s"},
        {"name": f"keys: escrow of {thousand} opened and every key checked", "value": opened, "unit": "s"},
        {"name": "keys: size of the table and its indexes", "value": size / NUMBER, "unit": "bytes/key"},
        {
            "name": "keys: resident memory of this process",
            "value": resident_megabytes([os.getpid()]),
            "unit": "MB",
        },
    ]


def _fill(factory: sessionmaker[Session]) -> list[bytes]:
    kids: list[bytes] = []
    for start in range(0, NUMBER, _BATCH):
        with db.open_session(factory, system_actor()) as session:
            subjects = [uuid4() for _ in range(min(_BATCH, NUMBER - start))]
            found = keys_of(session).for_sealing_many(subjects, KeyClass.IDENTITY)
            kids += [key.kid for key in found.values() if key is not None]
            session.commit()
    return kids
