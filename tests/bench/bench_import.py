"""Sealed rows in bulk: what an import takes in, and what sealing costs beside the same COPY in plain text.

Two processes each, by turns, on one private PostgreSQL with durable commits and batches of the same size. Before each
measurement tables are emptied and PostgreSQL has written what it held, so none pays for the rows of another. A first
turn of all isn't counted: what is measured is a server that has been at work, with files of its log to use again, and
not one that makes them. The peer is the same COPY in clear: the same persons, through the same binary COPY,
into the same two tables (data subjects, and a copy of the table of contacts with every column, constraint, foreign key,
trigger, row rule and index, where the document is a column of text for each field, and what tokens find has indexes of
its own). So it has neither documents, keys and tokens nor audit events.

"Written" is what sealing adds to that: a data key for each person, the document, the search tokens. "Imported" is all
of an import: reading and checking a CSV, looking for records that are there already, which the other process may have
made a moment ago, an event a person with a sealed payload under a second key, and the cursor as well. What a process
does once in its life (starting, opening the key ring) isn't counted.
"""

from __future__ import annotations

import io
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, Uuid, insert, text

from crm_server.domain.imports.models import Import
from crm_server.domain.imports.run import BATCH, Runner
from crm_server.domain.imports.storage import store_file
from crm_server.importing.detect import inspect_file
from crm_server.importing.mapping import Feed, ImportMapping
from crm_server.importing.texts import translate
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.blindindex.tokens import EntityTokens
from crm_server.kernel.copying import copy_columns
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys
from crm_server.kernel.sealing import Sealer
from crm_server.local import postgres
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.settings import Settings
from tests.bench.bench_audit_overhead import product
from tests.bench.measure import cpu_seconds

Row = dict[str, Any]
Spent = tuple[float, float]
"""Seconds by the clock and of CPU."""
ROWS, TURNS = 12_000, 3
EXPECTED = 1_000_000
"""Contacts for which the blind indexes are planned: the size that the aims of the product speak of."""
SEALED = ("given_name", "family_name", "name", "job_title", "email", "phone", "city", "street")
PLAIN = Table(
    "bench_plain", MetaData(schema="crm"), *(Column(name, Uuid) for name in ("id", "event_id", "subject_id")),
    Column("version", Integer), *(Column(name, DateTime) for name in ("created_at", "updated_at")),
    *(Column(name, Text) for name in SEALED),
)  # fmt: skip
IN_CLEAR = """
create table crm.bench_plain (like crm.contact including all);
alter table crm.bench_plain drop column sealed_identity, drop column sealed_version, {columns},
  enable row level security;
create index on crm.bench_plain (lower(email)) where deleted_at is null;
create index on crm.bench_plain (phone) where deleted_at is null;
do $$
declare
  found record;
begin
  for found in select conname, pg_get_constraintdef(oid) as rule from pg_constraint
                where conrelid = 'crm.contact'::regclass and contype = 'f' loop
    execute format('alter table crm.bench_plain add constraint %I %s', found.conname, found.rule);
  end loop;
  for found in select pg_get_triggerdef(oid) as rule from pg_trigger
                where tgrelid = 'crm.contact'::regclass and not tgisinternal loop
    execute replace(found.rule, ' ON crm.contact ', ' ON crm.bench_plain ');
  end loop;
  for found in select * from pg_policies where schemaname = 'crm' and tablename = 'contact' loop
    execute format('create policy %I on crm.bench_plain as %s for %s to %s', found.policyname, found.permissive,
                   found.cmd, array_to_string(found.roles, ', ')) || coalesce(' using (' || found.qual || ')', '')
            || coalesce(' with check (' || found.with_check || ')', '');
  end loop;
end
$$;
grant select, insert on crm.bench_plain to kontor_app;
"""

EMPTIED = (
    "crm.contact", "crm.data_subject", "crm.change", PLAIN.fullname, "keys.data_key", "search.token", "audit.event",
    "audit.event_payload",
)  # fmt: skip


def _ready(settings: Settings) -> None:
    """Opens what a process opens once, and waits a moment, so that each of two processes takes one of these."""
    _factory(settings)
    time.sleep(0.3)


class Turn(NamedTuple):
    """Rows a second by the slower process; and µs of CPU a row, of both processes and of the database."""

    rows: float
    application: float
    database: float


def _since(began: Spent) -> Spent:
    return time.perf_counter() - began[0], time.process_time() - began[1]


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


_factories: dict[str, Any] = {}


def _factory(settings: Settings) -> Any:
    """The sessions of this process, made once as in a worker."""
    if settings.database_url not in _factories:
        engine = db.create_app_engine(settings)
        keys = Keys.open(settings, engine, listen=False)
        _factories[settings.database_url] = db.session_factory(engine, settings, keys)
    return _factories[settings.database_url]


def _written(settings: Settings, tag: str) -> Spent:
    """What it takes for the sealed rows of one process, its start not counted."""
    factory, contact = _factory(settings), datamap()["contact"]
    subject = datamap()["data_subject"].table
    people = [_person(number, tag) for number in range(ROWS)]
    sealer = Sealer(contact)
    with db.open_session(factory, system_actor()) as session:
        session.connection()
        keys: Keys = session.info[db.KEYS]
        # What a running process has done long ago.
        keys.wrapper(keys.active_epoch(session.connection))
    began = time.perf_counter(), time.process_time()
    for start in range(0, ROWS, BATCH):
        with db.open_session(factory, system_actor()) as session:
            connection = session.connection()
            given = [(new_id().bytes, new_id().bytes, person) for person in people[start : start + BATCH]]
            # The row behind the key is a foreign key's target; it is no part of sealing, and small.
            people_ids = [one[1] for one in given]
            known = _bookkeeping(len(given))
            copy_columns(connection, subject, {"id": people_ids, "event_id": people_ids} | known)
            documents, _keys = sealer.fresh(keys, connection, given)
            ids, subjects = [one[0] for one in given], [one[1] for one in given]
            columns = {"id": ids, "event_id": ids, "subject_id": subjects} | known
            copy_columns(connection, contact.table, columns | documents)
            tokens = EntityTokens(keys, connection, contact.model)
            tokens.write((key, values) for key, _who, values in given)
            db.commit(session)
    return _since(began)


def _plain(settings: Settings, tag: str) -> Spent:
    """The same rows in clear, by the same COPY into the same tables."""
    factory, subject = _factory(settings), datamap()["data_subject"].table
    people = [_person(number, tag) for number in range(ROWS)]
    began = time.perf_counter(), time.process_time()
    for start in range(0, ROWS, BATCH):
        with db.open_session(factory, system_actor()) as session:
            given = people[start : start + BATCH]
            subjects, ids = ([new_id() for _person in given] for _column in range(2))
            known = _bookkeeping(len(given))
            copy_columns(session.connection(), subject, {"id": subjects, "event_id": subjects} | known)
            columns = {"id": ids, "event_id": ids, "subject_id": subjects} | known
            columns |= {name: [person[name] for person in given] for name in SEALED}
            copy_columns(session.connection(), PLAIN, columns)
            db.commit(session)
    return _since(began)


def _bookkeeping(number: int) -> dict[str, list[Any]]:
    moment = [datetime.now(UTC)] * number
    return {"version": [1] * number, "created_at": moment, "updated_at": moment}


def _imported(settings: Settings, tag: str) -> Spent:
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
    began = time.perf_counter(), time.process_time()
    counts = Runner(factory, entities, actor, translate=translate).run(key)
    spent = _since(began)
    if counts["created"] != ROWS:
        raise RuntimeError(f"{counts['created']} of {ROWS} rows were created")
    return spent


def _two(pool: Executor, work: Callable[[Settings, str], Spent], settings: Settings, turn: int) -> Turn:
    """Two processes that work at the same time."""
    database = _database(settings)
    # Both are there, with all modules and keys, before one begins.
    list(pool.map(_ready, (settings, settings)))
    before = cpu_seconds(database)
    spent = list(pool.map(work, (settings, settings), (f"{work.__name__}{turn}a", f"{work.__name__}{turn}b")))
    served = cpu_seconds(database) - before
    rows = 2 * ROWS
    application = sum(cpu for _wall, cpu in spent)
    return Turn(rows / max(wall for wall, _cpu in spent), application / rows * 1e6, served / rows * 1e6)


def _database(settings: Settings) -> int:
    """The process id of the server."""
    engine = manage.owner_engine(settings.owner_database_url)
    with engine.connect() as connection:
        backend: int = connection.execute(text("select pg_backend_pid()")).scalar_one()
        # As long as the connection is there.
        server = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    engine.dispose()
    return server


def _empty(settings: Settings) -> None:
    """Each measurement begins with the same tables and nothing left to write, so that none pays for another."""
    owner = manage.owner_engine(settings.owner_database_url)
    with owner.begin() as connection:
        connection.execute(text(f"truncate {', '.join(EMPTIED)} cascade"))
    owner.dispose()
    superuser = manage.owner_engine(postgres.start(settings.state_dir).superuser_url)
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("checkpoint"))
    superuser.dispose()


def _prepare(settings: Settings) -> None:
    """The table in clear; and the ring and its first epoch, and the indexes for the size to come."""
    owner = manage.owner_engine(settings.owner_database_url)
    columns = ", ".join(f"add column {name} text check (char_length({name}) <= 200)" for name in SEALED)
    with owner.begin() as connection:
        connection.exec_driver_sql(IN_CLEAR.replace("{columns}", columns).replace("%", "%%"))
    owner.dispose()
    factory = _factory(settings)
    with db.open_session(factory, system_actor()) as session:
        EntityTokens(
            session.info[db.KEYS], session.connection(), datamap()["contact"].model, expected=EXPECTED
        )
        db.commit(session)


def run() -> list[Row]:
    """Rows a second of two processes: sealed rows, a whole import, and the same rows in plain text."""
    found: dict[str, list[Turn]] = {"plain": [], "written": [], "imported": []}
    context = multiprocessing.get_context("spawn")
    with product() as settings, ProcessPoolExecutor(2, mp_context=context) as pool:
        _prepare(settings)
        for turn in range(TURNS + 1):
            for name, work in (("plain", _plain), ("written", _written), ("imported", _imported)):
                _empty(settings)
                found[name].append(_two(pool, work, settings, turn))
    return table({name: turns[1:] for name, turns in found.items()})


def _spread(turns: list[Turn]) -> str:
    rows = [turn.rows for turn in turns]
    application = statistics.median(turn.application for turn in turns)
    database = statistics.median(turn.database for turn in turns)
    cpu = f"µs of CPU a row: application {application:.0f}, database {database:.0f}"
    return f"{min(rows):,.0f} to {max(rows):,.0f}; {cpu}"


def table(found: dict[str, list[Turn]]) -> list[Row]:
    """The rows of the report."""
    median = {name: statistics.median(one.rows for one in turns) for name, turns in found.items()}
    spread = {name: _spread(turns) for name, turns in found.items()}
    shares = {
        name: statistics.median(
            one.rows / plain.rows for one, plain in zip(found[name], found["plain"], strict=True)
        )
        for name in ("written", "imported")
    }
    conditions = (
        f"2 processes of {ROWS:,} rows into empty tables, {TURNS} turns, durable commits every {BATCH:,} rows"
    )
    return [
        {
            "name": "the same COPY in plain text", "value": median["plain"], "unit": "rows/s",
            "conditions": f"{conditions}; {spread['plain']}",
        },
        {
            "name": "sealed rows with key and token", "value": median["written"], "unit": "rows/s",
            "limit": median["plain"], "ratio": shares["written"], "aim": 0.3, "met": shares["written"] >= 0.3,
            "conditions": f"{conditions}; {spread['written']}",
        },
        {
            "name": "import of sealed contacts", "value": median["imported"], "unit": "rows/s",
            "limit": median["plain"], "ratio": shares["imported"], "aim": 10_000,
            "met": median["imported"] >= 10_000 and shares["imported"] >= 0.3,
            "conditions": f"{conditions}; {spread['imported']}",
        },
    ]  # fmt: skip
