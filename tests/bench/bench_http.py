"""The application over HTTP beside PostgreSQL alone: read one, list 50 with filter and sort, search by mail, create.

Two server processes, 16 clients, 100,000 contacts, everything on: log-in by token, permissions, field rules, audit.
The limit is pgbench with the statements that the application itself sends, taken from the server's log, run in turn
with the application. CPU is read from the operating system, for the application's and PostgreSQL's processes.
`KONTOR_BENCH_SIZES=10000,1000000` compares tables of different size.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from crm_server.demo import load as demo
from crm_server.domain.identity.models import ApiToken, User
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.local import postgres
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.search.client import SearchClient
from crm_server.search.places import socket_path
from crm_server.settings import Settings, load
from security.identity.tokens import new_api_token
from tests.bench import measure, replay
from tests.searching import wait_until_complete, with_search

STATE = Path("var/bench/state")
WORK = Path("var/bench/http")
USUAL = 100_000
CLIENTS, WORKERS, ROUNDS, SECONDS = 16, 2, 2, 6
TURNS, TURN_SECONDS = 20, 1
AIMS = {"read one": 0.25, "list 50": 0.2, "search by mail": 0.25, "create": 0.2}

HEAD = 'local headers = {["Authorization"] = "Bearer " .. os.getenv("TOKEN")}\n'
CONTACT = {"given_name": "Bench", "family_name": "Mark", "job_title": "Tester", "country": "DE"}
CREATE = (
    'headers["Content-Type"] = "application/json"\nlocal n = os.time() * 1000000\n'
    "function request() n = n + 1\n"
    f'local body = [[{json.dumps(CONTACT)[:-1]}, "email": "bench]] .. string.format("%d", n) '
    '.. [[@example.com"}]]\n'
    'return wrk.format("POST", "/api/v1/contacts", headers, body) end'
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request: how wrk makes it, and one example to take the statements from."""

    name: str
    lua: str
    example: tuple[str, str, dict[str, Any] | None]


def run() -> list[dict[str, Any]]:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk makes the load. Install it: apt-get install wrk")
    WORK.mkdir(parents=True, exist_ok=True)
    cluster = postgres.start(STATE)
    try:
        sizes = [int(size) for size in os.environ.get("KONTOR_BENCH_SIZES", str(USUAL)).split(",")]
        rows: list[dict[str, Any]] = []
        for size in sizes:
            rows += _one_size(cluster, size)
        return [*rows, *(_same_cost(cluster, sizes) if len(sizes) > 1 else ())]
    finally:
        postgres.stop(STATE)


def _one_size(cluster: Cluster, size: int) -> list[dict[str, Any]]:
    settings = _settings(cluster, size)
    token = _prepare(cluster, settings, size)
    rows = []
    # Connections keep what they have prepared, so a later scenario does not prepare it again.
    definitions: dict[str, tuple[str, list[str]]] = {}
    # A server of its own gives the samples: what a connection has prepared before the log is read stays unknown.
    with server(settings) as (url, _pid):
        ids, mails = _samples(url, token)
    with _search(settings) as search, server(settings) as (url, pid):
        database = postmaster(cluster.data)
        for scenario in _scenarios(ids, mails, url, token):
            statements, options = replay.statements(
                cluster,
                f"kontor_{size}",
                STATE / "logs" / "postgres.log",
                lambda example=scenario.example: _request(url, token, *_fresh(example)),
                definitions,
            )
            script = WORK / f"{scenario.name.replace(' ', '_')}.lua"
            script.write_text(scenario.lua, encoding="utf-8")
            pgbench = WORK / f"{scenario.name.replace(' ', '_')}.sql"
            pgbench.write_text(statements, encoding="utf-8")
            measure.wrk(url, script, clients=CLIENTS, seconds=2, token=token)
            limits, loads, app_cpu, db_cpu, count = [], [], 0.0, 0.0, 0
            for _round in range(ROUNDS):
                limits.append(_pgbench(cluster, size, pgbench, options))
                before = measure.cpu_seconds(pid) + measure.cpu_seconds(search), measure.cpu_seconds(database)
                load = measure.wrk(url, script, clients=CLIENTS, seconds=SECONDS, token=token)
                app_cpu += measure.cpu_seconds(pid) + measure.cpu_seconds(search) - before[0]
                db_cpu += measure.cpu_seconds(database) - before[1]
                count += load.requests
                loads.append(load)
                if load.errors:
                    raise SystemExit(f"{scenario.name}: {load.errors} requests failed; see {WORK}/app.log")
            rows.append(_row(size, scenario, loads, limits, (app_cpu, db_cpu, count)))
        rows += _deep_pages(size, url, token, (pid, database))
        if size == USUAL:
            rows.append(_memory(measure.tree(pid)))
    return rows


def _row(
    size: int,
    scenario: Scenario,
    loads: list[measure.Load],
    limits: list[float],
    cpu: tuple[float, float, int],
) -> dict[str, Any]:
    value, limit = sum(load.per_second for load in loads) / len(loads), sum(limits) / len(limits)
    app_cpu, db_cpu, count = cpu
    return {
        "name": f"{scenario.name}, {size:,} contacts",
        "value": round(value),
        "unit": "req/s",
        "limit": round(limit),
        "ratio": value / limit,
        "aim": f"≥ {AIMS[scenario.name]} of pgbench",
        "met": value / limit >= AIMS[scenario.name],
        "cpu_app_ms": round(app_cpu / count * 1000, 3),
        "cpu_db_ms": round(db_cpu / count * 1000, 3),
        "p50_ms": round(sum(load.p50_ms for load in loads) / len(loads), 1),
        "p99_ms": round(max(load.p99_ms for load in loads), 1),
        "conditions": f"{WORKERS} processes, {CLIENTS} clients, {ROUNDS} rounds of {SECONDS} s, limit in turn",
    }


def _memory(pids: set[int]) -> dict[str, Any]:
    """What one more worker takes: libraries that the processes of a machine share count in part."""
    taken = measure.proportional_megabytes(pids)
    return {
        "name": "memory that a worker adds",
        "value": round(taken),
        "unit": "MB",
        "limit": 120,
        "ratio": taken / 120,
        "aim": "≤ 120 MB",
        "met": taken <= 120,
        "conditions": f"largest after the load; resident, all shared: {measure.resident_megabytes(pids):.0f} MB",
    }


def _settings(cluster: Cluster, size: int) -> Settings:
    """The settings of the application against the database of that size, with a key ring and a socket of its own."""
    name, folder = f"kontor_{size}", (STATE / f"keys-{size}").resolve()
    plain = load(
        {
            "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, name),
            "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, name),
            "KONTOR_STATE_DIR": str(folder),
            "KONTOR_KEY_RING": str(folder / "keyring"),
            "KONTOR_LOG_LEVEL": "warning",
            # Sixteen clients are one person here.
            "KONTOR_SEARCH_LIMIT": "0",
        }
    )
    return with_search(plain)


def _prepare(cluster: Cluster, settings: Settings, size: int) -> str:
    """The demo database of that size, and a token of its manager."""
    name = f"kontor_{size}"
    manage.init(cluster.superuser_url, name, {role: cluster.password_of(role) for role in manage.ROLES})
    manage.upgrade(cluster.url_for(manage.OWNER, name))
    owner = manage.owner_engine(cluster.url_for(manage.OWNER, name))
    if demo.missing(owner, size):
        print(f"  loading {size:,} contacts", file=sys.stderr)
        demo.load(settings, size, processes=2)
    _forget_imitations(cluster.url_for(postgres.SUPERUSER, name))
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    return manager_token(owner)


def manager_token(owner: Engine) -> str:
    """A new API token of the demo data's manager."""
    fresh = new_api_token()
    with Session(owner) as session:
        session.info[db.ACTOR] = system_actor()
        user = session.scalars(select(User).where(User.login == "manager")).one()
        session.add(
            ApiToken(
                user_id=user.id,
                name=f"bench {uuid4()}",
                prefix=fresh.public_id,
                token_hash=fresh.digest,
                permissions=None,
                expires_at=None,
            )
        )
        session.commit()
    return fresh.text


def _forget_imitations(superuser_url: str) -> None:
    """Delete the contacts that pgbench made in an earlier run: copies of one sealed document, which don't open."""
    with manage.owner_engine(superuser_url).begin() as connection:
        # Neither capture nor a look into each table that may refer to them.
        connection.exec_driver_sql("set session_replication_role = replica")
        connection.exec_driver_sql(
            "delete from crm.contact where id between '00000000-0000-4000-8000-000000000000' "
            "and '00000000-0000-4000-8000-ffffffffffff'"
        )


def _samples(url: str, token: str) -> tuple[list[str], list[str]]:
    """Keys and mail addresses of 2,000 contacts, as the API gives them: the database holds no address to read.

    The oldest ones are those of the demonstration; what earlier runs created comes after them.
    """
    found: list[dict[str, Any]] = []
    path = "/api/v1/contacts?fields=email&sort=created_at&limit=200"
    after = ""
    while len(found) < 2000:
        page = json.loads(_request(url, token, "GET", path + after, None))
        found += page["data"]
        if not page.get("next_cursor"):
            break
        after = f"&cursor={page['next_cursor']}"
    return [row["id"] for row in found], [row["email"] for row in found if row["email"]]


def _scenarios(ids: list[str], mails: list[str], url: str, token: str) -> list[Scenario]:
    listing = "/api/v1/contacts?filter[country]=DE&sort=-created_at&limit=50"
    pick = "math.randomseed(os.time())\nlocal items = {%s}\n"
    return [
        Scenario(
            "read one",
            HEAD
            + pick % ",".join(f'"{item}"' for item in ids)
            + 'function request() return wrk.format("GET", "/api/v1/contacts/" '
            ".. items[math.random(#items)], headers) end",
            ("GET", f"/api/v1/contacts/{ids[0]}", None),
        ),
        Scenario(
            "list 50",
            HEAD + f'function request() return wrk.format("GET", "{_quoted(listing)}", headers) end',
            ("GET", _quoted(listing), None),
        ),
        Scenario(
            "search by mail",
            HEAD
            + pick % ",".join(f'"{item}"' for item in mails)
            + 'function request() return wrk.format("GET", "/api/v1/contacts?filter%5Bemail%5D=" '
            ".. items[math.random(#items)], headers) end",
            ("GET", f"/api/v1/contacts?filter%5Bemail%5D={mails[0]}", None),
        ),
        Scenario(
            "create",
            HEAD + CREATE,
            ("POST", "/api/v1/contacts", {**CONTACT, "email": "bench0@example.com"}),
        ),
    ]


def _quoted(path: str) -> str:
    return path.replace("[", "%5B").replace("]", "%5D")


def _environment(settings: Settings) -> dict[str, str]:
    """What the processes of the product are told."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("KONTOR_BENCH_")},
        "KONTOR_DATABASE_URL": settings.database_url,
        "KONTOR_STATE_DIR": str(settings.state_dir),
        "KONTOR_KEY_RING": str(settings.key_ring),
        "KONTOR_SEARCH_SOCKET": str(settings.search_socket),
        "KONTOR_SEARCH_LIMIT": "0",
        "KONTOR_LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join((".", str(Path(__file__).parent / "product"))),
        # As in production: threads share two heaps instead of growing one each.
        "MALLOC_ARENA_MAX": "2",
    }


@contextmanager
def _search(settings: Settings) -> Iterator[int]:
    """The search service with everything loaded; yields its pid."""
    with (WORK / "search.log").open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "kontor", "search", "serve"],
            env=_environment(settings),
            stdout=log,
            stderr=log,
        )
        client = SearchClient(socket_path(settings))
        try:
            wait_until_complete(client, 600)
            yield process.pid
        finally:
            client.close()
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@contextmanager
def server(settings: Settings, module: str = "crm_server.serving") -> Iterator[tuple[str, int]]:
    """The application behind granian with two processes; yields its address and the pid of the main process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (WORK / "app.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", module),
                *("--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)),
                *("--blocking-threads", "4", "--log-level", "warning"),
            ],
            env=_environment(settings),
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"The application ended: {(WORK / 'app.log').read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"The application does not answer: {(WORK / 'app.log').read_text()[-2000:]}")


def _request(url: str, token: str, method: str, path: str, body: dict[str, Any] | None) -> bytes:
    request = urllib.request.Request(
        url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def _fresh(example: tuple[str, str, dict[str, Any] | None]) -> tuple[str, str, dict[str, Any] | None]:
    method, path, body = example
    return method, path, None if body is None else {**body, "email": f"bench{uuid4().hex}@example.com"}


def _pgbench(cluster: Cluster, size: int, script: Path, options: str) -> float:
    """Transactions a second, under the settings that each request of the application states anew."""
    address = {
        "PGOPTIONS": options,
        "PGHOST": str(cluster.socket_dir),
        "PGPORT": str(cluster.port),
        "PGUSER": manage.APP,
        "PGPASSWORD": cluster.password_of(manage.APP),
        "PGDATABASE": f"kontor_{size}",
    }
    return measure.pgbench(
        Path(f"/usr/lib/postgresql/{cluster.major}/bin"), address, script, clients=CLIENTS, seconds=SECONDS
    )


@dataclass(frozen=True, slots=True)
class Requests:
    """One kind of request, and the processes whose CPU it costs."""

    url: str
    token: str
    script: Path
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one request, and milliseconds of CPU of all its processes."""

    latency: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one load, turn by turn."""

    turns: Sequence[Cost]

    @property
    def latency(self) -> float:
        """The median in milliseconds."""
        return statistics.median(one.latency for one in self.turns)

    @property
    def cpu(self) -> float:
        """The median in milliseconds."""
        return statistics.median(one.cpu for one in self.turns)

    def over(self, other: Costs, part: str) -> float:
        """How many times as much as another load, as the median of neighbouring turns.

        A machine's speed may change within minutes by more than what is asked for.
        """
        pairs = zip(self.turns, other.turns, strict=True)
        return statistics.median(getattr(one, part) / getattr(two, part) for one, two in pairs)


def by_turns(loads: Mapping[Any, Requests], clients: int = CLIENTS) -> dict[Any, Costs]:
    """What a request of each load costs. They run by turns, so a machine that gets slower meets all alike."""
    found: dict[Any, list[Cost]] = {name: [] for name in loads}
    for turn in range(TURNS + 1):
        for name, one in list(loads.items())[:: -1 if turn % 2 else 1]:
            before = sum(map(measure.cpu_seconds, one.pids))
            done = measure.wrk(one.url, one.script, clients=clients, seconds=TURN_SECONDS, token=one.token)
            if done.errors:
                raise SystemExit(f"{name}: {done.errors} requests failed; see {WORK}/app.log")
            if turn:  # the first one prepares statements and fills caches
                used = sum(map(measure.cpu_seconds, one.pids)) - before
                found[name].append(Cost(clients / done.per_second * 1000, used / done.requests * 1000))
    return {name: Costs(turns) for name, turns in found.items()}


def postmaster(data: Path) -> int:
    """The pid of PostgreSQL's first process, by its data directory."""
    return int((data / "postmaster.pid").read_text().splitlines()[0])


def asking(name: str, path: str) -> Path:
    """A script for wrk that gets one address again and again."""
    script = WORK / f"{name}.lua"
    script.write_text(f'{HEAD}function request() return wrk.format("GET", "{path}", headers) end')
    return script


def creating() -> Path:
    """A script for wrk that creates contacts, each with an address of its own."""
    script = WORK / "create.lua"
    script.write_text(HEAD + CREATE)
    return script


def _deep_pages(size: int, url: str, token: str, pids: tuple[int, ...]) -> list[dict[str, Any]]:
    """CPU of page 1 and of page 1,000 of the same list, where it has so many."""
    if size < 1001 * 50:
        return []
    path, cursor, loads = "/api/v1/contacts?sort=created_at&limit=50&fields=name", "", {}
    for page in range(1, 1002):
        where = path + (f"&cursor={cursor}" if cursor else "")
        if page in {1, 1001}:
            loads[page] = Requests(url, token, asking(f"page_{page}", where), pids)
        cursor = json.loads(_request(url, token, "GET", where, None)).get("next_cursor") or ""
    cost = {page: one.cpu for page, one in by_turns(loads).items()}
    return [_within(f"page 1,000 beside page 1, {size:,} contacts", cost[1001], cost[1], "list of 50")]


def _same_cost(cluster: Cluster, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """The same requests on tables of different size, each with an application and a search service of its own."""
    database = postmaster(cluster.data)
    loads: dict[str, dict[int, Requests]] = {name: {} for name in AIMS}
    with ExitStack() as running:
        for size in sizes:
            settings = _settings(cluster, size)
            token = _prepare(cluster, settings, size)
            search = running.enter_context(_search(settings))
            url, pid = running.enter_context(server(settings))
            for scenario in _scenarios(*_samples(url, token), url, token):
                script = WORK / f"{scenario.name.replace(' ', '_')}_{size}.lua"
                script.write_text(scenario.lua, encoding="utf-8")
                loads[scenario.name][size] = Requests(url, token, script, (pid, search, database))
        for name, by_size in loads.items():
            cost = {size: one.cpu for size, one in by_turns(by_size).items()}
            label = f"{name}: {' / '.join(f'{size:,}' for size in sizes)}"
            yield _within(label, max(cost.values()), min(cost.values()), json.dumps(cost))


def _within(name: str, value: float, limit: float, conditions: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": "ms CPU",
        "limit": round(limit, 3),
        "ratio": value / limit,
        "aim": "within 20 %",
        "met": value / limit <= 1.2,
        "conditions": f"{conditions}; {TURNS} turns of {TURN_SECONDS} s",
    }
