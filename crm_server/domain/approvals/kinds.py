"""What can be asked for: each domain registers its kinds of acts here, by way of `services.register`.

A kind is registered when the module that declares it is imported; `crm_server.approvals` imports them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import Text, _

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Release:
    """A released request, as what carries it out sees it.

    Attributes:
        id: Key of the request; evidence names it.
        parameters: What was asked for, exactly as it was released.
        digest: SHA-256 over kind and parameters, in hex.
        requested_by: None when it was asked for on the command line.
        released_by: Those who said yes, in order; empty when a timer ran out without a veto.
    """

    id: UUID
    kind: str
    reason: str = field(repr=False)
    parameters: Mapping[str, Any] = field(repr=False)
    digest: str
    requested_by: UUID | None
    released_by: tuple[UUID, ...]
    requested_at: datetime


def _nothing(_session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    return [(_("What"), ", ".join(f"{name}: {value}" for name, value in parameters.items()))]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of act that takes two persons.

    Attributes:
        name: Stable, such as "records.export"; it stands in events.
        label: What people call it.
        permission: What the second person must hold.
        execute: Carries it out, in the transaction of the second person's release; what it returns is kept
            as the result and must hold no personal data. None: whoever asked carries it out and says so by
            `ApprovalService.claim`.
        describe: The parameters in words, for the person who decides.
        lifetime: How long a request waits for a second person, and a released one to be carried out.
        unless_vetoed: Carried out by itself after this time if nobody has refused; None: never.
        sealed: Names of parameters that may name people; they are kept sealed.
    """

    name: str
    label: Text
    permission: str
    execute: Callable[[Session, Release], Mapping[str, Any] | None] | None = None
    describe: Callable[[Session, Mapping[str, Any]], Sequence[tuple[Text, str | Text]]] = _nothing
    lifetime: timedelta = timedelta(days=3)
    unless_vetoed: timedelta | None = None
    sealed: frozenset[str] = frozenset()


_KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Make a kind known. Raises ValueError when its name is taken by another."""
    if _KINDS.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"approvals: the kind {kind.name} is registered twice")
    return kind


def known() -> Mapping[str, Kind]:
    """All kinds by name."""
    return MappingProxyType(_KINDS)
