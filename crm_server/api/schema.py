"""JSON Schema (draft 2020-12) of an entity for reading, creating and changing, derived from the data map.

The schemas say what every client may meet. What one actor sees may be less: hidden fields are missing, masked ones
hold a masked text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap import Access, Semantic
from crm_server.kernel.listing.scope import short_name
from crm_server.kernel.values import currencies, languages, timezones

if TYPE_CHECKING:
    from collections.abc import Callable

    from compliance.datamap import EntityDef, FieldDef

_NEVER = frozenset({Access.SYSTEM, Access.SECRET})
_FORMATS = {
    Semantic.ID: "uuid",
    Semantic.REFERENCE: "uuid",
    Semantic.DATE: "date",
    Semantic.DATETIME: "date-time",
}
_INTEGERS = frozenset({Semantic.INTEGER, Semantic.SMALL_INTEGER, Semantic.MONEY, Semantic.PERCENT})
_MASKABLE = frozenset({Access.PERSONAL, Access.FINANCIAL, Access.SPECIAL, Access.GENERAL})
# No text that is stored holds control characters; only long texts have lines.
_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
_LINES = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
_EXAMPLES: dict[Semantic, Any] = {
    Semantic.EMAIL: "lena.example@example.com",
    Semantic.PHONE: "+493012345678",
    Semantic.URL: "https://example.com",
    Semantic.COUNTRY: "DE",
    Semantic.LANGUAGE: "de",
    Semantic.CURRENCY: "EUR",
    Semantic.TIMEZONE: "Europe/Berlin",
    Semantic.DATE: "2026-01-31",
    Semantic.DATETIME: "2026-01-31T09:00:00Z",
    Semantic.BOOLEAN: True,
    Semantic.MONEY: 125000,
    Semantic.PERCENT: 40,
    Semantic.ID: "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e",
    Semantic.REFERENCE: "0190a7c2-7b1e-7c3a-9d52-3f6a1c2b4d5e",
}


def shown_fields(entity: EntityDef) -> list[FieldDef]:
    """The fields that may ever leave the server."""
    return [
        item
        for item in entity.fields.values()
        if item.policy.handling.access not in _NEVER and item.semantic is not Semantic.BYTES
    ]


def writable_fields(entity: EntityDef) -> list[FieldDef]:
    """The fields that a client may ever set."""
    return [item for item in shown_fields(entity) if item.writable]


def required_fields(entity: EntityDef) -> list[str]:
    """The fields that a new record needs."""
    return [item.name for item in writable_fields(entity) if item.policy.required and not item.defaulted]


def read_schema(entity: EntityDef, says: Callable[[Any], str]) -> dict[str, Any]:
    """A record as it is read. `says` translates labels."""
    properties = {item.name: _read_field(item, says) for item in shown_fields(entity)}
    for item in shown_fields(entity):
        if item.semantic is Semantic.REFERENCE:
            properties[short_name(item)] = (
                {
                    "description": f"With include={short_name(item)}: what {item.name} refers to.",
                    "anyOf": [{"$ref": "#/components/schemas/Label"}, {"type": "null"}],
                }
                if short_name(item) != item.name
                else properties[item.name]
            )
    properties["custom"] = {"type": "object", "description": "Custom fields by name."}
    if entity.documents:
        properties |= {
            "erased": {
                "type": "boolean",
                "description": "There, and true, when the keys of the person were erased: sealed fields are gone.",
            },
            "unreadable": {
                "type": "string",
                "description": "In lists only: why a sealed document of this record doesn't open. An alarm was raised.",
            },
        }
    needed = ["id"] + (["version"] if "version" in entity.fields else [])
    return {
        "type": "object",
        "title": says(entity.policy.label),
        "required": needed,
        "properties": properties,
    }


def write_schema(
    entity: EntityDef, says: Callable[[Any], str], *, create: bool, without: str = ""
) -> dict[str, Any]:
    """What a client sends to create a record (`create`) or to change one. `without` leaves out the field that the
    address gives already.
    """
    properties = {
        item.name: _write_field(item, says) for item in writable_fields(entity) if item.name != without
    }
    if entity.exposed:
        properties["custom"] = {"type": "object", "description": "Custom fields by name."}
    schema: dict[str, Any] = {
        "type": "object",
        "title": says(entity.policy.label),
        "additionalProperties": False,
        "properties": properties,
    }
    needed = [name for name in required_fields(entity) if name != without]
    if create and needed:
        schema["required"] = needed
    examples = {name: properties[name]["examples"][0] for name in needed if "examples" in properties[name]}
    if create and len(examples) == len(needed):
        schema["examples"] = [examples]
    return schema


def _described(item: FieldDef, says: Callable[[Any], str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"title": says(item.policy.label)}
    notes = []
    if item.policy.help is not None:
        notes.append(says(item.policy.help))
    if item.semantic is Semantic.MONEY:
        notes.append(f"In minor units (cents) of the currency in {item.policy.currency_field}.")
    if item.semantic is Semantic.REFERENCE:
        notes.append(f"Id of a record of kind {item.policy.target}.")
    if notes:
        schema["description"] = " ".join(notes)
    return schema


def _read_field(item: FieldDef, says: Callable[[Any], str]) -> dict[str, Any]:
    schema = _described(item, says) | {"readOnly": True} if not item.writable else _described(item, says)
    if item.semantic in _INTEGERS:
        kinds = ["integer"]
    elif item.semantic is Semantic.BOOLEAN:
        kinds = ["boolean"]
    elif item.semantic is Semantic.JSON:
        return schema
    elif item.semantic is Semantic.UUID_LIST:
        kinds = ["array"]
    else:
        kinds = ["string"]
    # A masked value of any type is a text, so formats are told in the schemas for writing.
    if (
        item.policy.handling.access in _MASKABLE
        and item.name not in {"id", "version"}
        and kinds != ["string"]
    ):
        kinds.append("string")
    if item.nullable or item.policy.handling.access in _MASKABLE:
        kinds.append("null")
    if item.name in {"id", "version"}:
        kinds = kinds[:1]
    schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if item.name == "id":
        schema["format"] = "uuid"
    return schema


def _write_field(item: FieldDef, says: Callable[[Any], str]) -> dict[str, Any]:
    policy = item.policy
    schema = _described(item, says)
    kind: dict[str, Any]
    if policy.choices:
        kind = {"type": "string", "enum": list(policy.choices)}
    elif item.semantic in _INTEGERS:
        kind = {"type": "integer", "minimum": policy.minimum, "maximum": policy.maximum}
    elif item.semantic is Semantic.BOOLEAN:
        kind = {"type": "boolean"}
    elif item.semantic is Semantic.JSON:
        kind = {}
    elif item.semantic in _FORMATS:
        kind = {"type": "string", "format": _FORMATS[item.semantic]}
    else:
        kind = _text_schema(item)
    if not policy.required and kind:
        kind = kind | {"type": [kind["type"], "null"]}
        if "enum" in kind:
            kind = kind | {"enum": [*kind["enum"], None]}
    schema |= {name: value for name, value in kind.items() if value is not None}
    schema["examples"] = [next(iter(policy.choices))] if policy.choices else [_example(item)]
    return schema


def _text_schema(item: FieldDef) -> dict[str, Any]:
    policy = item.policy
    if item.semantic is Semantic.COUNTRY:
        return {"type": "string", "pattern": "^([A-Za-z]{2})?$"}
    if item.semantic is Semantic.CURRENCY:
        return {"type": "string", "pattern": "^([A-Za-z]{3})?$"}
    known = {Semantic.LANGUAGE: languages, Semantic.TIMEZONE: timezones}.get(item.semantic)
    if known is not None:
        return {"type": "string", "enum": sorted(known())}
    kind = {
        "type": "string",
        "maxLength": policy.max_length,
        "pattern": _LINES if item.semantic is Semantic.LONG_TEXT else _LINE,
    }
    if item.semantic is Semantic.EMAIL:
        kind["format"] = "email"
    if policy.required:
        kind["minLength"] = 1
    return kind


def _example(item: FieldDef) -> Any:
    if item.semantic in _EXAMPLES:
        return _EXAMPLES[item.semantic]
    if item.semantic in _INTEGERS:
        return max(item.policy.minimum or 0, 1)
    return f"Example {item.name.replace('_', ' ')}" if item.semantic is not Semantic.JSON else {}


def known_currencies() -> list[str]:
    """ISO 4217 codes, for documentation."""
    return sorted(currencies())
