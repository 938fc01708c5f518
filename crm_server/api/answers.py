"""Answers: JSON bodies with as few steps as possible, entity tags, and the preconditions of clients."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from pyramid.response import Response

from compliance.datamap.text import _
from crm_server.kernel.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyramid.request import Request

JSON = "application/json"
_TAG = re.compile(r'"([0-9]{1,9})"')
_OPTIONS = orjson.OPT_UTC_Z


def encode(value: Any) -> bytes:
    """JSON in UTF-8; keys are text."""
    return orjson.dumps(value, option=_OPTIONS)


def answer(
    value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = (), media_type: str = JSON
) -> Response:
    """A response with a JSON body."""
    body = encode(value)
    return Response(
        status=status,
        app_iter=[body],
        headerlist=[("Content-Type", media_type), ("Content-Length", str(len(body))), *headers],
    )


def empty(status: int = 204, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A response without a body."""
    return Response(status=status, app_iter=[], headerlist=list(headers))


def etag(version: int) -> str:
    """The entity tag of a record: its version in quotes (RFC 9110 §8.8.3)."""
    return f'"{version}"'


def expected_version(request: Request) -> int | None:
    """The version in If-Match, or None without the header and for "*", which would protect nothing.

    Raises:
        BadRequest: something else than one entity tag of ours.
    """
    text = request.headers.get("If-Match")
    if text is None or text.strip() == "*":
        return None
    found = _TAG.fullmatch(text.strip())
    if found is None:
        raise BadRequest(_('If-Match takes the ETag of the record, such as "3".'))
    return int(found[1])


def not_modified(request: Request, version: int) -> bool:
    """Whether the client has this version already (If-None-Match, RFC 9110 §13.1.2)."""
    text = request.headers.get("If-None-Match")
    if text is None:
        return False
    tags = {part.strip().removeprefix("W/") for part in text.split(",")}
    return "*" in tags or etag(version) in tags
