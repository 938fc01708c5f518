"""How long a rotation of a million data keys takes while the application goes on, and what an escrow of them costs.

The application serves beside it in two processes, and clients read single contacts and lists and make new ones, each
with a pause between two requests; none of their requests may fail (ENC-8). `KONTOR_BENCH_KEYS` sets another number of
keys.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from typing import Any, Self
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from compliance.datamap import KeyClass
from crm_server.demo import load as demo
from crm_server.domain.keys import escrow, rotation
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys
from crm_server.kernel.sealing import new_keys
from crm_server.migrations import manage
from tests.bench import bench_http
from tests.bench.bench_audit_overhead import product
from tests.bench.measure import resident_megabytes

Row = dict[str, Any]
NUMBER = int(os.environ.get("KONTOR_BENCH_KEYS", "1000000"))
CONTACTS, CLIENTS, PAUSE = 2_000, 4, 0.1
_BATCH = 10_000


class Serving:
    """Clients of the application that go on until they are stopped, and count what failed."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.seconds: list[float] = []
        self.failed: list[str] = []
        self._ids = [one["id"] for one in json.loads(self._ask("GET", "/api/v1/contacts?limit=200"))["data"]]
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(PAUSE):
            person = {"family_name": f"Example {uuid4().hex}", "given_name": "Anna"}
            for method, path, body in (
                ("GET", f"/api/v1/contacts/{random.choice(self._ids)}", None),
                ("GET", "/api/v1/contacts?sort=-created_at&limit=50", None),
                ("POST", "/api/v1/contacts", person),
            ):
                started = time.perf_counter()
                try:
                    self._ask(method, path, body)
                except Exception as error:  # noqa: BLE001 - every kind of failure counts
                    self.failed.append(f"{method} {path}: {error}")
                self.seconds.append(time.perf_counter() - started)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        return bench_http._request(self.url, self.token, method, path, body)


def run() -> list[Row]:
    """All figures of this module."""
    bench_http.WORK.mkdir(parents=True, exist_ok=True)
    with product() as settings:
        demo.load(settings, CONTACTS, processes=2)
        owner = manage.owner_engine(settings.owner_database_url)
        token = bench_http.manager_token(owner)
        owner.dispose()
        engine = db.create_app_engine(settings)
        keys = Keys.open(settings, engine)
        filling = time.perf_counter()
        _fill(db.session_factory(engine, settings, keys), keys)
        filled = time.perf_counter() - filling
        work = KeyWork(keys, engine, settings, system_actor())
        with bench_http.server(settings) as (url, _pid), Serving(url, token) as serving:
            busy = time.process_time()
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
            "name": f"keys: requests that failed meanwhile, of {len(serving.seconds):,}",
            "value": len(serving.failed),
            "unit": "requests",
            "conditions": "; ".join(serving.failed[:3]) or f"{CLIENTS} clients, two processes",
            "limit": 0,
            "met": not serving.failed and len(serving.seconds) > 0,
        },
        {"name": "keys: slowest request meanwhile", "value": max(serving.seconds) * 1000, "unit": "ms"},
        {"name": f"keys: escrow of {thousand} written", "value": exported, "unit": "s"},
        {"name": f"keys: escrow of {thousand} opened and every key checked", "value": opened, "unit": "s"},
        {"name": "keys: size of the table and its indexes", "value": size / NUMBER, "unit": "bytes/key"},
        {
            "name": "keys: resident memory of this process",
            "value": resident_megabytes([os.getpid()]),
            "unit": "MB",
        },
    ]


def _fill(factory: sessionmaker[Session], keys: Keys) -> None:
    for start in range(0, NUMBER, _BATCH):
        with db.open_session(factory, system_actor()) as session:
            subjects = [uuid4().bytes for _ in range(min(_BATCH, NUMBER - start))]
            new_keys(keys, session.connection(), {str(KeyClass.IDENTITY): subjects})
            session.commit()
