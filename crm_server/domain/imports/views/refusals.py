"""What is wrong with a mapping that came over the API, told at its place by JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec

from crm_server.importing.errors import ImportFileError, _
from crm_server.importing.mapping import MAX_FEEDS, Feed, FieldProblem, ImportMapping
from crm_server.importing.values.convert import Options
from crm_server.kernel.errors import Errors, ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crm_server.kernel.errors import FieldError

__all__ = ["MappingRefused", "mapping_from", "place_of"]

_PATH = re.compile(r"`\$(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")
_STEP = re.compile(r"\.(?P<name>[a-z_]+)|\[(?P<index>[0-9]+|\.\.\.)\]")
_UNKNOWN = _("There is no such field.")


class MappingRefused(ValidationFailed):
    """A mapping that can't be read; `errors` say at which place."""

    code = "file_refused"
    title = _("The mapping can't be used as it is.")

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(errors)
        self.extra = {"reason": "mapping.invalid"}


def mapping_from(body: Mapping[str, Any], entity: str) -> ImportMapping:
    """The mapping in the body of a request for an import of `entity`.

    Raises:
        MappingRefused: names each place that can't be read.
    """
    errors = Errors()
    _only(body, ImportMapping, "", errors)
    if body.get("entity", entity) != entity:
        errors.add("/entity", "read_only", _("This field is set by the system."))
    given = body.get("feeds")
    for index, feed in enumerate(given[:MAX_FEEDS] if isinstance(given, list) else ()):
        _only(feed, Feed, f"/feeds/{index}", errors)
    _only(body.get("options"), Options, "/options", errors)
    _no_zero_bytes(dict(body), "", errors)
    if not errors.items:
        try:
            return ImportMapping.from_json({**body, "entity": entity})
        except ImportFileError as error:
            option = error.code.removeprefix("mapping.")
            if option in {"country", "currency"}:
                errors.add(f"/options/{option}", option, error.message)
            else:
                _note(error.__cause__, errors)
    raise MappingRefused(errors.items)


def _only(value: Any, kind: Any, pointer: str, errors: Errors) -> None:
    """What is misspelt would be ignored otherwise, and the import would do something else than was asked for."""
    if isinstance(value, dict):
        for name in value.keys() - {item.name for item in fields(kind)}:
            errors.add(f"{pointer}/{_escaped(name)}", "unknown_field", _UNKNOWN)


def _no_zero_bytes(value: Any, pointer: str, errors: Errors) -> None:
    """PostgreSQL keeps no zero bytes in texts. The depth of the body is limited where it was read."""
    if isinstance(value, str) and "\0" in value:
        errors.add(pointer, "characters", _("Control characters are not allowed here."))
    for name, item in value.items() if isinstance(value, dict) else ():
        if "\0" in name:
            errors.add(pointer, "characters", _("Control characters are not allowed here."))
        _no_zero_bytes(item, f"{pointer}/{_escaped(name)}", errors)
    for index, item in enumerate(value) if isinstance(value, list) else ():
        _no_zero_bytes(item, f"{pointer}/{index}", errors)


def _note(cause: BaseException | None, errors: Errors) -> None:
    if isinstance(cause, msgspec.ValidationError):
        pointer = _pointer(str(cause))
        missing = _MISSING.search(str(cause))
        if missing:
            errors.add(f"{pointer}/{missing['name']}", "required", _("This field must be filled in."))
        else:
            errors.add(pointer, "type", _("This is not what is expected here."))
    elif cause is not None:
        errors.add("/options/zone", "unknown", _("There is no such time zone."))
    else:
        text = _("At most ${n} fields can be fed.", mapping={"n": MAX_FEEDS})
        errors.add("/feeds", "too_many", text)


def _pointer(message: str) -> str:
    """The place that msgspec names as `$.feeds[0].columns`."""
    found = _PATH.search(message)
    steps = _STEP.finditer(found["path"]) if found else ()
    # "[...]" stands for some member of an object: its name is not told, so the place is the object.
    return "".join(f"/{step['name'] or step['index']}" for step in steps if step["index"] != "...")


def place_of(problem: FieldProblem, mapping: ImportMapping) -> str:
    """Where in the mapping a problem of `mapping_problems` stands; "" for the mapping as a whole."""
    if problem.code in {"mapping.key", "mapping.key_custom"} and problem.field in mapping.key:
        return f"/key/{mapping.key.index(problem.field)}"
    if problem.code == "mapping.required":
        return "/feeds"
    places = [index for index, feed in enumerate(mapping.feeds) if feed.field == problem.field]
    if problem.columns:
        wrong = [index for index in places if set(problem.columns) <= set(mapping.feeds[index].columns)]
        places = wrong or places
    if not places:
        return "/feeds" if problem.field else ""
    return f"/feeds/{places[-1] if problem.code == 'mapping.twice' else places[0]}"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
