"""Reads request bodies: right media type, not too large, UTF-8, JSON, not too deep. Anything else is a 4xx."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from compliance.datamap.text import _
from crm_server.kernel.errors import BadRequest, TooLarge, UnsupportedMedia

if TYPE_CHECKING:
    from pyramid.request import Request

MAX_DEPTH = 20
_BODY = "kontor.body"
_TYPES = frozenset({"application/json", "application/merge-patch+json"})
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]+)", re.IGNORECASE)


def raw_body(request: Request) -> bytes:
    """The body as bytes, read once; a transaction that has to run again gets it again.

    Raises:
        TooLarge: more than the setting `body_limit`.
    """
    environ = request.environ
    body: bytes | None = environ.get(_BODY)
    if body is None:
        limit: int = request.registry.settings["kontor"].body_limit
        length = request.content_length
        if length is None:
            # Without a length there is a body only if the server says where it ends (chunked).
            length = limit + 1 if environ.get("wsgi.input_terminated") else 0
        elif length > limit:
            raise TooLarge
        body = environ["wsgi.input"].read(length)
        if len(body) > limit:
            raise TooLarge
        environ[_BODY] = body
    return body


def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        UnsupportedMedia: not JSON in UTF-8 by its header.
        TooLarge: too many bytes.
        BadRequest: not JSON, not an object, or nested too deep.
    """
    declared = request.headers.get("Content-Type", "")
    charset = _CHARSET.search(declared)
    if declared.partition(";")[0].strip().lower() not in _TYPES:
        raise UnsupportedMedia(_("Send application/json."))
    if charset and charset[1].lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMedia(_("JSON is written in UTF-8."))
    body = raw_body(request)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            _(
                "The body is not JSON (line ${line}, column ${column}).",
                mapping={"line": error.lineno, "column": error.colno},
            )
        ) from None
    if not isinstance(value, dict):
        raise BadRequest(_("The body must be a JSON object."))
    if too_deep(value, MAX_DEPTH):
        raise BadRequest(_("The body may be nested ${n} deep.", mapping={"n": MAX_DEPTH}))
    return value


def too_deep(value: Any, limit: int) -> bool:
    """Whether lists and objects are nested deeper than `limit`. Not recursive, so depth can't exhaust the stack."""
    level = [value]
    for _depth in range(limit):
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(inner for inner in item.values() if isinstance(inner, dict | list))
            elif isinstance(item, list):
                following.extend(inner for inner in item if isinstance(inner, dict | list))
        if not following:
            return False
        level = following
    return True
