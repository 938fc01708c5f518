"""Loads the made-up world into PostgreSQL by COPY, in as many processes as it is given."""

from __future__ import annotations

import io
import multiprocessing
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, func, select, text

from crm_server.demo import names
from crm_server.demo.sealing import ChunkSealer, classes_of, tenant_key
from crm_server.demo.world import CHUNK, COLUMNS, Stage, Surroundings, World
from crm_server.domain.accounts.models import Account
from crm_server.domain.catalog.models import Price, PriceList, Product
from crm_server.domain.identity.models import (
    Role,
    Team,
    TeamMember,
    Territory,
    TerritoryMember,
    User,
    UserRole,
)
from crm_server.domain.pipeline.models import Pipeline
from crm_server.domain.pipeline.models import Stage as StageModel
from crm_server.domain.tags.models import Tag
from crm_server.kernel import db
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.blindindex.tokens import EntityTokens
from crm_server.kernel.keys import Keys
from crm_server.kernel.loading import copy_into
from crm_server.models import datamap
from security.identity.password import PasswordHasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crm_server.settings import Settings

SCALES = {"small": 1_000, "medium": 100_000, "large": 1_000_000}
_BATCH = 5_000

# Log-in name, name, role, language, team, territory.
USERS = (
    ("manager", "Marion Musterfrau", "Manager", "en", "Sales", "World"),
    ("admin", "Alex Beispiel", "System administrator", "en", None, None),
    ("security", "Sam Example", "Security administrator", "en", None, None),
    ("audit", "Audrey Sample", "Audit administrator", "en", None, None),
    ("sales1", "Felix Probemann", "User", "en", "Sales", "Germany"),
    ("sales2", "Grace Samplewood", "User", "en", "Sales", "United Kingdom"),
    ("sales3", "Henry Demofield", "Sales", "en", "Sales", "United States"),
    ("sales4", "王示例", "Sales", "zh_Hans", "Sales", "China"),
    ("service1", "Clara Musterstein", "User", "en", "Service", "Europe"),
    ("service2", "李演示", "User", "zh_Hans", "Service", "China"),
    ("reader", "Rose Specimenley", "Reader", "en", None, None),
)
TERRITORIES = (
    ("World", None, None),
    ("Europe", "World", None),
    ("Germany", "Europe", "DE"),
    ("United Kingdom", "Europe", "GB"),
    ("Americas", "World", None),
    ("United States", "Americas", "US"),
    ("Asia", "World", None),
    ("China", "Asia", "CN"),
)
TAGS = (("VIP", "yellow"), ("Newsletter", "azure"), ("Trade fair", "green"), ("At risk", "red"))


@dataclass(frozen=True, slots=True)
class Login:
    """A demo user. The password is random and shown once."""

    login: str
    name: str
    role: str


def missing(engine: Engine, contacts: int) -> list[int]:
    """The chunks that are not loaded yet; none when there are accounts that are not of the demo.

    A chunk is one transaction, so a load that was cut off is continued and never doubled.
    """
    wanted = {f"A-{start + 1:07d}": index for index, start in enumerate(range(0, contacts, CHUNK))}
    with db.connect(engine, system_actor(Origin.CLI)) as connection:
        there = set(
            connection.execute(select(Account.external_id).where(Account.external_id.in_(wanted))).scalars()
        )
        if not there and connection.execute(select(Account.id).limit(1)).first() is not None:
            return []
    return [index for key, index in wanted.items() if key not in there]


def load(
    settings: Settings,
    contacts: int,
    *,
    today: date | None = None,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Login], str]:
    """Fill an empty database, or go on where an earlier load was cut off.

    Args:
        settings: Where the database and the key ring are.
        contacts: How many contacts; everything else is in proportion. `SCALES` names the usual numbers.
        today: The day at which the made-up history ends; today by default.
        processes: How many processes load.
        progress: Called with (contacts loaded, contacts in all).

    Returns:
        The users and their common password.
    """
    url: str = settings.database_url
    engine = create_engine(url, hide_parameters=True)
    wanted = missing(engine, contacts)
    keys = _keys(settings)
    password = "-".join(secrets.token_hex(3) for _ in range(3))
    with db.open_session(db.session_factory(engine, settings, keys), system_actor(Origin.CLI)) as session:
        around = _foundations(session, today or datetime.now(UTC).date(), password)
        first_case = _reserve_cases(session, contacts)
        # Made before the processes begin, so that none of them waits for another's.
        for key_class in classes_of(list(datamap())):
            tenant_key(keys, session.connection(), key_class)
        for entity in datamap():
            EntityTokens(keys, session.connection(), entity.model, expected=contacts)
        session.commit()
    engine.dispose()
    jobs = [
        (
            settings,
            index,
            min(CHUNK, contacts - index * CHUNK),
            around,
            first_case + index * CHUNK,
            contacts,
        )
        for index in wanted
    ]
    done = contacts - sum(job[2] for job in jobs)
    for count in _run(jobs, processes):
        done += count
        if progress is not None:
            progress(done, contacts)
    engine = create_engine(url, hide_parameters=True, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for table in ("crm.account", "crm.contact", "crm.opportunity", "crm.activity"):
            # Without statistics the first pages would be planned for empty tables. Only the owner may analyse
            # without a warning, so it is asked for politely and may be skipped.
            connection.execute(text(f"analyze {table}"))
    return [Login(login, name, role) for login, name, role, *_rest in USERS], password


def _run(jobs: list[tuple[Any, ...]], processes: int) -> Iterator[int]:
    if processes == 1 or len(jobs) < 2:
        yield from map(_load_chunk, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_load_chunk, jobs)


def _load_chunk(job: tuple[Any, ...]) -> int:
    settings, index, contacts, around, first_case, expected = job
    chunk = World(index, contacts, around, first_case).make()
    engine = create_engine(settings.database_url, hide_parameters=True)
    try:
        with db.connect(engine, system_actor(Origin.CLI)) as connection:
            sealer = ChunkSealer(_keys(settings), connection, datamap(), expected)
            # COPY is psycopg2's own.
            driver: Any = connection.connection.dbapi_connection
            with driver.cursor() as cursor:
                for table, columns in COLUMNS.items():
                    schema, _dot, name = table.partition(".")
                    for rows in _batches(chunk.rows[table]):
                        names, stored = sealer.rows(table, columns, rows)
                        copy_into(cursor, schema, name, names, io.StringIO(_lines(stored)))
                        sealer.index(table, columns, rows)
            connection.commit()
    finally:
        engine.dispose()
    return int(contacts)


_opened: dict[str, Keys] = {}


def _keys(settings: Settings) -> Keys:
    """The keys of this process: opening a ring takes a while, and each process loads many chunks."""
    url: str = settings.database_url
    if url not in _opened:
        _opened[url] = Keys.open(settings, create_engine(url, hide_parameters=True), listen=False)
    return _opened[url]


def _batches(rows: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _lines(rows: Iterable[tuple[Any, ...]]) -> str:
    """Rows in COPY's text format. The words of the demo hold neither tabs nor backslashes."""
    return "".join("\t".join("\\N" if item is None else str(item) for item in row) + "\n" for row in rows)


def _reserve_cases(session: Session, contacts: int) -> int:
    """Take as many case numbers as there could be cases, so that each chunk knows its own."""
    sequence = text("select pg_get_serial_sequence('crm.\"case\"', 'number')")
    name = session.execute(sequence).scalar_one()
    first: int = session.execute(
        text("select min(n) from (select nextval(:name) as n from generate_series(1, :count)) as taken"),
        {"name": name, "count": contacts + 1},
    ).scalar_one()
    return first


def _kept(session: Session, model: type[Any], key: str, **values: Any) -> Any:
    """The row with this value of `key`; made if it is not there, so that a second start finds the first one's."""
    found = session.scalars(select(model).where(getattr(model, key) == values[key])).first()
    if found is None:
        found = model(**values)
        session.add(found)
    else:
        for name, value in values.items():
            setattr(found, name, value)
    session.flush()
    return found


def _linked(session: Session, model: type[Any], **keys: Any) -> None:
    """A row that only ties two others."""
    if session.get(model, tuple(keys.values())) is None:
        session.add(model(**keys))


def _foundations(session: Session, today: date, password: str) -> Surroundings:
    """Users, teams, territories, products and tags: what the chunks refer to."""
    teams = {name: _kept(session, Team, "name", name=name) for name in ("Sales", "Service")}
    territories: dict[str, Territory] = {}
    for name, parent, _country in TERRITORIES:
        above = territories[parent].id if parent else None
        territories[name] = _kept(session, Territory, "name", name=name, parent_id=above)
    roles = {role.name: role.id for role in session.scalars(select(Role))}
    hashed = PasswordHasher().hash(password)
    users = {}
    for login, name, role, locale, team, territory in USERS:
        user = _kept(
            session,
            User,
            "login",
            login=login,
            name=name,
            email=f"{login}@example.com",
            locale=locale,
            password_hash=hashed,
            timezone=_ZONE[locale],
        )
        _linked(session, UserRole, user_id=user.id, role_id=roles[role])
        if team is not None:
            _linked(session, TeamMember, team_id=teams[team].id, user_id=user.id)
        if territory is not None:
            _linked(session, TerritoryMember, territory_id=territories[territory].id, user_id=user.id)
        users[login] = user
    products = _catalogue(session)
    for name, colour in TAGS:
        _kept(session, Tag, "name", name=name, colour=colour)
    pipeline = session.scalars(select(Pipeline).where(Pipeline.is_default)).one()
    stages = session.scalars(
        select(StageModel).where(StageModel.pipeline_id == pipeline.id).order_by(StageModel.position)
    )
    sellers = [
        str(user.id) for login, user in users.items() if login.startswith(("sales", "service", "manager"))
    ]
    return Surroundings(
        today=today,
        owners=sellers,
        teams=[str(team.id) for team in teams.values()],
        territories={country: str(territories[name].id) for name, _p, country in TERRITORIES if country},
        pipeline=str(pipeline.id),
        stages=[Stage(str(stage.id), stage.kind, stage.probability) for stage in stages],
        products=products,
    )


_ZONE = {"en": "Europe/Berlin", "zh_Hans": "Asia/Shanghai"}


def _catalogue(session: Session) -> list[str]:
    listed = _kept(session, PriceList, "name", name="Standard EUR", currency="EUR")
    made = []
    for name, sku, category, unit, price in names.PRODUCTS:
        product = _kept(session, Product, "sku", name=name, sku=sku, category=category, unit=unit)
        priced = select(Price.id).where(Price.price_list_id == listed.id, Price.product_id == product.id)
        if session.scalar(priced) is None:
            session.add(
                Price(price_list_id=listed.id, product_id=product.id, unit_price=price, currency="EUR")
            )
        made.append(str(product.id))
    return made


def count(engine: Engine) -> dict[str, int]:
    """Rows by table, for the summary."""
    with db.connect(engine, system_actor(Origin.CLI)) as connection:
        return {
            name: connection.execute(
                select(func.count()).select_from(text(f'{name.split(".")[0]}."{name.split(".")[1]}"'))
            ).scalar_one()
            for name in (
                "crm.account",
                "crm.contact",
                "crm.lead",
                "crm.opportunity",
                "crm.activity",
                "crm.case",
            )
        }
