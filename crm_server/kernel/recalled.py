"""Actors recalled from an earlier request, and confirmed before anything is answered.

Finding out who a token stands for is a round trip of its own. A node recalls what it found a moment ago instead, and
the first statement that tells PostgreSQL who acts looks again, in the same transaction and before anything else:
are token, user and roles what they were? Where they aren't, PostgreSQL ends the transaction (`Outdated`) and the
request begins anew with a fresh look. What a request answers without having told PostgreSQL anything, a refusal as
well, is confirmed by a look of its own before it leaves. So nothing is ever granted or denied from memory alone.

Only requests that are safe in the sense of RFC 9110 §9.2.1 recall: whoever changes something is looked up first.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyramid.request import Request

    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot, Prepared

IDENTITY = "kontor.identity"
"""Where the environment of a request keeps the actor, once looked for."""
_ALLOWED = "kontor.recall"
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(slots=True)
class Recalled:
    """What an actor was recalled from.

    Attributes:
        look: Ends the transaction unless all is as it was.
        values: Its parameters. They hold letters and digits alone, so nothing in them needs quoting.
        confirmed: Whether this request has looked.
    """

    hot: Hot
    look: Prepared
    values: tuple[str, ...]
    confirmed: bool = False

    @property
    def execute(self) -> str:
        """The look as SQL."""
        values = "', '".join(self.values)
        return f"EXECUTE {self.look.name}('{values}')"

    def confirm(self) -> None:
        """Look, unless this request has looked already.

        Raises:
            Outdated: something has changed.
        """
        if not self.confirmed:
            self.hot.run(self.look, self.values)
            self.confirmed = True


@contextmanager
def allowed(request: Request) -> Iterator[None]:
    """Let the actor be recalled while the block lasts, if the request is safe. The block confirms who was recalled."""
    request.environ[_ALLOWED] = request.method in _SAFE
    try:
        yield
    finally:
        request.environ[_ALLOWED] = False


def may_recall(request: Request) -> bool:
    """Whether the actor of this request may be recalled."""
    return bool(request.environ.get(_ALLOWED))


def confirm(request: Request) -> None:
    """Look whether the actor is still who was recalled, unless that is known.

    Raises:
        Outdated: something has changed.
    """
    actor: Actor | None = request.environ.get(IDENTITY)
    if actor is not None and actor.recalled is not None:
        actor.recalled.confirm()


def look_afresh(request: Request) -> None:
    """Forget who the request comes from; it is not recalled again."""
    request.environ.pop(IDENTITY, None)
    request.environ[_ALLOWED] = False
