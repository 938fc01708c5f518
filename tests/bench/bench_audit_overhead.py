"""What auditing costs a create and a read, and how fast the explorer pages through a large log. # AUD-13

The same service creates the same contacts, by turns with the capture of the product and with one that only renews
`event_id`, so that neither the event nor the trigger's substitute is written. `bench_audit.run` includes these rows.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from uuid_utils.compat import uuid7

from compliance.audit import capture
from crm_server.domain.audit.queries import Filters, page
from crm_server.kernel import db, firstkeys
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys
from crm_server.local import postgres
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.services import records
from crm_server.settings import Settings, load

Row = dict[str, Any]
EVENTS = """
insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, auth_method, origin,
                         object_type, object_ref, meta)
select kontor.uuid7(), clock_timestamp(), case n %% 10 when 0 then 'authentication' else 'read' end,
       case n %% 10 when 0 then 'login' else 'list' end, 'success', actors[1 + n %% 200], 'password', 'web', 2,
       gen_random_uuid(), '{"count": 50}'
  from generate_series(1, %(count)s) n,
       (select array_agg(md5(a::text)::uuid) as actors from generate_series(1, 200) a) a"""


@contextmanager
def product() -> Iterator[Settings]:
    """A private PostgreSQL with durable commits and the product's schema."""
    with tempfile.TemporaryDirectory(prefix="kontor-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / "state"
        cluster = postgres.start(state)
        try:
            manage.init(
                cluster.superuser_url, "bench", {role: cluster.password_of(role) for role in manage.ROLES}
            )
            manage.upgrade(cluster.url_for(manage.OWNER, "bench"))
            yield load(
                {
                    "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, "bench"),
                    "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, "bench"),
                    "KONTOR_STATE_DIR": str(state),
                }
            )
        finally:
            postgres.stop(state)


@contextmanager
def uncaptured() -> Iterator[None]:
    """Renew `event_id` and write nothing, not even the key under which an event's payload would be sealed."""
    note, write, together = capture._note, capture.write, dict(firstkeys._TOGETHER)

    def renew(_pending: list[Any], instance: Any, _action: str) -> None:
        instance.event_id = uuid7()

    capture._note, capture.write = renew, lambda *_: None
    firstkeys._TOGETHER.clear()
    try:
        yield
    finally:
        capture._note, capture.write = note, write
        firstkeys._TOGETHER.update(together)


def creating(settings: Settings, rounds: int) -> Iterator[Row]:
    """Milliseconds of one create with its commit, median, and CPU of this process."""
    engine = db.create_app_engine(settings)
    keys = Keys.open(settings, engine, listen=False)
    factory = db.session_factory(engine, settings, keys=keys)

    def create(number: int) -> tuple[float, float]:
        began, cpu = time.perf_counter(), time.process_time()
        with db.open_session(factory, system_actor()) as session:
            records(session, "contact").create(
                {
                    "family_name": f"Example {number}",
                    "given_name": "Anna",
                    "email": f"anna{number}@example.com",
                    "phone": "+493012345678",
                }
            )
            db.commit(session)
        return time.perf_counter() - began, time.process_time() - cpu

    for number in range(50):
        create(number)
    with_it, without = [], []
    for number in range(rounds):
        with_it.append(create(2 * number))
        with uncaptured():
            without.append(create(2 * number + 1))
    engine.dispose()
    for name, place in (("latency", 0), ("CPU of the application", 1)):
        audited, bare = (statistics.median(one[place] for one in found) for found in (with_it, without))
        yield _row(f"create with audit, {name}", audited * 1000, "ms", "stated", met=True)
        yield _row(f"create without audit, {name}", bare * 1000, "ms", "stated", met=True)
        share = (audited / bare - 1) * 100
        if place == 0:
            yield _row("overhead of auditing on create, latency", share, "%", "<= 15", met=share <= 15)
        else:
            yield _row(f"overhead of auditing on create, {name}", share, "%", "stated", met=True)


def exploring(settings: Settings, count: int) -> Iterator[Row]:
    """Milliseconds for a page of 50 events, p99, of several filters over `count` events."""
    owner = manage.owner_engine(settings.owner_database_url)
    with owner.begin() as connection:
        connection.exec_driver_sql(EVENTS, {"count": count})
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze audit.event"))
    engine = db.create_app_engine(settings)
    with db.open_session(db.session_factory(engine, settings), system_actor()) as session:
        (person,) = session.execute(text("select md5('7')::uuid")).one()
        page(session, datamap(), Filters())
        for name, filters in (
            ("everything", Filters()),
            ("one person", Filters(person=person)),
            ("log-ins", Filters(event_class="authentication")),
            ("log-ins of one person", Filters(person=person, event_class="authentication")),
        ):
            taken, after = [], None
            for _ in range(100):
                began = time.perf_counter()
                _rows, after = page(session, datamap(), filters, after=after)
                taken.append((time.perf_counter() - began) * 1000)
            p99 = statistics.quantiles(taken, n=100)[98]
            yield _row(f"explorer at {count} events, {name}, p99", p99, "ms", "<= 200", met=p99 <= 200)
    engine.dispose()


def _row(name: str, value: float, unit: str, aim: str, *, met: bool) -> Row:
    return {"name": name, "value": round(value, 4), "unit": unit, "aim": aim, "met": met}


def run(rounds: int = 400, count: int = 1_000_000) -> list[Row]:
    """Run both."""
    with product() as settings:
        return [*creating(settings, rounds), *exploring(settings, count)]


if __name__ == "__main__":
    for item in run():
        print(item)
