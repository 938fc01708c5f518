"""Destruction of an epoch: what nobody can take back, so everything is asked before (ENC-9), and then time is given.

Each precondition has its own refusal. A destruction is asked for, then a second person releases it or two days pass
without a refusal (the mechanism of `crm_server.domain.approvals`); only then, and if all preconditions still hold, it
happens. A kill in the middle leaves the epoch *destroying*: nothing is wrapped under it any more, and running the
destruction again goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalService, Kind, register
from crm_server.domain.keys import events
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.kernel import db, jobs
from crm_server.kernel.clock import now
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text
    from crm_server.domain.approvals.services import Approval, Release
    from crm_server.domain.keys.work import KeyWork
    from crm_server.kernel.actor import Actor
    from security.crypto.keyring import DestructionEvidence

DESTROY: Final = "keys.destroy"
VETO: Final = timedelta(days=2)
"""After this long without a refusal a destruction that was asked for is released."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an epoch can't be destroyed now: a stable word, and a sentence with the way out."""

    reason: str
    text: Text


@dataclass(frozen=True, slots=True)
class Destroyed:
    """An epoch that is gone. `pending` names the nodes that haven't attested yet that they have nothing of it."""

    epoch: int
    proven: bool
    statement: str
    at: datetime
    pending: tuple[str, ...]
    details: dict[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "at": self.at.isoformat(), "pending": list(self.pending)}


def phrase(epoch: int, keys: int) -> str:
    """What a person types to confirm, with the number of live keys so that it is looked at."""
    return f"destroy epoch {epoch}, {keys} keys stay readable"


def obstacles(connection: Connection, epoch: int) -> list[Obstacle]:
    """What stands against destroying this epoch, apart from approval and time."""
    row = connection.exec_driver_sql(
        "select state, (select number from keys.epoch where state = 'active') from keys.epoch where number = %s",
        (epoch,),
    ).one_or_none()
    if row is None:
        return [Obstacle("unknown", _("There is no such epoch."))]
    state, active = row
    if state == "destroyed":
        return [Obstacle("destroyed", _("This epoch is destroyed already."))]
    if state in ("prepared", "active"):
        return [Obstacle("active", _("This epoch is in use. Rotate first: kontor keys rotate"))]
    found = []
    live, held = connection.exec_driver_sql(
        "select count(*), count(*) filter (where state = 'held') from keys.data_key "
        "where epoch <= %s and state <> 'erased'",
        (epoch,),
    ).one()
    if held:
        found.append(
            Obstacle(
                "held_keys",
                _(
                    "${number} keys under a legal hold would be lost. Wrap them anew: kontor keys rotate",
                    mapping={"number": held},
                ),
            )
        )
    if live - held:
        found.append(
            Obstacle(
                "live_keys",
                _(
                    "${number} keys would be lost. Wrap them anew: kontor keys rotate",
                    mapping={"number": live - held},
                ),
            )
        )
    tokens = connection.exec_driver_sql(
        "select count(*) from search.token_index where epoch <= %s", (epoch,)
    ).scalar_one()
    if tokens:
        found.append(
            Obstacle(
                "tokens",
                _(
                    "${number} blind indexes are made under this epoch. Make them anew: kontor tokens rebuild",
                    mapping={"number": tokens},
                ),
            )
        )
    escrow = connection.exec_driver_sql(
        "select exists (select from keys.escrow where epoch > %s and behind = 0 and opened_at is not null and gone_at "
        "is null)",
        (epoch,),
    ).scalar_one()
    if not escrow:
        found.append(
            Obstacle(
                "no_escrow",
                _(
                    "No escrow of a later epoch was opened in a scratch place. Make one: kontor keys escrow --check"
                ),
            )
        )
    nodes = connection.exec_driver_sql(
        "select distinct node from keys.attestation a where not exists (select from keys.attestation b "
        "where b.node = a.node and b.epoch = %s and b.holds_at is not null) order by node",
        (active,),
    ).scalars()
    missing = list(nodes)
    if missing:
        found.append(
            Obstacle(
                "nodes",
                _(
                    "These nodes haven't attested that they hold epoch ${epoch}: ${nodes}. Start them, or remove "
                    "those that are gone: kontor keys forget-node",
                    mapping={"epoch": active, "nodes": ", ".join(missing)},
                ),
            )
        )
    return found


def request(session: Session, epoch: int, reason: str) -> Approval:
    """Ask for a destruction. A second person releases it, or it is released when nobody has refused for two days.

    Raises:
        KeyWorkRefused: a precondition doesn't hold.
        Conflict: the same is asked for already.
    """
    found = obstacles(session.connection(), epoch)
    if found:
        _refuse(session.get_bind(), db.actor_of(session), epoch, found)
    return ApprovalService(session).request(DESTROY, {"epoch": epoch}, reason)


def agree(session: Session, release: Release) -> Mapping[str, Any]:
    """Note that a destruction is agreed, and let the worker do it. Raises KeyWorkRefused: something stands against."""
    epoch = int(release.parameters["epoch"])
    found = obstacles(session.connection(), epoch)
    if found:
        _refuse(session.get_bind(), db.actor_of(session), epoch, found)
    session.connection().exec_driver_sql(
        "insert into keys.destruction (id, epoch, agreed_at, released_by) values (%s, %s, %s, %s)",
        (release.id, epoch, now(), len(release.released_by)),
    )
    jobs.defer(session, "keys_destroy", once=f"keys_destroy-{epoch}", epoch=epoch)
    return {"epoch": epoch}


def describe(session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    """Which epoch, how many keys stay readable, and that there is no way back."""
    epoch = int(parameters["epoch"])
    live: int = (
        session.connection()
        .exec_driver_sql(
            "select count(*) from keys.data_key where state <> 'erased' and epoch > %s", (epoch,)
        )
        .scalar_one()
    )
    return [
        (_("Epoch"), str(epoch)),
        (_("Keys that stay readable"), f"{live:,}"),
        (_("Way back"), _("None. Backups made under this epoch need the newest escrow.")),
    ]


register(
    Kind(
        DESTROY,
        _("Destruction of an epoch of keys"),
        str(Permission.KEYS_RELEASE),
        execute=agree,
        describe=describe,
        unless_vetoed=VETO,
    )
)


def destroy(work: KeyWork, epoch: int) -> Destroyed:
    """Destroy an epoch that was asked for and agreed to, or go on after a kill. There is no way back.

    Raises:
        KeyWorkRefused: with the precondition that doesn't hold; nothing was destroyed.
        DestructionFailed, ProviderUnavailable: the device didn't do it; run it again.
    """
    with work.engine.begin() as connection:
        state = connection.exec_driver_sql(
            "select state from keys.epoch where number = %s for update", (epoch,)
        ).scalar()
        if state != "destroying":
            _refuse(work.engine, work.actor, epoch, obstacles(connection, epoch))
            _agreed(connection, epoch)
            # Writers of keys end first, and none begins before the epoch is closed for them.
            left = connection.exec_driver_sql("select keys.close_epoch(%s)", (epoch,)).scalar_one()
            if left:
                _refuse(work.engine, work.actor, epoch, obstacles(connection, epoch))
    evidence = work.keys.ring.destroy(epoch)
    return _note(work, epoch, evidence)


def _note(work: KeyWork, epoch: int, evidence: DestructionEvidence) -> Destroyed:
    plain = {
        "provider": evidence.provider,
        "proven": evidence.proven,
        "at": evidence.at.isoformat(),
        "statement": str(evidence.statement),
        "details": dict(evidence.details),
    }
    with work.engine.begin() as connection:
        connection.exec_driver_sql(
            "update keys.epoch set state = 'destroyed', destroyed_at = %s, evidence = %s where number = %s",
            (evidence.at, orjson.dumps(plain).decode(), epoch),
        )
        connection.exec_driver_sql(
            "update keys.destruction set done_at = %s where epoch = %s and done_at is null",
            (now(), epoch),
        )
        events.record(
            connection,
            work.actor,
            events.epoch("epoch_destroyed", epoch=epoch, proven=evidence.proven, provider=evidence.provider),
        )
    work.keys.forget_epochs()
    with work.engine.connect() as connection:
        pending = pending_nodes(connection, epoch)
    return Destroyed(
        epoch, evidence.proven, str(evidence.statement), evidence.at, pending, dict(evidence.details)
    )


def pending_nodes(connection: Connection, epoch: int) -> tuple[str, ...]:
    """Nodes that held the epoch and haven't attested that it is gone: the certificate stays pending (ENC-13)."""
    return tuple(
        connection.exec_driver_sql(
            "select node from keys.attestation where epoch = %s and holds_at is not null and gone_at is null "
            "order by node",
            (epoch,),
        ).scalars()
    )


def forget_node(work: KeyWork, node: str) -> int:
    """Remove a node that will never come back; it attests anew if it does. Returns how many attestations it had."""
    with work.engine.begin() as connection:
        gone = connection.exec_driver_sql("delete from keys.attestation where node = %s", (node,)).rowcount
        if gone:
            events.record(connection, work.actor, events.epoch("node_forgotten", node=node))
    return gone


def _agreed(connection: Connection, epoch: int) -> None:
    found = connection.exec_driver_sql(
        "select 1 from keys.destruction where epoch = %s and done_at is null limit 1", (epoch,)
    ).scalar()
    if found is None:
        raise KeyWorkRefused(
            "not_agreed",
            _(
                "Nobody has asked for this destruction, or it isn't released yet. Ask for it, and wait for the release."
            ),
        )


def _refuse(engine: Any, actor: Actor, epoch: int, found: list[Obstacle]) -> None:
    """Raise the first obstacle, with the others beside it; the refusal is told in a transaction of its own."""
    if not found:
        return
    with engine.begin() as other:
        told = events.epoch("destruction_refused", "failure", found[0].reason, epoch=epoch)
        events.record(other, actor, told)
    raise KeyWorkRefused(
        found[0].reason, found[0].text, obstacles=[{"reason": item.reason} for item in found]
    )
