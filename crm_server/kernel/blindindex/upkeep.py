"""What keeps the blind indexes in order: the nightly check of budget and shares, and building them anew.

They are built anew when a table has outgrown its budget, when a normal form has a new version, and after a rotation
of the keys, because tokens die with their epoch. Records are found all the while.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import select

from crm_server.kernel import db
from crm_server.kernel.blindindex.plan import FEWEST_ROWS, Planned, indexable, plan
from crm_server.kernel.blindindex.tokens import LOCK, EntityTokens
from crm_server.kernel.keys import keys_of
from crm_server.kernel.opening import read_rows
from monitoring import metrics
from security.crypto.blindindex import MAX_SHARE, check_budget
from security.crypto.errors import BitBudgetBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from sqlalchemy.orm import Session, sessionmaker

    from compliance.datamap import DataMap, EntityDef
    from crm_server.kernel.actor import Actor

log = structlog.get_logger("kontor.blindindex")

BATCH: Final = 2_000
_SHARES: Final = (
    "select index_id, token, n, total from (select index_id, token, count(*) as n, "
    "sum(count(*)) over (partition by index_id) as total from search.token where index_id = any(%s) "
    "group by index_id, token) c where n > %s * total and total >= %s"
)


@dataclass(frozen=True, slots=True)
class State:
    """How the indexes of an entity stand.

    Attributes:
        rows: Records.
        bits: Bits of all indexes together.
        indexes: Field, bits and epoch of each, old ones that are being replaced included.
        problem: Why the budget is broken, or None.
        overfull: Number of tokens that cover more than 5 % of their field's rows: one value dominates.
        stale: Whether the indexes are to be built anew.
    """

    entity: str
    rows: int
    bits: int
    indexes: tuple[tuple[str, int, int], ...]
    problem: str | None
    overfull: int
    stale: bool


def indexed_entities(datamap: DataMap) -> list[EntityDef]:
    """The entities whose sealed fields may have indexes."""
    return [entity for entity in datamap if indexable(entity.model)]


def check(session: Session, entity: EntityDef) -> State:
    """Compare the indexes of an entity with its budget and with its records, and set the alarms (ENC-17)."""
    tokens = EntityTokens(keys_of(session).keys, session.connection(), entity.model)
    rows = tokens.count()
    newest = tokens.newest()
    expected = max(rows, FEWEST_ROWS)
    problem = None
    try:
        check_budget((one.index.spec for one in newest), expected)
    except BitBudgetBroken as error:
        problem = str(error)
    found = session.connection().exec_driver_sql(
        _SHARES, ([one.id for one in newest], MAX_SHARE, FEWEST_ROWS)
    )
    overfull = len(found.all())
    # A bit more or less isn't worth reading the whole table for.
    stale = len(tokens.live) > len(newest) or _differs(
        plan(entity.model, rows), [one.planned for one in newest]
    )
    for kind, value in (("budget", problem is not None), ("overfull", overfull)):
        metrics.BLIND_INDEX.labels(entity.name, kind).set(int(value))
    if problem or overfull:
        log.error("blind index", entity=entity.name, budget=problem, overfull=overfull)
    return State(
        entity.name,
        rows,
        sum(one.index.spec.bits for one in newest),
        tuple((one.name, one.index.spec.bits, one.index.epoch) for one in tokens.live),
        problem,
        overfull,
        stale,
    )


def _differs(wanted: tuple[Planned, ...], there: list[Planned]) -> bool:
    known = {one.field: one for one in there}
    if known.keys() != {one.field for one in wanted}:
        return True
    return any(
        one.transform != known[one.field].transform or abs(one.bits - known[one.field].bits) > 1
        for one in wanted
    )


def prepare(factory: sessionmaker[Session], actor: Actor, entity: EntityDef, more: int) -> None:
    """Have indexes of the right size before many records come: coarse ones would make an upsert open everything."""
    if not indexable(entity.model):
        return
    with db.open_session(factory, actor) as session:
        tokens = EntityTokens(keys_of(session).keys, session.connection(), entity.model, expected=more)
        rows = tokens.count() + more
        there = {one.field: one.index.spec.bits for one in tokens.newest()}
        db.commit(session)
    # Finer ones are in order: the nightly check coarsens what stays so.
    if any(one.bits > there.get(one.field, 0) + 1 for one in plan(entity.model, rows)[:1]):
        rebuild(factory, actor, entity, expected=rows)


def rebuild(
    factory: sessionmaker[Session],
    actor: Actor,
    entity: EntityDef,
    *,
    expected: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Build the indexes of an entity anew and drop the old ones; returns how many records have been done.

    A kill leaves both generations in force: records are found, and running it again finishes the work. Writers wait
    for one batch at most.

    Args:
        expected: How many records there will be soon, if more than there are.
        progress: Called with (records done, records in all).
    """
    with db.open_session(factory, actor) as session:
        connection = session.connection()
        # Whoever wrote by the old list has committed when this lock is ours.
        connection.exec_driver_sql("select pg_advisory_xact_lock(%s, %s)", (LOCK, entity.number))
        tokens = EntityTokens(keys_of(session).keys, connection, entity.model)
        total = tokens.count()
        epoch = tokens.keys.active_epoch(lambda: connection)
        wanted = plan(entity.model, max(total, expected))
        if not _fresh(tokens, wanted, epoch):
            following = 1 + max((one.generation for one in tokens.live), default=-1)
            tokens.begin(wanted, epoch, following)
        fields = {one.field for one in wanted}
        newest = {one.id for one in tokens.newest() if one.field in fields}
        db.commit(session)
    done = 0
    for count in _batches(factory, actor, entity):
        done += count
        if progress is not None:
            progress(done, max(total, done))
    with db.open_session(factory, actor) as session:
        session.connection().exec_driver_sql("select pg_advisory_xact_lock(%s, %s)", (LOCK, entity.number))
        old = [
            row[0]
            for row in session.connection().exec_driver_sql(
                "select id from search.token_index where entity = %s", (entity.number,)
            )
            if row[0] not in newest
        ]
        session.connection().exec_driver_sql("delete from search.token where index_id = any(%s)", (old,))
        session.connection().exec_driver_sql("delete from search.token_index where id = any(%s)", (old,))
        db.commit(session)
    return done


def _fresh(tokens: EntityTokens, wanted: tuple[Planned, ...], epoch: int) -> bool:
    """Whether the newest indexes are what is wanted, all of one generation in the active epoch."""
    newest = [one for one in tokens.newest() if one.field in {item.field for item in wanted}]
    made = {(one.generation, one.index.epoch) for one in newest}
    return len(made) == 1 and made.pop()[1] == epoch and {one.planned for one in newest} == set(wanted)


def _batches(factory: sessionmaker[Session], actor: Actor, entity: EntityDef) -> Iterator[int]:
    """Write the tokens of all records, each batch in a transaction of its own."""
    table = entity.table
    names = [item.name for item in indexable(entity.model)]
    after: UUID | None = None
    while True:
        with db.open_session(factory, actor) as session:
            # Locked, so that nobody changes a record between its opening and its tokens.
            query: Any = select(table.c.id).order_by(table.c.id).limit(BATCH)
            if after is not None:
                query = query.where(table.c.id > after)
            keys = list(session.execute(query.with_for_update(key_share=True)).scalars())
            if not keys:
                return
            tokens = EntityTokens(keys_of(session).keys, session.connection(), entity.model)
            tokens.replace(list(read_rows(session, entity, names, keys).items()))
            after = keys[-1]
            db.commit(session)
        yield len(keys)
