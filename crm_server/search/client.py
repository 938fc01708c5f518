"""How the application asks the search service: a few connections that stay open, and errors that say what to do."""

from __future__ import annotations

import os
import queue
import socket
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from compliance.datamap.text import _
from crm_server.kernel.errors import AppError, BadQuery, TooManyRequests
from crm_server.search.places import socket_path
from crm_server.search.protocol import (
    Answer,
    Find,
    Group,
    Grouped,
    Groups,
    Hits,
    Ids,
    Keep,
    Match,
    Refused,
    Request,
    State,
    Status,
    Walk,
    receive_answer,
    send,
)

if TYPE_CHECKING:
    from pathlib import Path

    from crm_server.settings import Settings

_TIMEOUT = 10.0
_KEPT = 16


class SearchUnavailable(AppError):
    """The search service does not answer. Lists that don't need it go on."""

    status = 503
    code = "search_unavailable"
    title = _(
        "Searching and sorting by protected fields is not possible at the moment. Lists sorted by other fields go on "
        "working; please try again shortly."
    )


class SearchLoading(SearchUnavailable):
    """The search service is still loading; `percent` of the records are there."""

    code = "search_loading"
    title = _("The search index is being loaded. Lists sorted by other fields go on working meanwhile.")

    def __init__(self, percent: int) -> None:
        super().__init__(_("Loaded so far: ${percent} %.", mapping={"percent": percent}), percent=percent)
        self.percent = percent


class SearchPreparing(SearchUnavailable):
    """An order that was never asked for before is being made."""

    code = "search_preparing"
    title = _("The order by this field is being prepared. Please try again in a few seconds.")


class Unseen(Exception):
    """The service does not know what the reader sees: name it."""


class SearchClient:
    """Asks the service of this node. Safe to share between threads; connections are made when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._free: queue.LifoQueue[tuple[int, socket.socket]] = queue.LifoQueue(_KEPT)

    def close(self) -> None:
        """Close the connections that are free."""
        while True:
            try:
                self._free.get_nowait()[1].close()
            except queue.Empty:
                return

    def __del__(self) -> None:
        """A process that drops its client leaves no connection behind."""
        self.close()

    def _connection(self) -> tuple[socket.socket, bool]:
        """A connection, and whether it was used before."""
        while True:
            try:
                owner, channel = self._free.get_nowait()
            except queue.Empty:
                break
            if owner == os.getpid():
                return channel, True
            channel.close()  # Of the process that forked this one, which keeps its own end.
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(_TIMEOUT)
        try:
            channel.connect(self._path)
        except OSError:
            channel.close()
            raise
        return channel, False

    def ask(self, request: Request) -> Answer:
        """Send one request and wait for its answer.

        Raises:
            SearchUnavailable: nobody answers, or the service can't answer this now.
            TooManyRequests: the person has searched too often.
            BadQuery: the page begins at a record that is gone.
            Unseen: what the reader sees must be named.
        """
        while True:
            try:
                channel, used = self._connection()
            except OSError:
                raise SearchUnavailable from None
            try:
                send(channel, request)
                found = receive_answer(channel)
            except (OSError, ValueError, msgspec.MsgspecError):
                found = None
            if found is None:
                channel.close()
                if used:
                    continue  # The service was started again since; a fresh connection will tell.
                raise SearchUnavailable
            try:
                self._free.put_nowait((os.getpid(), channel))
            except queue.Full:
                channel.close()
            if isinstance(found, Refused):
                raise _refusal(found)
            return found

    def state(self) -> State:
        """How complete the index is."""
        return _expect(self.ask(Status()), State)

    def match(self, request: Match) -> Ids:
        """The ids for which a condition holds."""
        return _expect(self.ask(request), Ids)

    def keep(self, request: Keep) -> Ids:
        """Those of some ids for which a condition holds."""
        return _expect(self.ask(request), Ids)

    def walk(self, request: Walk) -> Ids:
        """Ids in the order of a field."""
        return _expect(self.ask(request), Ids)

    def find(self, request: Find) -> Hits:
        """The records that fit a text best."""
        return _expect(self.ask(request), Hits)

    def groups(self, request: Groups) -> list[Group]:
        """Ids gathered by equal values."""
        return _expect(self.ask(request), Grouped).groups


@cache
def _client(path: Path) -> SearchClient:
    return SearchClient(path)


def client_of(settings: Settings) -> SearchClient:
    """The client of this process for the service that the settings name."""
    return _client(socket_path(settings))


def _expect(answer: Answer, kind: type[Any]) -> Any:
    if not isinstance(answer, kind):
        raise SearchUnavailable
    return answer


def _refusal(answer: Refused) -> Exception:
    match answer.reason:
        case "unseen":
            return Unseen()
        case "loading":
            return SearchLoading(answer.number)
        case "preparing":
            return SearchPreparing()
        case "limited":
            return TooManyRequests("search", answer.number)
        case "gone":
            return BadQuery(
                "cursor",
                _("The record at which this page begins is not there any more. Start from the first page."),
            )
    return SearchUnavailable()
