"""Two-person release: one mechanism for every act that nobody may do alone.

Somebody asks with a reason; the parameters are frozen and fingerprinted. A second person who holds the kind's
permission says yes or no. A released act is carried out once: at once by the kind's own function, or by
whoever asked, who claims the release when doing it. Requests expire, can be withdrawn, and kinds with a timer
are carried out by themselves unless somebody refuses in time (ENC-9).

Asked for on the command line, where nobody has proved who they are, an act takes two persons beside that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from sqlalchemy import select

from compliance.audit.events import canonical
from compliance.datamap.text import Text, _
from crm_server.domain.approvals import events
from crm_server.domain.approvals.kinds import Kind, Release, known, register
from crm_server.domain.approvals.models import Approval, ApprovalVote
from crm_server.kernel.actor import SYSTEM_ID, Origin
from crm_server.kernel.clock import now
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import AppError, Conflict, Errors, NotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from crm_server.kernel.actor import Actor

__all__ = [
    "Approval",
    "ApprovalRequired",
    "ApprovalService",
    "Kind",
    "Release",
    "fingerprint",
    "known",
    "register",
]

LONGEST_REASON = 1000
MOST_OPEN = 100
"""Requests that one person may have open at a time."""


class ApprovalRequired(AppError):
    """The act takes a second person who has not said yes yet."""

    status = 403
    code = "approval_required"
    title = _("This takes a second person. Ask for it with a reason; after the release it can be done once.")

    def __init__(self, kind: str, parameters: Mapping[str, Any], detail: Text | None = None) -> None:
        super().__init__(detail, kind=kind, parameters=dict(parameters))


def fingerprint(kind: str, parameters: Mapping[str, Any]) -> str:
    """SHA-256 over kind and parameters as deterministic JSON (RFC 8785 for what JSON holds here), in hex."""
    return hashlib.sha256(canonical({"kind": kind, "parameters": dict(parameters)})).hexdigest()


class ApprovalService:
    """Asks, releases, refuses, withdraws and carries out, as the actor of a session."""

    states: ClassVar[frozenset[str]] = frozenset({"pending", "released"})

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def actor(self) -> Actor:
        """Who acts."""
        return actor_of(self.session)

    def request(self, kind: str, parameters: Mapping[str, Any], reason: str) -> Approval:
        """Ask for an act.

        Args:
            kind: Name of a registered kind.
            parameters: What shall be done, as values that JSON has. They can't be changed afterwards.
            reason: Why, in the words of whoever asks; at most 1,000 characters.

        Raises:
            ValidationFailed: no reason.
            Conflict: the same is asked for already, or too much is.
            KeyError: no such kind.
        """
        wanted, moment = known()[kind], now()
        said = " ".join(reason.split())
        errors = Errors()
        if not said or len(said) > LONGEST_REASON:
            errors.add("/reason", "required", _("Give a reason of at most 1,000 characters."))
        errors.raise_if_any()
        digest = fingerprint(kind, parameters)
        person = None if self.actor.id == SYSTEM_ID else self.actor.id
        open_ones = self._open(person)
        if any(one.digest == digest for one in open_ones):
            raise Conflict(_("You have asked for the same already. It is among your requests."))
        if len(open_ones) >= MOST_OPEN:
            raise Conflict(_("You have too many open requests. Withdraw what you no longer need."))
        approval = Approval(
            kind=kind,
            state="pending",
            reason=said,
            parameters={name: value for name, value in parameters.items() if name not in wanted.sealed},
            sought={name: value for name, value in parameters.items() if name in wanted.sealed} or None,
            digest=digest,
            requested_by=person,
            needed=1 if person else 2,
            expires_at=moment + wanted.lifetime,
            due_at=moment + wanted.unless_vetoed if wanted.unless_vetoed else None,
        )
        self.session.add(approval)
        self.session.flush()
        events.record(self.session, "requested", approval)
        return approval

    def release(self, key: UUID) -> Approval:
        """Say yes as the second person; the last yes that is needed carries the act out.

        Raises:
            NotAllowed: one's own request, no permission, or no person.
            Conflict: it is decided, withdrawn or expired, or one has said yes already.
        """
        approval = self._lock(key)
        kind = self._decider(approval)
        self._must_be(approval, "pending")
        votes = self._votes(key)
        if self.actor.id in votes:
            raise Conflict(_("You have released this already; another person is needed."))
        self.session.add(ApprovalVote(approval_id=key, user_id=self.actor.id, voted_at=now()))
        self.session.flush()
        if len(votes) + 1 < approval.needed:
            events.record(self.session, "seconded", approval)
            return approval
        self._decide(approval, "released")
        approval.expires_at = now() + kind.lifetime
        self.session.flush()
        events.record(self.session, "released", approval)
        if kind.execute is not None:
            self._execute(approval, kind)
        return approval

    def veto(self, key: UUID, remark: str = "") -> Approval:
        """Say no. One no is enough. Raises as `release` does."""
        approval = self._lock(key)
        self._decider(approval)
        self._must_be(approval, "pending", "released")
        approval.remark = " ".join(remark.split())[:LONGEST_REASON] or None
        self._decide(approval, "vetoed")
        self.session.flush()
        events.record(self.session, "vetoed", approval)
        return approval

    def withdraw(self, key: UUID) -> Approval:
        """Take back what one asked for. On the command line, what was asked for there."""
        approval = self._lock(key)
        own = None if self.actor.id == SYSTEM_ID else self.actor.id
        if approval.requested_by != own:
            raise NotFound
        self._must_be(approval, "pending", "released")
        approval.state = "withdrawn"
        self.session.flush()
        events.record(self.session, "withdrawn", approval)
        return approval

    def claim(self, kind: str, parameters: Mapping[str, Any]) -> Release:
        """Use up a release of exactly these parameters, given to the actor. Call it where the act is done.

        Raises:
            ApprovalRequired: there is none.
        """
        person = None if self.actor.id == SYSTEM_ID else self.actor.id
        digest = fingerprint(kind, parameters)
        approval = self.session.scalars(
            select(Approval)
            .where(
                Approval.kind == kind,
                Approval.digest == digest,
                Approval.state == "released",
                Approval.requested_by.is_(None) if person is None else Approval.requested_by == person,
                Approval.expires_at > now(),
            )
            .order_by(Approval.created_at)
            .limit(1)
            .with_for_update()
            .execution_options(populate_existing=True)
        ).first()
        if approval is None or known()[kind].execute is not None:
            raise ApprovalRequired(kind, parameters)
        self._done(approval, None)
        return self._release_of(approval)

    def tick(self) -> int:
        """Let expire what nobody decided in time, and carry out what a timer lets; returns how many."""
        moment = now()
        due = self.session.scalars(
            select(Approval)
            .where(
                Approval.state.in_(("pending", "released")),
                (Approval.expires_at <= moment) | (Approval.due_at <= moment),
            )
            .order_by(Approval.created_at)
            .with_for_update(skip_locked=True)
        ).all()
        for approval in due:
            kind = known().get(approval.kind)
            timer = approval.state == "pending" and approval.due_at is not None and approval.due_at <= moment
            if timer and kind is not None and kind.execute is not None:
                approval.state, approval.decided_at = "released", moment
                self.session.flush()
                events.record(self.session, "released", approval, "no_veto")
                self._execute(approval, kind)
            elif approval.expires_at <= moment:
                approval.state = "expired"
                self.session.flush()
                events.record(self.session, "expired", approval)
        return len(due)

    def _execute(self, approval: Approval, kind: Kind) -> None:
        """Carry out; what can't be done any more is told and final, and leaves nothing half done."""
        assert kind.execute is not None  # noqa: S101 - the callers have looked
        try:
            with self.session.begin_nested():
                result = kind.execute(self.session, self._release_of(approval))
        except AppError as refused:
            text = refused.detail or refused.title
            approval.state, approval.remark = "failed", str(text.interpolate())[:LONGEST_REASON]
            self.session.flush()
            events.record(self.session, "failed", approval, refused.code)
            return
        self._done(approval, result)

    def _done(self, approval: Approval, result: Mapping[str, Any] | None) -> None:
        approval.state, approval.executed_at = "executed", now()
        approval.result = dict(result) if result else None
        self.session.flush()
        events.record(self.session, "executed", approval)

    def _release_of(self, approval: Approval) -> Release:
        return Release(
            id=approval.id,
            kind=approval.kind,
            reason=approval.reason,
            parameters=approval.asked,
            digest=approval.digest,
            requested_by=approval.requested_by,
            released_by=tuple(self._votes(approval.id)),
            requested_at=approval.created_at,
        )

    def _decide(self, approval: Approval, state: str) -> None:
        approval.state, approval.decided_at, approval.decided_by = state, now(), self.actor.id

    def _decider(self, approval: Approval) -> Kind:
        """The kind, if the actor may decide about the request."""
        kind = known().get(approval.kind)
        if kind is None:
            raise NotFound
        if self.actor.id == SYSTEM_ID or self.actor.origin in (Origin.CLI, Origin.JOB, Origin.SYSTEM):
            raise NotAllowed("no_person", _("Only a person who is logged in can release or refuse."))
        if approval.requested_by == self.actor.id:
            raise NotAllowed("own_request", _("Somebody else has to decide about your request."))
        if not self.actor.may(kind.permission):
            # What somebody may not decide about, they don't learn of either.
            raise NotFound
        if fingerprint(approval.kind, approval.asked) != approval.digest:
            raise Conflict(_("The request was altered after it was made. It can't be released."))
        return kind

    def _must_be(self, approval: Approval, *states: str) -> None:
        if approval.state in states and approval.expires_at > now():
            return
        raise Conflict(_("This request is no longer open."))

    def _votes(self, key: UUID) -> list[UUID]:
        query = select(ApprovalVote.user_id).where(ApprovalVote.approval_id == key)
        return list(self.session.scalars(query.order_by(ApprovalVote.voted_at, ApprovalVote.user_id)))

    def _open(self, person: UUID | None) -> list[Approval]:
        mine = Approval.requested_by.is_(None) if person is None else Approval.requested_by == person
        query = select(Approval).where(mine, Approval.state.in_(self.states), Approval.expires_at > now())
        return list(self.session.scalars(query))

    def _lock(self, key: UUID) -> Approval:
        found = self.session.get(Approval, key, with_for_update=True, populate_existing=True)
        if found is None:
            raise NotFound
        return found
