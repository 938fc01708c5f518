"""The process `kontor search serve`: one socket, one thread a connection."""

from __future__ import annotations

import os
import socket
import socketserver
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from crm_server.search.hardening import harden
from crm_server.search.places import socket_path
from crm_server.search.protocol import Refused, receive_request, send
from crm_server.search.service import SearchService

if TYPE_CHECKING:
    from crm_server.settings import Settings

log = structlog.get_logger("kontor.search")

_LONGEST_PATH = 100
_MOST_PROCESSES = 4


class SocketRefused(Exception):
    """The socket can't be made; the message says why and what to do."""


class _Handler(socketserver.BaseRequestHandler):
    """One connection: requests one after the other, until the client closes it."""

    server: SearchServer

    def handle(self) -> None:
        """Answer until there is nothing more to answer."""
        try:
            while (request := receive_request(self.request)) is not None:
                send(self.request, self.server.service.answer(request))
        except (msgspec.MsgspecError, ValueError):
            log.warning("a request is not of this protocol")
            send(self.request, Refused("unknown"))
        except OSError:
            return


class SearchServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on the socket, which only the user of this process can use."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: Path, service: SearchService) -> None:
        self.service = service
        self.path = path
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise SocketRefused(
                f"The path {path} is too long for a UNIX socket. Name a shorter one in KONTOR_SEARCH_SOCKET."
            )
        _clear(path)
        super().__init__(str(path), _Handler, bind_and_activate=False)
        before = os.umask(0o177)
        try:
            self.server_bind()
        finally:
            os.umask(before)
        self.server_activate()

    def server_close(self) -> None:
        """Close and remove the socket."""
        super().server_close()
        self.path.unlink(missing_ok=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the mistake; the connection is closed and the others go on."""
        del request, client_address
        log.error("a request can't be answered", error=type(sys.exception()).__name__)


def _clear(path: Path) -> None:
    """Remove the socket that a killed process left behind.

    Raises:
        SocketRefused: another process answers there, or it is something else than a socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SocketRefused(
                f"{path} is no socket. Remove it, or name another one in KONTOR_SEARCH_SOCKET."
            )
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise SocketRefused(f"A search service answers at {path} already. Stop it first.")


def processes(settings: Settings) -> int:
    """How many processes read at the first load."""
    chosen: int = settings.search_processes
    return chosen or min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))


def build(settings: Settings) -> SearchServer:
    """The server, loading already; `serve_forever` answers.

    Raises:
        SocketRefused: with the reason and the way out.
    """
    locked = harden()
    service = SearchService(settings, processes=processes(settings), locked=locked)
    server = SearchServer(socket_path(settings), service)
    service.start()
    return server
