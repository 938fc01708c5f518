# ruff: noqa: E501 - statements of made-up data, from constants of this file
"""What row rules cost: lists of many contacts for people who see few, half or all of them, and what telling them costs.

500 teams, 2,000 territories and 2,000 users. "few" reaches 100 contacts by all scopes together: own ones, those of a
team, of a territory, of somebody who reports to them, and shared ones. "half" has a territory whose subtree holds half
of all territories. Each list is the application's own request, prepared, with its audit event and its documents opened. It runs by turns
as the application role and as the owner of the tables, whom no policy limits and no predicate is added for.

What lists return has real documents; all other contacts have bytes of the same length. KONTOR_BENCH_SIZES names other
sizes, such as 100000.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import and_, select, text

from crm_server.domain.contacts.models import Contact
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.hot import Hot, Prepared
from crm_server.kernel.keys import Keys
from crm_server.kernel.listing import Condition, ListQuery, Sort, fetch, rules
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.services import records
from crm_server.settings import Settings
from tests.bench import bench_http
from tests.bench.bench_audit_overhead import product
from tests.integration.api.conftest import make_token

Row = dict[str, Any]
FEW, HALF = UUID(int=1_000_001), UUID(int=1_000_002)
TEAMS, TERRITORIES, USERS = 500, 2_000, 2_000
DOCUMENTS = tuple(one.column for one in datamap()["contact"].documents.values())
BYTES, ENDS = 256, 400
"""Length of a document, and how many of the newest and of the oldest contacts are within what lists return."""


def key(kind: int, number: str) -> str:
    """SQL of a key that tells its kind and number."""
    return f"lpad(to_hex({kind}::bigint * 100000000 + {number}), 32, '0')::uuid"


PEOPLE = f"""
insert into identity."user" (id, login, name) select {key(1, "n")}, 'user-' || n, 'Person ' || n from generate_series(1, {USERS}) n;
insert into identity."user" (id, login, name) values ('{FEW}', 'few', 'Few'), ('{HALF}', 'half', 'Half');
update identity."user" set manager_id = '{FEW}' where login = 'user-2000';
insert into identity.team (id, name) select {key(2, "n")}, 'Team ' || n from generate_series(1, {TEAMS}) n;
insert into identity.team_member (team_id, user_id)
  select {key(2, f"1 + (n * 7 % {TEAMS - 1})")}, {key(1, "n")} from generate_series(1, {USERS}) n;
insert into identity.team_member (team_id, user_id) values ({key(2, str(TEAMS))}, '{FEW}');
insert into identity.territory (id, name) values ({key(3, "1")}, 'West'), ({key(3, "2")}, 'East');
insert into identity.territory (id, name, parent_id)
  select {key(3, "n")}, 'Territory ' || n, {key(3, "1 + n % 2")} from generate_series(3, 102) n;
insert into identity.territory (id, name, parent_id)
  select {key(3, "n")}, 'Territory ' || n, {key(3, "3 + n % 100")} from generate_series(103, {TERRITORIES - 1}) n;
insert into identity.territory (id, name) values ({key(3, str(TERRITORIES))}, 'Island');
insert into identity.territory_member (territory_id, user_id) values ({key(3, "1")}, '{HALF}'), ({key(3, str(TERRITORIES))}, '{FEW}');
"""


def contacts(count: int) -> str:
    """SQL that makes contacts: 60 own, 10 each of a team, a territory, a report; 10 shared; the rest by chance."""
    every = count // 100
    place = f"(n / {every}) * (n % {every} = 0)::int"
    plain = {
        "id": key(5, "n"),
        "subject_id": key(4, "n"),
        "version": "1",
        "event_id": key(6, "n"),
        "created_at": f"now() - ({count} - n) * interval '1 second'",
        "updated_at": "now()",
        "owner_id": f"case when p between 1 and 60 then '{FEW}'::uuid when p between 61 and 70 then {key(1, '2000')} "
        f"else {key(1, '1 + n * 31 % 1999')} end",
        "team_id": f"case when p between 71 and 80 then {key(2, str(TEAMS))} else {key(2, f'1 + n * 17 % {TEAMS - 1}')} end",
        "territory_id": f"case when p between 81 and 90 then {key(3, str(TERRITORIES))} "
        f"else {key(3, f'3 + n * 13 % {TERRITORIES - 3}')} end",
        "sealed_version": "1",
        # Rows that lists return are sealed afterwards.
        **dict.fromkeys(
            DOCUMENTS,
            f"case when p = 0 and n between {ENDS} and {count - ENDS} "
            f"then decode('0101' || repeat(md5(n::text), {BYTES // 16}), 'hex') end",
        ),
    }
    return f"""
insert into crm.data_subject (id, version, event_id) select {key(4, "n")}, 1, {key(6, "n")} from generate_series(1, {count}) n;
insert into crm.contact ({", ".join(plain)}) select {", ".join(plain.values())}
  from (select n, {place} as p from generate_series(1, {count}) n) made;
insert into crm.record_share (id, record_type, record_id, user_id)
  select {key(7, "p")}, 2, {key(5, f"p * {every}")}, '{FEW}' from generate_series(91, 100) p;
"""


def seal(settings: Settings) -> None:
    """Give the contacts that lists return their documents, as the service would."""
    engine = db.create_app_engine(settings)
    keys = Keys.open(settings, engine, listen=False)
    with db.open_session(db.session_factory(engine, settings, keys), system_actor()) as session:
        empty = and_(*(Contact.__table__.c[name].is_(None) for name in DOCUMENTS))
        for number, contact in enumerate(session.scalars(select(Contact).where(empty))):
            contact.given_name, contact.family_name = "Erika", f"Mustermann {number}"
            contact.name, contact.job_title = f"Erika Mustermann {number}", "Head of Examples"
            contact.email, contact.phone = f"erika{number}@example.com", f"+49 30 {number:06}"
            contact.city, contact.department = "Musterstadt", "Purchasing"
        session.commit()
    engine.dispose()


def actors() -> dict[str, Actor]:
    """Who reads: somebody who reaches few, half, or all contacts."""
    may = frozenset({"crm:contact:read", "app:self:use"})
    levels = dict.fromkeys(("general", "personal", "financial"), "read")
    working, everything = rowrules.flat(rowrules.working()), rowrules.EVERYTHING
    return {
        name: Actor(who, name, permissions=may, scopes=scopes, fields=levels)
        for name, who, scopes in (("few", FEW, working), ("half", HALF, working), ("all", HALF, everything))
    }


PID = Prepared("bench_pid", "select pg_backend_pid()", ())


class Measured:
    """A pool with one connection, and what a statement costs: processor time of both ends, and time on the wall."""

    def __init__(self, settings: Settings, hot: Hot | None = None) -> None:
        self.hot = hot or Hot(settings)
        if hot is None:
            self.hot.info[db.KEYS] = Keys.open(settings, self.hot.engine, listen=False)
        self._stat = Path(f"/proc/{self.hot.run(PID, ())[0][0]}/schedstat")

    def _processor(self) -> int:
        """Nanoseconds that this thread and the server's process have run."""
        return time.thread_time_ns() + int(self._stat.read_text().split()[0])

    def time(self, act: Callable[[Hot], object]) -> tuple[float, float]:
        """(milliseconds of processor, milliseconds)"""
        began, used = time.perf_counter(), self._processor()
        act(self.hot)
        return (self._processor() - used) / 1e6, (time.perf_counter() - began) * 1000


def by_turns(rounds: int, *acts: tuple[Measured, Callable[[Hot], object]]) -> list[tuple[float, float]]:
    """Medians of (milliseconds of processor, milliseconds) of each act, run by turns."""
    taken: list[list[tuple[float, float]]] = [[] for _ in acts]
    for _ in range(rounds):
        for place, (where, act) in enumerate(acts):
            taken[place].append(where.time(act))
    return [
        (statistics.median(one[0] for one in found), statistics.median(one[1] for one in found))
        for found in taken
    ]


QUERIES = {
    "newest 50": ListQuery(),
    "newest 50 with a filter": ListQuery(filter=Condition("owner_id", "is_null", value=False)),
    "longest unchanged 50": ListQuery(sort=Sort("created_at")),
}


def lists(settings: Settings, size: str, rounds: int) -> Iterator[Row]:
    """Each list for each reader, with and without row rules."""
    entity = datamap()["contact"]
    ruled = Measured(settings)
    bare = Measured(Settings(dict(settings.values) | {"database_url": settings.owner_database_url}))
    everybody = actors()
    for who, reader in everybody.items():
        for words, query in QUERIES.items():
            rules.forget()
            page = fetch(ruled.hot, datamap(), entity, query, reader)
            assert len([row for row in page.rows if row["name"]]) == 50, (who, words)

            def with_rules(hot: Hot, reader: Actor = reader, query: ListQuery = query) -> object:
                return fetch(hot, datamap(), entity, query, reader)

            def without(hot: Hot, query: ListQuery = query) -> object:
                return fetch(hot, datamap(), entity, query, everybody["all"])

            acts = ((ruled, with_rules), (bare, without))
            by_turns(20, *acts)
            (processor, wall), (bare_processor, bare_wall) = by_turns(rounds, *acts)
            ratio = processor / bare_processor
            name = f"{words} of {size} contacts, reader sees {who}"
            yield _row(f"{name}, with row rules, processor", processor, "ms", "stated", met=True)
            yield _row(f"{name}, without, processor", bare_processor, "ms", "stated", met=True)
            yield _row(f"{name}, ratio, processor", ratio, "×", "<= 1.5", met=ratio <= 1.5)
            yield _row(f"{name}, ratio, wall", wall / bare_wall, "×", "<= 1.5", met=wall / bare_wall <= 1.5)
    ruled.hot.dispose()
    bare.hot.dispose()


NOTHING = Prepared("bench_nothing", "select 1", ())


def telling(settings: Settings, rounds: int) -> Iterator[Row]:
    """What it costs a statement to say what its actor reaches."""
    hot = Measured(settings)
    for who, reader in actors().items():
        silent = dataclasses.replace(reader, permissions=frozenset())
        acts = (
            (hot, lambda hot, reader=reader: hot.run(NOTHING, (), reader)),
            (hot, lambda hot, silent=silent: hot.run(NOTHING, (), silent)),
        )
        by_turns(50, *acts)
        (told, _wall), (less, _also) = by_turns(rounds, *acts)
        yield _row(
            f"telling the scopes of a reader who sees {who}", (told - less) * 1000, "µs", "stated", met=True
        )
    hot.hot.dispose()


def authenticating(settings: Settings) -> Iterator[Row]:
    """What session, actor, scopes and permission cost a request over HTTP: the benchmark's reading of one record, by
    turns with an application that knows from the first request who each token stands for."""
    bench_http.WORK.mkdir(parents=True, exist_ok=True)
    engine = db.create_app_engine(settings)
    token, user_id = make_token(engine, "Sales")
    keys = Keys.open(settings, engine, listen=False)
    with db.open_session(db.session_factory(engine, settings, keys), system_actor()) as session:
        key = records(session, "contact").create({"family_name": "Bench", "owner_id": str(user_id)}).id
        session.commit()
    engine.dispose()
    script = bench_http.asking("authenticated", f"/api/v1/contacts/{key}")
    (pid_file,) = settings.state_dir.glob("postgres/*/postmaster.pid")
    database = bench_http.postmaster(pid_file.parent)
    with bench_http.server(settings) as usual, bench_http.server(settings, "known") as known:
        loads = {
            kind: bench_http.Requests(url, token, script, (pid, database))
            for kind, (url, pid) in {"found": usual, "known": known}.items()
        }
        for clients, who in {1: "one client", bench_http.CLIENTS: f"{bench_http.CLIENTS} clients"}.items():
            cost = bench_http.by_turns(loads, clients)
            for part, what in (("latency", "latency"), ("cpu", "CPU of application and database")):
                found = getattr(cost["found"], part)
                yield _row(f"read one, {what} of {who}", found, "ms", "stated", met=True)
                share = 1 - 1 / cost["found"].over(cost["known"], part)
                name = f"share of authenticating in it, {what} of {who}"
                yield _row(name, share * 100, "%", "<= 25", met=share <= 0.25)


def load(settings: Settings, statement: str) -> None:
    """Make data without triggers, as the superuser of the private server."""
    owner = manage.owner_engine(settings.owner_database_url)
    with owner.begin() as connection:
        connection.exec_driver_sql("set statement_timeout = 0")
        for table in ("contact", "data_subject", "record_share"):
            connection.exec_driver_sql(f"alter table crm.{table} disable trigger user")
        connection.exec_driver_sql(statement.replace("%", "%%"))
    owner.dispose()


def settle(settings: Settings) -> None:
    """Bring tables to the state in which PostgreSQL leaves what was written some time ago."""
    owner = manage.owner_engine(settings.owner_database_url)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum (analyze, index_cleanup on)"))
    owner.dispose()


def _row(name: str, value: float, unit: str, aim: str, *, met: bool) -> Row:
    return {"name": name, "value": round(value, 4), "unit": unit, "aim": aim, "met": met}


def run(rounds: int = 150) -> list[Row]:
    """100 thousand and a million contacts, or the sizes of KONTOR_BENCH_SIZES."""
    found = []
    for place, count in enumerate(
        map(int, os.environ.get("KONTOR_BENCH_SIZES", "100000,1000000").split(","))
    ):
        size = f"{count // 1000} k" if count < 1_000_000 else f"{count / 1e6:g} M"
        with product() as plain, tempfile.TemporaryDirectory() as folder:
            settings = Settings(dict(plain.values) | {"key_ring": Path(folder) / "keyring"})
            load(settings, PEOPLE)
            load(settings, contacts(count))
            settle(settings)
            seal(settings)
            settle(settings)
            found += [*lists(settings, size, rounds)]
            if place == 0:
                found += [*telling(settings, rounds * 5), *authenticating(settings)]
    return found


if __name__ == "__main__":
    for item in run():
        print(item)
