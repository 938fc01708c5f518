"""The OpenAPI document as a page that a person reads: /api/v1/docs. Rendered here, without scripts or network."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pyramid.response import Response

from crm_server.api.openapi import document
from crm_server.api.openapi_parts import PARAMETERS, RESPONSES
from crm_server.kernel.listing import OPERATORS
from crm_server.kernel.listing.periods import NAMES
from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request

_METHODS = ("get", "post", "patch", "delete")
_STYLE_PLACE = "@@nonce@@"


def docs(request: Request) -> Response:
    """GET the page."""
    return Response(
        page().replace(_STYLE_PLACE, request.csp_nonce), content_type="text/html", charset="UTF-8"
    )


@cache
def page() -> str:
    """The page with a place for the nonce of its style sheet."""
    environment = Environment(
        loader=PackageLoader("crm_server.api"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    spec = document()
    return environment.get_template("docs.jinja2").render(
        nonce=_STYLE_PLACE,
        info=spec["info"],
        groups=_groups(spec),
        schemas=[
            (name, _properties(schema), schema) for name, schema in spec["components"]["schemas"].items()
        ],
        problems=_problems(),
        operators=[(str(kind), names) for kind, names in OPERATORS.items() if names],
        periods=NAMES,
    )


def _groups(spec: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    operations: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in spec["tags"]}
    for path, item in spec["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                operations[operation["tags"][0]].append(
                    {
                        "method": method.upper(),
                        "path": path,
                        "summary": operation["summary"],
                        "parameters": [_parameter(one) for one in operation.get("parameters", ())],
                        "body": _schema_name(operation.get("requestBody", {})),
                        "answers": [
                            (status, _schema_name(_resolved(found)))
                            for status, found in operation["responses"].items()
                        ],
                    }
                )
    return [(tag["name"], tag["description"], operations[tag["name"]]) for tag in spec["tags"]]


def _parameter(one: dict[str, Any]) -> tuple[str, str, bool]:
    if "$ref" in one:
        one = PARAMETERS[one["$ref"].rpartition("/")[2]]
    return one["name"], one.get("description", ""), one.get("required", False)


def _resolved(found: dict[str, Any]) -> dict[str, Any]:
    reference = found.get("$ref")
    resolved: dict[str, Any] = RESPONSES[reference.rpartition("/")[2]] if reference else found
    return resolved


def _schema_name(holder: dict[str, Any]) -> str:
    for content in holder.get("content", {}).values():
        return str(content.get("schema", {}).get("$ref", "").rpartition("/")[2])
    return ""


def _properties(schema: dict[str, Any]) -> list[tuple[str, str, bool, str]]:
    """Name, type, whether required, and description of each property."""
    found = []
    for name, one in schema.get("properties", {}).items():
        kind = one.get("type", "")
        text = " or ".join(kind) if isinstance(kind, list) else kind
        if "format" in one:
            text += f" ({one['format']})"
        if "enum" in one and len(one["enum"]) <= 30:
            text += ": " + ", ".join(str(key) for key in one["enum"] if key is not None)
        notes = ". ".join(part for part in (one.get("title", ""), one.get("description", "")) if part)
        found.append((name, text, name in schema.get("required", ()), notes))
    return found


def _problems() -> list[tuple[int, str]]:
    return [(int(name.removeprefix("Problem")), found["description"]) for name, found in RESPONSES.items()]


def includeme(config: Configurator) -> None:
    """Add the view."""
    config.add_view(docs, route_name="api_docs", request_method="GET", permission=PUBLIC)
