"""What searching and sorting by sealed fields costs, for people who see few, some or all contacts.

The contacts are those of the demonstration: sealed names, mail addresses and telephone numbers, a tenth of them
Chinese. Each request is the application's own list with row rules and its audit event; `limit` is the list of the
newest 50 contacts of the same reader in the same run. KONTOR_BENCH_SIZES names other sizes, such as 1000000.
"""

from __future__ import annotations

import gc
import math
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import text

from compliance.audit.log.service import FILE_SECONDS
from crm_server.demo import load as demo
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import Actor
from crm_server.kernel.hot import Hot
from crm_server.kernel.keys import Keys
from crm_server.kernel.listing import Condition, ListQuery, Sort, fetch
from crm_server.kernel.listing.cursors import Place, encode, list_mark
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.search.client import SearchClient
from crm_server.search.database import Database
from crm_server.search.engine import Engine
from crm_server.search.loading import Loader
from crm_server.search.places import socket_path
from crm_server.search.protocol import Walk
from crm_server.settings import Settings
from tests.bench.bench_audit_overhead import product
from tests.bench.measure import cpu_seconds, resident_megabytes, tree
from tests.searching import start, wait_until_complete, with_search

Row = dict[str, Any]
FEW, SOME = UUID(int=2_000_001), UUID(int=2_000_002)
PAGE = 50


def actors() -> dict[str, Actor]:
    """Who reads: somebody who owns 100 contacts, 10,000, or reads all."""
    may = frozenset({"crm:contact:read", "app:self:use"})
    levels = dict.fromkeys(("general", "personal", "financial"), "read")
    working, everything = rowrules.flat(rowrules.working()), rowrules.EVERYTHING
    return {
        name: Actor(who, name, permissions=may, scopes=scopes, fields=levels)
        for name, who, scopes in (("100", FEW, working), ("10 k", SOME, working), ("all", SOME, everything))
    }


def own(settings: Settings, count: int) -> None:
    """Give contacts all over the order of names to the two readers."""
    owner = manage.owner_engine(settings.owner_database_url)
    with owner.begin() as connection:
        connection.exec_driver_sql("set statement_timeout = 0; set kontor.rows = '*'")
        connection.exec_driver_sql("alter table crm.contact disable trigger user")
        for who, login in ((FEW, "few"), (SOME, "some")):
            connection.execute(
                text('insert into identity."user" (id, login, name) values (:id, :login, :login)'),
                {"id": who, "login": login},
            )
        give = text(
            "update crm.contact set owner_id = :who where id in (select id from crm.contact where owner_id is distinct "
            "from :who order by md5(id::text) limit :many)"
        )
        connection.execute(give, {"who": SOME, "many": min(10_000, count // 2)})
        connection.execute(give, {"who": FEW, "many": 100})
    with owner.begin() as connection:
        connection.exec_driver_sql("alter table crm.contact enable trigger user")
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze crm.contact"))
    owner.dispose()


def timed(act: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def percentiles(acts: list[Callable[[], object]]) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds of many different calls."""
    taken = sorted(timed(act) for act in acts)
    return statistics.median(taken), taken[math.ceil(len(taken) * 0.99) - 1]


@contextmanager
def as_served(settings: Settings) -> Iterator[None]:
    """What the product does beside requests: its server has set aside from collections of garbage what it was
    made of, and its sealer files whom new events are about.
    """
    gc.collect()
    gc.freeze()
    owner, stop = manage.owner_engine(settings.owner_database_url), threading.Event()

    def file() -> None:
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not stop.wait(FILE_SECONDS):
                connection.execute(text("select audit.file_subjects()"))

    thread = threading.Thread(target=file)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        owner.dispose()


def measure(settings: Settings, count: int, rounds: int) -> Iterator[Row]:
    """Load, memory and the requests of one size."""
    size = f"{count // 1000} k" if count < 1_000_000 else f"{count / 1e6:g} M"
    process = start(one_process(settings))
    client = SearchClient(socket_path(settings))
    began = time.perf_counter()
    wait_until_complete(client, 600)
    seconds = time.perf_counter() - began
    state = client.state()
    used = cpu_seconds(process.pid)
    records = state.total
    memory = resident_megabytes(tree(process.pid)) * 1e6
    yield _row(f"first load of {size} contacts and what is about them", seconds, "s", "stated", met=True)
    rate = records / max(used, 0.001)
    yield _row(
        f"records loaded a second of CPU, {size}, opening included",
        rate,
        "/s",
        "stated",
        met=True,
    )
    rate = count / max(used, 0.001)
    yield _row(
        f"contacts loaded a second of CPU, with all that is about them, {size}",
        rate,
        "/s",
        "stated",
        met=True,
    )
    yield alone(settings, size)
    bytes_each = memory / records
    yield _row(
        f"resident bytes a record, {size}, process included", bytes_each, "B", "<= 400", met=bytes_each <= 400
    )
    yield _row(
        f"resident bytes a contact, with all that is about them, {size}",
        memory / count,
        "B",
        "stated",
        met=True,
    )
    hot = Hot(settings)
    keys = Keys.open(settings, db.create_app_engine(settings), listen=False)
    hot.info |= {db.KEYS: keys, db.SEARCH: client}
    entity = datamap()["contact"]
    chance = random.Random(5)
    everybody = actors()
    fields = ("name", "email", "country")

    def ask(reader: Actor, **query: Any) -> Callable[[], object]:
        return lambda: fetch(hot, datamap(), entity, ListQuery(fields=fields, limit=PAGE, **query), reader)

    names = [
        row
        for _turn in range(8)
        for row in fetch(
            hot,
            datamap(),
            entity,
            ListQuery(fields=fields, limit=200, sort=Sort("id", descending=bool(_turn % 2))),
            everybody["all"],
        ).rows
        if row["name"]
    ]

    latin = [row for row in names if row["name"].isascii()]
    chinese = [row for row in names if "\u4e00" <= row["name"][0] <= "\u9fff"]
    mails = [row for row in names if row["email"]]

    def part(name: str) -> str:
        at = chance.randrange(max(1, len(name) - 4))
        return name[at : at + 4] if name.isascii() else name[:2]

    def beginning(name: str, least: int, most: int) -> str:
        return name[: chance.randint(least, most)].strip() or "an"

    def filtered(rows: list[Row], field: str, op: str, cut: Callable[[str], str]) -> list[dict[str, Any]]:
        return [{"filter": Condition(field, op, cut(row[field]))} for row in chance.choices(rows, k=rounds)]

    def found(rows: list[Row], cut: Callable[[str], str]) -> list[dict[str, Any]]:
        return [{"q": cut(row["name"])} for row in chance.choices(rows, k=rounds)]

    wanted = {
        "exact mail": filtered(mails, "email", "eq", str),
        "exact name": filtered(names, "name", "eq", str),
        "prefix of a name": filtered(names, "name", "starts_with", lambda name: name[:4]),
        "part of a name": filtered(names, "name", "contains", part),
        "part of a mail": filtered(mails, "email", "contains", lambda mail: mail[2:8]),
        "two Chinese characters": filtered(chinese, "name", "contains", lambda name: name[-2:]),
        "one letter at the beginning": filtered(latin, "name", "starts_with", lambda name: name[:1]),
        "two letters inside": filtered(latin, "name", "contains", lambda name: name[1:3]),
        "find box": found(names, lambda name: beginning(name, 2, 8)),
        "find box, one or two letters": found(latin, lambda name: beginning(name, 1, 2)),
        "find box, two Chinese characters": found(chinese, lambda name: name[:2]),
    }
    for who, reader in everybody.items():
        newest, _p99 = percentiles([ask(reader)] * rounds)
        for words, queries in wanted.items():
            acts = [ask(reader, **query) for query in queries]
            yield from _report(f"{words}, {size}, reader sees {who}", acts, newest, 20)
        deep = min(1_000 * PAGE, count - 2 * PAGE)
        mark = list_mark("contact", "name", descending=False, deleted=False)
        ids = client.walk(Walk(entity.number, entity.fields["name"].number, descending=False, count=deep)).ids
        cursor = encode(Place(None, str(UUID(bytes=ids[-16:]))), mark)
        yield from _report(
            f"sorted by name, page 1, {size}, reader sees {who}",
            [ask(reader, sort=Sort("name"))] * rounds,
            newest,
            100,
        )
        yield from _report(
            f"sorted by name, page {deep // PAGE:,}, {size}, reader sees {who}",
            [ask(reader, sort=Sort("name"), cursor=cursor)] * rounds, newest, 100,
        )  # fmt: skip
    hot.dispose()
    process.terminate()
    process.join(10)


def alone(settings: Settings, size: str) -> Row:
    """The rate at which contacts alone are loaded: without accounts, activities and cases, most of them shorter."""
    database = Database(settings)
    database.readers = {
        number: reader for number, reader in database.readers.items() if reader.entity.name == "contact"
    }
    engine = Engine(reader.held for reader in database.readers.values())
    loader = Loader(settings, engine, database, processes=1)
    began = time.thread_time()
    loader.run(lambda: False)
    rate = loader.loaded / (time.thread_time() - began)
    engine.close()
    name = f"contacts alone loaded a second of CPU, {size}, opening and orders included"
    return _row(name, rate, "/s", ">= 30000", met=rate >= 30_000)


def one_process(settings: Settings) -> Settings:
    """One process reads, so that a rate is that of one core."""
    return Settings(dict(settings.values) | {"search_processes": 1})


def _report(name: str, acts: list[Callable[[], object]], newest: float, aim: int) -> Iterator[Row]:
    acts[0]()
    median, p99 = percentiles(acts)
    yield _row(f"{name}, p99", p99, "ms", f"<= {aim}", met=p99 <= aim)
    yield _row(f"{name}, median against the newest 50", median / newest, "×", "stated", met=True)


def _row(name: str, value: float, unit: str, aim: str, *, met: bool) -> Row:
    return {"name": name, "value": round(value, 4), "unit": unit, "aim": aim, "met": met}


def run(rounds: int = 100) -> list[Row]:
    """10 thousand and 100 thousand contacts, or the sizes of KONTOR_BENCH_SIZES."""
    found = []
    for count in map(int, os.environ.get("KONTOR_BENCH_SIZES", "10000,100000").split(",")):
        with product() as plain:
            settings = with_search(Settings(dict(plain.values) | {"search_limit": 0}))
            folder = settings.search_socket.parent
            settings = Settings(dict(settings.values) | {"key_ring": folder / "keys", "state_dir": folder})
            demo.load(settings, count)
            own(settings, count)
            with as_served(settings):
                found += [*measure(settings, count, rounds)]
    return found


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']}: {row['value']:,.3f} {row['unit']} ({row['aim']})")
