"""What the API views of domains share: addresses with their methods, and strict reading of small bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.datamap.text import _
from crm_server.api.body import json_object
from crm_server.api.context import UUID_PATTERN, collection_context, named
from crm_server.kernel.errors import BadQuery, Errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyramid.config import Configurator
    from pyramid.request import Request

COLLECTION = "{collection:[a-z-]+}"
RECORD = f"{COLLECTION}/{{id:{UUID_PATTERN}}}"


def key_pattern(name: str) -> str:
    """A key in an address."""
    return f"{{{name}:{UUID_PATTERN}}}"


def one_of(*collections: str) -> str:
    """The beginning of the address of a record of certain collections."""
    return f"{{collection:{'|'.join(collections)}}}/{{id:{UUID_PATTERN}}}"


def add_action(config: Configurator, name: str, pattern: str, views: Mapping[str, tuple[Any, str]]) -> None:
    """Add an address below /api/v1.

    Args:
        name: Name of the route.
        pattern: Its address; with `{collection}` in it, permissions are asked for that kind of record.
        views: HTTP method to (view, permission). Any other method is answered with 405.
    """
    config.add_route(name, f"/{pattern}", factory=collection_context if "{collection" in pattern else None)
    for method, (view, permission) in views.items():
        config.add_view(view, route_name=name, request_method=method, permission=permission)


def body_of(request: Request, **kinds: str) -> dict[str, Any]:
    """The body of an action, with nothing in it but what `kinds` names.

    Args:
        request: The request.
        kinds: Name to "id", "text", "flag" or "object"; with "!" at the end it must be there.

    Returns:
        The values that were given and are not null; ids as UUID.

    Raises:
        ValidationFailed: naming each place.
    """
    given = json_object(request)
    errors = Errors()
    values: dict[str, Any] = {}
    for name in given.keys() - kinds.keys():
        pointer = name.replace("~", "~0").replace("/", "~1")
        errors.add(f"/{pointer}", "unknown_field", _("There is no such field."))
    for name, kind in kinds.items():
        value = given.get(name)
        if value is None:
            if kind.endswith("!"):
                errors.add(f"/{name}", "required", _("This field must be filled in."))
            continue
        fits, found = _read(kind.removesuffix("!"), value)
        if fits:
            values[name] = found
        else:
            errors.add(f"/{name}", "type", _("This is of the wrong type."))
    errors.raise_if_any()
    return values


def _read(kind: str, value: Any) -> tuple[bool, Any]:
    if kind == "id":
        try:
            return (True, UUID(value)) if isinstance(value, str) and len(value) == 36 else (False, None)
        except ValueError:
            return False, None
    wanted = {"text": str, "flag": bool, "object": dict}[kind]
    # A lone surrogate or NUL is no text that a database keeps.
    sound = isinstance(value, wanted) and not (isinstance(value, str) and "\x00" in value)
    return sound, value


def page_of(
    request: Request, *more: str, default: int, largest: int
) -> tuple[dict[str, str], int, str | None]:
    """The parameters of a stream: what is named in `more`, `limit`, and the cursor `after`."""
    given = named(request, {"limit", "after", *more})
    text = given.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= largest):
        raise BadQuery("limit", _("A number from 1 to ${n} is expected here.", mapping={"n": largest}))
    return given, int(text), given.get("after")


def key_in(given: Mapping[str, str], name: str) -> UUID | None:
    """A key in a parameter."""
    text = given.get(name)
    if text is None:
        return None
    fits, found = _read("id", text)
    if not fits:
        raise BadQuery(name, _("An id (UUID) is expected here."))
    return found
