"""What there is to know of the keys: for the page, the command line, the API, the doctor and the metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from crm_server.domain.keys.destruction import Obstacle, obstacles, pending_nodes
from crm_server.kernel.clock import now
from crm_server.kernel.keyring import HORIZON_DAYS, horizon_of
from security.crypto.errors import KeyRingError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crm_server.kernel.keys import Keys
    from crm_server.settings import Settings


_DRILL_GRACE: Final = timedelta(days=2)
"""The drill runs at night; this late it is told."""


@dataclass(frozen=True, slots=True)
class EpochState:
    """One epoch. `due` is when it should be followed (the active one) or destroyed (a retired one)."""

    number: int
    state: str
    created_at: datetime
    retired_at: datetime | None
    destroyed_at: datetime | None
    due: datetime | None
    live: int
    held: int
    proven: bool | None
    veto_until: datetime | None
    approved: bool
    pending: tuple[str, ...]
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node and the epochs that it attests to hold."""

    name: str
    seen_at: datetime
    holds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EscrowState:
    """The newest escrow."""

    epoch: int
    file: str
    keys: int
    made_at: datetime
    opened_at: datetime | None


@dataclass(frozen=True, slots=True)
class DrillState:
    """The newest drill of erasure: how many of the erased were unreadable, and how many others readable."""

    at: datetime
    node: str
    passed: bool
    erased: int
    unreadable: int
    readable: int
    due: datetime


@dataclass(frozen=True, slots=True)
class KeyState:
    """Everything about the keys. `away`: why the provider doesn't answer. `statement`: its promise, word by word."""

    provider: str
    statement: Any
    proves_destruction: bool
    profile: str
    modules: tuple[str, ...]
    away: str | None
    active: int | None
    live: int
    held: int
    erased: int
    behind: int
    by_class: dict[str, dict[str, int]]
    epochs: tuple[EpochState, ...]
    nodes: tuple[NodeState, ...]
    escrow: EscrowState | None
    drill: DrillState | None
    horizon_days: int
    horizon_limit: int

    @property
    def share(self) -> float:
        """Share of the live keys that are under the active epoch, 0 to 1."""
        every = self.live + self.held
        return 1.0 if not every else (every - self.behind) / every

    @property
    def percent(self) -> int:
        """`share` in percent; 100 only when all are."""
        return int(self.share * 100)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        data: dict[str, Any] = asdict(self)
        data["share"] = round(self.share, 6)
        data["statement"] = str(self.statement)
        for item, epoch in zip(data["epochs"], self.epochs, strict=True):
            item["obstacles"] = [obstacle.reason for obstacle in epoch.obstacles]
        return data


def state_of(connection: Connection, keys: Keys, settings: Settings) -> KeyState:
    """The state of all keys, from the database and the ring."""
    capabilities = keys.ring.capabilities
    by_class: dict[str, dict[str, int]] = {}
    by_epoch: dict[int, dict[str, int]] = {}
    for key_class, epoch, state, number in connection.exec_driver_sql(
        "select class, epoch, state, count(*) from keys.data_key group by class, epoch, state order by class"
    ):
        every = by_class.setdefault(key_class, {"active": 0, "held": 0, "erased": 0})
        every[state] += number
        if state != "erased":
            by_epoch.setdefault(epoch, {"active": 0, "held": 0})[state] += number
    epochs = tuple(_epochs(connection, settings, by_epoch))
    active = next((item.number for item in epochs if item.state == "active"), None)

    def total(state: str) -> int:
        return sum(item[state] for item in by_class.values())

    return KeyState(
        provider=capabilities.name,
        statement=capabilities.statement,
        proves_destruction=capabilities.can_prove_destruction,
        profile=keys.profile.value,
        modules=keys.modules,
        away=_away(keys, active),
        active=active,
        live=total("active"),
        held=total("held"),
        erased=total("erased"),
        behind=sum(
            sum(item.values()) for number, item in by_epoch.items() if active is not None and number < active
        ),
        by_class=by_class,
        epochs=epochs,
        nodes=tuple(_nodes(connection)),
        escrow=_escrow(connection),
        drill=last_drill(connection, settings),
        horizon_days=horizon_of(settings),
        horizon_limit=HORIZON_DAYS,
    )


def _away(keys: Keys, active: int | None) -> str | None:
    if active is None:
        return None
    try:
        keys.ring.open_epoch(active)
    except KeyRingError as error:
        return str(error)
    return None


def _epochs(
    connection: Connection, settings: Settings, counted: dict[int, dict[str, int]]
) -> list[EpochState]:
    rows = connection.exec_driver_sql(
        "select e.number, e.state, e.created_at, e.retired_at, e.destroyed_at, e.evidence, (select a.due_at "
        "from identity.approval a where a.kind = 'keys.destroy' and a.state = 'pending' and a.expires_at > now() "
        "and (a.parameters ->> 'epoch')::integer = e.number limit 1), exists (select from keys.destruction d "
        "where d.epoch = e.number and d.done_at is null) from keys.epoch e order by e.number desc limit 50"
    ).all()
    found = []
    for number, state, created, retired, destroyed, evidence, veto_until, approved in rows:
        due = None
        if state == "active":
            due = created + timedelta(days=settings.key_rotation_days)
        elif state == "retired":
            due = retired + timedelta(days=settings.key_destruction_days)
        keys = counted.get(number, {"active": 0, "held": 0})
        found.append(
            EpochState(
                number=number,
                state=state,
                created_at=created,
                retired_at=retired,
                destroyed_at=destroyed,
                due=due,
                live=keys["active"],
                held=keys["held"],
                proven=None if evidence is None else bool(evidence.get("proven")),
                veto_until=veto_until,
                approved=bool(approved),
                pending=pending_nodes(connection, number) if state == "destroyed" else (),
                obstacles=tuple(obstacles(connection, number)) if state == "retired" else (),
            )
        )
    return found


def _nodes(connection: Connection) -> list[NodeState]:
    rows = connection.exec_driver_sql(
        "select node, max(seen_at), array_agg(epoch order by epoch) filter (where holds_at is not null and gone_at is "
        "null) from keys.attestation group by node order by node"
    )
    return [NodeState(name, seen, tuple(holds or ())) for name, seen, holds in rows]


def _escrow(connection: Connection) -> EscrowState | None:
    row = connection.exec_driver_sql(
        "select epoch, file, keys, made_at, opened_at from keys.escrow where gone_at is null "
        "order by made_at desc limit 1"
    ).one_or_none()
    return None if row is None else EscrowState(*row)


def last_drill(connection: Connection, settings: Settings) -> DrillState | None:
    """The newest drill, and when the next one is due."""
    row = connection.exec_driver_sql(
        "select at, node, passed, evidence from keys.drill order by at desc limit 1"
    ).one_or_none()
    if row is None:
        return None
    at, node, passed, evidence = row
    return DrillState(
        at,
        node,
        passed,
        int(evidence["erased"]),
        int(evidence["unreadable"]),
        int(evidence["readable"]),
        at + timedelta(days=settings.key_drill_days),
    )


@dataclass(frozen=True, slots=True)
class Warnings:
    """What an operator must know about the keys, for the doctor: (stable word, value)."""

    late_rotation_days: int = 0
    late_destructions: tuple[int, ...] = ()
    behind: int = 0
    escrow_missing: bool = False
    pending: tuple[tuple[int, tuple[str, ...]], ...] = ()
    drill_failed: bool = False
    drill_late: bool = False


def warnings_of(state: KeyState) -> Warnings:
    """What is late or missing."""
    moment = now()
    active = next((item for item in state.epochs if item.state == "active"), None)
    first = min((item.created_at for item in state.epochs), default=moment)
    due = first if state.drill is None else state.drill.due
    late = 0
    if active is not None and active.due is not None and active.due < moment:
        late = (moment - active.due).days + 1
    return Warnings(
        late_rotation_days=late,
        late_destructions=tuple(
            item.number
            for item in state.epochs
            if item.state == "destroying"
            or (item.state == "retired" and item.due is not None and item.due < moment)
        ),
        behind=state.behind,
        escrow_missing=state.escrow is None and state.live + state.held > 0,
        pending=tuple((item.number, item.pending) for item in state.epochs if item.pending),
        drill_failed=state.drill is not None and not state.drill.passed,
        drill_late=due + _DRILL_GRACE < moment,
    )
