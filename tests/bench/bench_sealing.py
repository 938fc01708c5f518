"""What sealing costs a list of 50 contacts: the same request with the same fields as columns, in the same run.

A table with the fields of contacts in clear stands beside the sealed one, with the same rows and the same event in the
audit log. Both are read by the statement that the application uses, through its pool, as the same actor; rounds take
turns, and the median of what each of them gives counts. CPU is that of this process and of PostgreSQL's process behind
the connection, from the operating system. The rest of a request (log-in by token, routing, permissions, HTML or JSON)
is measured through the whole application and is the same for both. Who asks for the page is known, because it takes a
session.

Three requests are compared: the page that people open, which shows names, mail addresses, phone numbers and job titles,
the API with names and mail addresses alone, and the API with every field. Beside them stand the bare calls of the
libraries for 50 documents. A list that was shown before finds its fields with the keys in the cache; one that is shown
for the first time unwraps every key and opens every document.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import MetaData, insert, text
from sqlalchemy.orm import Session, registry
from webob import Request

from compliance.datamap import Base, DataMap, EntityDef, EntityKind, EntityPolicy, field
from crm_server.app import main
from crm_server.demo import load as demo
from crm_server.domain.contacts.models import Contact
from crm_server.domain.subjects.services import new_subject
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.hot import Hot
from crm_server.kernel.keys import Keys
from crm_server.kernel.listing import ListQuery, Sort, fetch
from crm_server.local import postgres
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.settings import Settings, load
from tests.bench.bench_http import manager_token

Row = dict[str, Any]
STATE = Path("var/bench/sealing")
ROWS, ROUNDS, AT_ONCE = 2_000, 25, 20
PEOPLE = 100
"""Contacts of the demonstration, which brings the users."""
AIM = 1.3
QUERY = ListQuery(sort=Sort("created_at", descending=True), limit=50)
SHOWN = replace(QUERY, fields=("name", "job_title", "email", "phone"))
NAMED = replace(QUERY, fields=("given_name", "family_name", "name", "email"))
LIST = "/api/v1/contacts?limit=50&sort=-created_at"
PERSON = {
    "given_name": "Maximilian", "family_name": "Mustermann", "name": "Maximilian Mustermann",
    "job_title": "Head of Purchasing", "department": "Purchasing", "email": "max.mustermann@example.com",
    "phone": "+493012345678", "mobile": "+4915112345678", "street": "Unter den Linden 1", "postal_code": "10117",
    "city": "Berlin", "region": "Berlin",
}  # fmt: skip


def plain_contact() -> EntityDef:
    """An entity with the fields of contacts, every one of them a column."""
    own = registry(metadata=MetaData(naming_convention=Base.metadata.naming_convention))
    body: dict[str, Any] = {
        "__tablename__": "contact_in_clear",
        "__table_args__": ({"schema": "crm"},),
        "__entity__": EntityPolicy(
            2,
            "contact",
            "contacts",
            *([Contact.__entity__.label] * 2),
            EntityKind.RECORD,
            subject="subject_id",
        ),
        "metadata": own.metadata,
        "registry": own,
        "_sa_registry": own,
    }
    for name, item in datamap()["contact"].fields.items():
        if item.policy.handling.access == "system" and name not in {"event_id", "import_id"}:
            continue
        policy = item.policy
        handling = policy.handling
        body[name] = field(
            policy.number,
            policy.semantic if policy.semantic != "reference" else "id",  # type: ignore[arg-type]
            policy.label,
            type(handling)(
                handling.privacy.NONE, handling.key_class.NONE, handling.retention, handling.audit,
                handling.erasure.NOT_PERSONAL, handling.access,
            ),
            choices=policy.choices,
            primary_key=name == "id",
        )  # fmt: skip
    type("ContactInClear", (Base,), body)
    return DataMap.freeze(own)["contact"]


def prepare(settings: Settings, keys: Keys, clear: EntityDef) -> str:
    """Both tables with the same rows, and somebody who sees all of them; returns their token."""
    demo.load(settings, PEOPLE)
    owner = manage.owner_engine(settings.owner_database_url)
    with owner.begin() as connection:
        connection.execute(text("drop table if exists crm.contact_in_clear"))
        clear.table.metadata.create_all(connection)
        connection.execute(
            text(
                "create index on crm.contact_in_clear (created_at, id) where deleted_at is null; "
                "grant select, insert on crm.contact_in_clear to kontor_app"
            )
        )
    with Session(owner, info={db.ACTOR: system_actor(), db.KEYS: keys}) as session:
        made = [Contact(subject_id=new_subject(session), **PERSON) for _ in range(ROWS)]
        session.add_all(made)
        session.flush()
        session.execute(
            insert(clear.table),
            [
                {"id": one.id, "version": 1, "created_at": one.created_at, "updated_at": one.updated_at}
                | {"subject_id": one.subject_id}
                | PERSON
                for one in made
            ],
        )
        session.commit()
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    token = manager_token(owner)
    owner.dispose()
    return token


class Clock:
    """CPU of this process and of the processes of PostgreSQL that it is connected to."""

    def __init__(self, hot: Hot) -> None:
        with hot.engine.connect() as connection:
            pids = connection.exec_driver_sql(
                "select pid from pg_stat_activity where datname = current_database() and pid is not null"
            ).scalars()
            self._backends = [Path(f"/proc/{pid}/schedstat") for pid in pids]

    def __call__(self) -> tuple[float, float]:
        """(application, database) in seconds."""
        database = sum(int(backend.read_text().split()[0]) for backend in self._backends)
        return time.process_time(), database / 1e9


def measured(
    clock: Clock, works: dict[str, Callable[[], Any]]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of CPU of each work in the application and in the database, round by round; works take turns."""
    application: dict[str, list[float]] = {name: [] for name in works}
    database: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            work()  # Not counted: another work may have left the caches empty.
            began = clock()
            for _ in range(AT_ONCE):
                work()
            for place, before, after in zip((application, database), began, clock(), strict=True):
                place[name].append((after - before) / AT_ONCE * 1000)
    return application, database


def run() -> list[Row]:
    # A fresh database each time: 2,000 contacts are made in seconds.
    shutil.rmtree(STATE, ignore_errors=True)
    cluster = postgres.start(STATE)
    try:
        name = "kontor_sealing"
        manage.init(cluster.superuser_url, name, {role: cluster.password_of(role) for role in manage.ROLES})
        manage.upgrade(cluster.url_for(manage.OWNER, name))
        settings = load(
            {
                "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, name),
                "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, name),
                "KONTOR_KEY_RING": str(STATE.absolute() / "keyring"),
                "KONTOR_LOG_LEVEL": "error",
            }
        )
        return list(rows_of(settings))
    finally:
        postgres.stop(STATE)


def rows_of(settings: Settings) -> list[Row]:
    app = main(settings)
    hot, keys = app.registry.hot, app.registry.keys
    sealed, clear = datamap()["contact"], plain_contact()
    token = prepare(settings, keys, clear)
    both = DataMap({"contact": clear})
    who = Request.blank(LIST, base_url="https://localhost", headers={"Authorization": f"Bearer {token}"})
    who.get_response(app)
    actor = who.environ["kontor.identity"]

    def listed(entity: EntityDef, known: DataMap, query: ListQuery = QUERY) -> Any:
        return fetch(hot, known, entity, query, actor)

    def cold(query: ListQuery) -> Any:
        keys.cache.clear()
        return listed(sealed, datamap(), query)

    def asked(path: str, **environ: Any) -> Callable[[], Any]:
        request = Request.blank(path, environ, base_url="https://localhost")
        if not environ:
            request.headers["Authorization"] = f"Bearer {token}"

        def whole() -> None:
            answer = request.copy().get_response(app)
            assert answer.status_int == 200, answer.text
            assert answer.text.count(PERSON["email"]) >= 50

        return whole

    first = listed(sealed, datamap()).rows[0]
    assert first["email"] == PERSON["email"] == listed(clear, both).rows[0]["email"]
    works: dict[str, Callable[[], Any]] = {"bare": bare()}
    for kind, query in (("", QUERY), ("_named", NAMED), ("_shown", SHOWN)):
        works |= {
            f"clear{kind}": lambda query=query: listed(clear, both, query),
            f"sealed{kind}": lambda query=query: listed(sealed, datamap(), query),
            f"cold{kind}": lambda query=query: cold(query),
        }
    works |= {
        "request": asked(LIST),
        "request_named": asked(f"{LIST}&fields={','.join(NAMED.fields or ())}"),
        "page": asked("/contacts?limit=50&sort=-created_at", **{"kontor.identity": actor}),
    }
    for work in works.values():
        work()  # Opens the connections whose processes are watched.
    return table(*measured(Clock(hot), works))


def bare() -> Callable[[], None]:
    """The calls of libraries that opening 50 documents again takes: the cipher and CBOR."""
    body = AESGCM(bytes(32)).encrypt(bytes(12), cbor2.dumps(dict(enumerate(PERSON.values(), 20))), bytes(80))

    def calls() -> None:
        for _ in range(50):
            cbor2.loads(AESGCM(bytes(32)).decrypt(bytes(12), body, bytes(80)))

    return calls


def table(application: dict[str, list[float]], database: dict[str, list[float]]) -> list[Row]:
    total = {
        name: list(map(sum, zip(application[name], database[name], strict=True))) for name in application
    }
    rows: list[Row] = []
    for name, words in (
        ("clear", "list of 50 without sealing, statement and rows"),
        ("sealed", "list of 50 sealed, shown before"),
        ("cold", "list of 50 sealed, every key unwrapped"),
        ("bare", "bare calls of the libraries for 50 documents"),
        ("request", "list of 50 sealed, the whole request of the API"),
        ("request_named", "list of 50 sealed, the whole request of the API, names and mails"),
        ("page", "list of 50 sealed, the whole page"),
    ):
        parts = f"application {median(application[name]):.2f}, database {median(database[name]):.2f}"
        rows.append(_row(words, median(total[name]), "ms CPU", conditions=parts))
    for whole, kind, words in (
        ("page", "_shown", "page"),
        ("request_named", "_named", "API, names and mails"),
        ("request", "", "API, all fields"),
    ):
        for name, state in (("sealed", "shown before"), ("cold", "every key unwrapped")):
            ratios, bounds = [], []
            for turn in range(ROUNDS):
                rest = total[whole][turn] - total[f"sealed{kind}"][turn]
                without = rest + total[f"clear{kind}"][turn]
                ratios.append((rest + total[name + kind][turn]) / without)
                bounds.append(1 + total["bare"][turn] / without)
            told = f"list of 50, sealed beside clear: {words}, {state}"
            bound = f"bare calls of the libraries alone: {median(bounds):.2f}"
            ratio = median(ratios)
            rows.append(_row(told, ratio, "ratio", aim=AIM, met=ratio <= AIM, conditions=bound))
    return rows


def _row(name: str, value: float, unit: str, **more: Any) -> Row:
    return {
        "name": f"sealing: {name}",
        "value": round(value, 3),
        "unit": unit,
        "limit": None,
        "ratio": None,
        "aim": "stated",
        "met": True,
        "conditions": f"{ROWS} contacts of 12 sealed fields",
    } | more
