"""Sealed rows in bulk: what an import takes in, and what sealing costs beside the same COPY in plain text.

Two processes each, by turns, on one private PostgreSQL with durable commits. "Written" is what sealing adds to a COPY:
a data key for each person, the document, the search token, and the row. "Imported" is all of an import: reading and
checking a CSV, the data subjects, events with their payloads, the change feed and the cursor as well.
"""

from __future__ import annotations

import io
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, text

from crm_server.domain.imports.models import Import
from crm_server.domain.imports.run import Runner
from crm_server.domain.imports.storage import store_file
from crm_server.importing.detect import inspect_file
from crm_server.importing.mapping import Feed, ImportMapping
from crm_server.importing.texts import translate
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.blindindex.tokens import EntityTokens
from crm_server.kernel.copying import copy_rows
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys
from crm_server.kernel.sealing import Sealer
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.settings import Settings
from tests.bench.bench_audit_overhead import product

Row = dict[str, Any]
ROWS, BATCH, TURNS = 5_000, 1_000, 3
SEALED = ("given_name", "family_name", "name", "job_title", "email", "phone", "city", "street")
PLAIN_TABLE = "crm.bench_plain"


def _person(number: int, tag: str) -> dict[str, str]:
    return {
        "given_name": f"Anna{number}",
        "family_name": f"Beispiel{number}",
        "name": f"Anna{number} Beispiel{number}",
        "job_title": "Head of Purchasing",
        "email": f"anna.{tag}.{number}@example.com",
        "phone": f"+4930{number:07d}",
        "city": "Berlin",
        "street": f"Beispielweg {number}",
    }


def _factory(settings: Settings) -> Any:
    engine = db.create_app_engine(settings)
    return db.session_factory(engine, settings, Keys.open(settings, engine, listen=False))


def _written(settings: Settings, tag: str) -> float:
    """Seconds for the sealed rows of one process, its start not counted."""
    factory, contact = _factory(settings), datamap()["contact"]
    subject = datamap()["data_subject"].table
    people = [_person(number, tag) for number in range(ROWS)]
    sealer = Sealer(contact)
    with db.open_session(factory, system_actor()) as session:
        session.connection()
        keys: Keys = session.info[db.KEYS]
        # What a running process has done long ago.
        keys.wrapper(keys.active_epoch(session.connection))
    began = time.perf_counter()
    for start in range(0, ROWS, BATCH):
        with db.open_session(factory, system_actor()) as session:
            connection = session.connection()
            moment = datetime.now(UTC)
            given = [(new_id(), new_id(), person) for person in people[start : start + BATCH]]
            # The row behind the key is a foreign key's target; it is no part of sealing, and small.
            copy_rows(connection, subject, ("id", "event_id"), [(one[1], one[1]) for one in given])
            documents, _keys = sealer.fresh(keys, connection, given)
            names = ("id", "event_id", "subject_id", "created_at", *documents[0])
            rows = [
                (key, key, who, moment, *document.values())
                for (key, who, _values), document in zip(given, documents, strict=True)
            ]
            copy_rows(connection, contact.table, names, rows)
            EntityTokens(keys, connection, contact.model).write((key, values) for key, _who, values in given)
            db.commit(session)
    return time.perf_counter() - began


def _plain(settings: Settings, tag: str) -> float:
    """The same rows in clear by COPY in the text format, into a table with the index that searches by mail need."""
    engine = db.create_app_engine(settings)
    people = [_person(number, tag) for number in range(ROWS)]
    with engine.connect():
        pass
    began = time.perf_counter()
    for start in range(0, ROWS, BATCH):
        moment = datetime.now(UTC)
        lines = "".join(
            "\t".join((str(new_id()), str(new_id()), str(moment), *person.values())) + "\n"
            for person in people[start : start + BATCH]
        )
        with engine.begin() as connection:
            driver: Any = connection.connection.dbapi_connection
            with driver.cursor() as cursor:
                cursor.copy_expert(f"copy {PLAIN_TABLE} from stdin", io.StringIO(lines))
    spent = time.perf_counter() - began
    engine.dispose()
    return spent


def _imported(settings: Settings, tag: str) -> float:
    """A whole import of a CSV with new persons."""
    factory, entities, actor = _factory(settings), datamap(), system_actor()
    people = [_person(number, tag) for number in range(ROWS)]
    names = [name for name in SEALED if name != "name"]
    body = "\n".join([",".join(names), *(",".join(one[name] for name in names) for one in people)]) + "\n"
    file, key = io.BytesIO(body.encode()), new_id()
    mapping = ImportMapping("contact", tuple(Feed(name, (name,)) for name in names), key=("email",))
    with db.open_session(factory, actor) as session:
        session.execute(
            insert(Import).values(
                id=key, entity="contact", filename="list.csv", size=len(body), sha256=bytes(32), state="queued",
                phase="run", profile=inspect_file(file).to_json(), mapping=mapping.to_json(),
            )
        )  # fmt: skip
        store_file(session, key, file, 1 << 30)
        db.commit(session)
    began = time.perf_counter()
    counts = Runner(factory, entities, actor, translate=translate).run(key)
    spent = time.perf_counter() - began
    if counts["created"] != ROWS:
        raise RuntimeError(f"{counts['created']} of {ROWS} rows were created")
    return spent


def _two(work: Callable[[Settings, str], float], settings: Settings, turn: int) -> float:
    """Rows a second of two processes that work at the same time, by the slower one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        spent = list(
            pool.map(work, (settings, settings), (f"{work.__name__}{turn}a", f"{work.__name__}{turn}b"))
        )
    return 2 * ROWS / max(spent)


def run() -> list[Row]:
    """Rows a second of two processes: sealed rows, a whole import, and the same rows in plain text."""
    found: dict[str, list[float]] = {"plain": [], "written": [], "imported": []}
    with product() as settings:
        owner = manage.owner_engine(settings.owner_database_url)
        columns = ", ".join(f"{name} text" for name in SEALED)
        with owner.begin() as connection:
            connection.execute(
                text(
                    f"create table {PLAIN_TABLE} "
                    f"(id uuid primary key, subject_id uuid, created_at timestamptz, {columns})"
                )
            )
            connection.execute(text(f"create index on {PLAIN_TABLE} (lower(email))"))
            connection.execute(text(f"grant insert on {PLAIN_TABLE} to kontor_app"))
        owner.dispose()
        # The ring and its first epoch are made before anything is timed, and the indexes for the size to come.
        factory = _factory(settings)
        with db.open_session(factory, system_actor()) as session:
            connection = session.connection()
            EntityTokens(
                session.info[db.KEYS], connection, datamap()["contact"].model, expected=8 * TURNS * ROWS
            )
            db.commit(session)
        for turn in range(TURNS):
            for name, work in (("plain", _plain), ("written", _written), ("imported", _imported)):
                found[name].append(_two(work, settings, turn))
    median = {name: statistics.median(values) for name, values in found.items()}
    spread = {name: f"{min(values):,.0f} to {max(values):,.0f}" for name, values in found.items()}
    share = statistics.median(
        written / plain for written, plain in zip(found["written"], found["plain"], strict=True)
    )
    conditions = f"2 processes of {ROWS:,} rows, {TURNS} turns, durable commits every {BATCH:,} rows"
    return [
        {
            "name": "COPY in plain text, 11 columns", "value": median["plain"], "unit": "rows/s",
            "conditions": f"{conditions}; {spread['plain']}",
        },
        {
            "name": "sealed rows with key and token", "value": median["written"], "unit": "rows/s",
            "limit": median["plain"], "ratio": share, "aim": 0.3, "met": share >= 0.3,
            "conditions": f"{conditions}; {spread['written']}",
        },
        {
            "name": "import of sealed contacts", "value": median["imported"], "unit": "rows/s",
            "limit": median["plain"], "ratio": median["imported"] / median["plain"], "aim": 10_000,
            "met": median["imported"] >= 10_000, "conditions": f"{conditions}; {spread['imported']}",
        },
    ]  # fmt: skip
