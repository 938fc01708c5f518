"""Structured logs without personal data: one JSON object a line, with the request id and no bodies, no query strings.

Every process calls `configure` once. Code logs through `structlog.get_logger(__name__)`; records of libraries go the
same way.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# Values under these names are never written, whoever logs them.
_FORBIDDEN = frozenset(
    {
        "address",
        "authorization",
        "body",
        "cookie",
        "email",
        "name",
        "params",
        "password",
        "phone",
        "query",
        "secret",
        "token",
        "value",
        "values",
    }
)


def drop_personal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace values whose name says that they may be personal or secret."""
    for key in _FORBIDDEN & event.keys():
        event[key] = "[withheld]"
    return event


def configure(level: str = "info", style: str = "json") -> None:
    """Send all logs to standard error.

    Args:
        level: Least severe level that is written.
        style: "json" or "text".
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        drop_personal,
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Its access lines hold addresses and query strings; ours are written by the application.
    logging.getLogger("granian.access").disabled = True
    _REQUESTS.wanted = root.isEnabledFor(logging.INFO)
    _REQUESTS.quick = style == "json"


class _Requests:
    """How the lines of requests are written: past the machinery of loggers where nothing of it is needed."""

    wanted = True
    quick = False


_REQUESTS = _Requests()
_request_log = structlog.get_logger("kontor.request")


def request_line(**facts: str | float) -> None:
    """Log that a request was answered. There is one such line for each request, so it is put together by hand.

    Args:
        facts: Request id, method, route, status, milliseconds; nothing personal.
    """
    if not _REQUESTS.wanted:
        return
    if not _REQUESTS.quick:
        _request_log.info("request", **facts)
        return
    line = {
        **facts,
        "event": "request",
        "level": "info",
        "logger": "kontor.request",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    sys.stderr.write(json.dumps(line, separators=(", ", ": ")) + "\n")
