"""What the inbox shows: plain rows of the requests that concern somebody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import aliased

from crm_server.domain.approvals.kinds import known
from crm_server.domain.approvals.models import STATES, Approval, ApprovalVote
from crm_server.domain.identity.queries import names_of
from crm_server.kernel.actor import SYSTEM_ID
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap.text import Text
    from crm_server.kernel.actor import Actor

__all__ = ["STATES", "ApprovalRow", "decidable", "inbox", "one", "waiting"]

COMMAND_LINE = "kontor"
MOST = 200


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """A request as the person who asks sees it."""

    id: UUID
    version: int
    kind: str
    label: Text | str
    state: str
    reason: str = field(repr=False)
    parameters: dict[str, Any] = field(repr=False)
    lines: Sequence[tuple[Text, str | Text]] = field(repr=False)
    digest: str
    requested_by: UUID | None
    requester: str | None = field(repr=False)
    requested_at: datetime
    expires_at: datetime
    due_at: datetime | None
    needed: int
    released: tuple[str, ...] = field(repr=False)
    decided_at: datetime | None
    decider: str | None = field(repr=False)
    remark: str | None = field(repr=False)
    executed_at: datetime | None
    result: dict[str, Any] | None = field(repr=False)
    mine: bool
    may_decide: bool

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "version": self.version,
            "kind": self.kind,
            "state": self.state,
            "reason": self.reason,
            "parameters": self.parameters,
            "digest": self.digest,
            "requested_by": self.requested_by,
            "requested_at": self.requested_at,
            "expires_at": self.expires_at,
            "due_at": self.due_at,
            "persons_needed": self.needed,
            "persons_released": len(self.released),
            "decided_at": self.decided_at,
            "remark": self.remark,
            "executed_at": self.executed_at,
            "result": self.result,
            "mine": self.mine,
            "may_decide": self.may_decide,
        }


def decidable(actor: Actor) -> list[str]:
    """Names of the kinds that somebody may decide about."""
    return [name for name, kind in known().items() if actor.may(kind.permission)]


def waiting(session: Session) -> int:
    """How many requests wait for the actor's decision."""
    actor = actor_of(session)
    kinds = decidable(actor)
    if not kinds:
        return 0
    return session.scalar(select(func.count()).select_from(Approval).where(*_waiting(actor, kinds))) or 0


def inbox(session: Session, *, state: str | None = None) -> list[ApprovalRow]:
    """What concerns the actor: what waits for them first, then what is open, then the rest, newest first."""
    actor = actor_of(session)
    query = select(Approval).where(_visible(actor)).order_by(Approval.created_at.desc()).limit(MOST)
    if state is not None:
        query = query.where(Approval.state == state)
    rows = _rows(session, list(session.scalars(query)))
    rank = {"pending": 1, "released": 1}
    return sorted(rows, key=lambda row: 0 if row.may_decide else rank.get(row.state, 2))


def one(session: Session, key: UUID) -> ApprovalRow:
    """One request that concerns the actor. Raises NotFound."""
    found = session.scalars(
        select(Approval).where(Approval.id == key, _visible(actor_of(session)))
    ).one_or_none()
    if found is None:
        raise NotFound
    return _rows(session, [found])[0]


def _visible(actor: Actor) -> Any:
    if actor.all_permissions:
        return Approval.id.is_not(None)
    return or_(Approval.requested_by == actor.id, Approval.kind.in_(decidable(actor)))


def _waiting(actor: Actor, kinds: list[str]) -> tuple[Any, ...]:
    vote = aliased(ApprovalVote)
    voted = select(vote.approval_id).where(vote.approval_id == Approval.id, vote.user_id == actor.id).exists()
    return (
        Approval.state == "pending",
        Approval.expires_at > now(),
        Approval.kind.in_(kinds),
        Approval.requested_by.is_distinct_from(actor.id),
        ~voted,
    )


def _rows(session: Session, found: list[Approval]) -> list[ApprovalRow]:
    actor = actor_of(session)
    votes: dict[UUID, list[UUID]] = {}
    query = select(ApprovalVote.approval_id, ApprovalVote.user_id).where(
        ApprovalVote.approval_id.in_([one.id for one in found])
    )
    for key, user in session.execute(query.order_by(ApprovalVote.voted_at)):
        votes.setdefault(key, []).append(user)
    people = {item for row in found for item in (row.requested_by, row.decided_by, *votes.get(row.id, ()))}
    names = names_of(session, people)
    kinds = known()
    return [_row(session, row, votes.get(row.id, []), names, kinds.get(row.kind), actor) for row in found]


def _row(
    session: Session,
    row: Approval,
    votes: list[UUID],
    names: dict[UUID, str],
    kind: Any,
    actor: Actor,
) -> ApprovalRow:
    live = row.expires_at > now()
    return ApprovalRow(
        id=row.id,
        version=row.version,
        kind=row.kind,
        label=kind.label if kind else row.kind,
        state=row.state if live or row.state not in ("pending", "released") else "expired",
        reason=row.reason,
        parameters=row.asked,
        lines=kind.describe(session, row.asked) if kind else (),
        digest=row.digest,
        requested_by=row.requested_by,
        requester=names.get(row.requested_by) if row.requested_by else COMMAND_LINE,
        requested_at=row.created_at,
        expires_at=row.expires_at,
        due_at=row.due_at,
        needed=row.needed,
        released=tuple(names.get(one, "–") for one in votes),
        decided_at=row.decided_at,
        decider=names.get(row.decided_by) if row.decided_by else None,
        remark=row.remark,
        executed_at=row.executed_at,
        result=row.result,
        mine=row.requested_by == actor.id,
        may_decide=(
            row.state == "pending"
            and live
            and kind is not None
            and actor.id != SYSTEM_ID
            and actor.may(kind.permission)
            and row.requested_by != actor.id
            and actor.id not in votes
        ),
    )
