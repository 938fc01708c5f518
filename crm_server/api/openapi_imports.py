"""The part of the OpenAPI document about files: imports with their mapping, and lists as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_server.api import openapi_parts as part
from crm_server.domain.imports.exporting import FORMATS
from crm_server.domain.imports.services import IMPORTABLE
from crm_server.importing.mapping import MAX_FEEDS
from crm_server.importing.presets import PRESETS

if TYPE_CHECKING:
    from compliance.datamap import DataMap

_BASE = "/api/v1/imports"
_UUID = {"type": "string", "format": "uuid"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_WHOLE = {"type": "integer", "minimum": 0}
_MAYBE_WHOLE = {"type": ["integer", "null"], "minimum": 0}
_MAYBE_NUMBER = {"type": ["number", "null"]}
_TEXTS = {"type": "array", "items": _TEXT}
_COUNTS = {"type": "object", "additionalProperties": _WHOLE}
# Without zero bytes, which no text in the database can hold.
_CLEAN = {"type": "string", "pattern": r"^[^\x00]*$"}
_NAMES = {"type": "array", "items": _CLEAN}


def _query(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema} | more


_KEY = {"name": "id", "in": "path", "required": True, "description": "Key of the import.", "schema": _UUID}
_ACTS = {
    "check": "Read the whole file and tell what would happen, without writing",
    "run": "Import the rows",
    "stop": "Stop after the batch that is being written",
    "resume": "Go on with a run that was stopped or failed",
    "undo": "Take back what a run has done",
}
_OUTCOMES = ["failed", "updated", "merged", "skipped", "kept"]


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _closed(required: str, **properties: Any) -> dict[str, Any]:
    return _object(required, **properties) | {"additionalProperties": False}


def _array(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _mapping() -> dict[str, Any]:
    return {
        "ImportFeed": _closed(
            "field",
            field=_CLEAN | {"description": "Name of a field, custom.<name>, or @full_name."},
            columns=_NAMES | {"description": "Columns of the file that feed it."},
            combine={"enum": ["join", "first"], "default": "join"},
            separator=_CLEAN | {"description": "Stands between joined columns."},
            constant={
                "anyOf": [_CLEAN, {"type": "null"}],
                "description": "Taken where the columns are blank.",
            },
            values={
                "type": "object",
                "additionalProperties": _CLEAN,
                "propertyNames": _CLEAN,
                "description": "Whole cells and what to read in their place.",
            },
            match={
                "anyOf": [_CLEAN, {"type": "null"}],
                "description": "Field by which a referenced record is found.",
            },
            missing={"enum": ["error", "create", "blank"], "default": "error"},
        ),
        "ImportOptions": _closed(
            "",
            country={"type": ["string", "null"], "pattern": "^[A-Z]{2}$"},
            currency=_CLEAN,
            zone=_TEXT | {"examples": ["Europe/Berlin"]},
            date_order={"enum": ["dmy", "mdy", "ymd"]},
            separator={"enum": [".", ","]},
            unknown_choice=_CLEAN | {"examples": ["error", "blank", "other"]},
        ),
        "ImportMapping": _closed(
            "feeds",
            entity=_TEXT | {"description": "As the upload said; another one is ignored."},
            feeds=_array("ImportFeed") | {"maxItems": MAX_FEEDS},
            key=_NAMES | {"description": "Fields by which existing records are recognised."},
            duplicates={"enum": ["update", "skip", "create"], "default": "update"},
            blank={"enum": ["keep", "clear"], "default": "keep"},
            options={"$ref": "#/components/schemas/ImportOptions"},
            preset={"anyOf": [_CLEAN, {"type": "null"}]},
        )
        | {
            "examples": [
                {"feeds": [{"field": "family_name", "columns": ["Name"]}], "key": [], "duplicates": "create"}
            ]
        },
    }


def import_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    return _mapping() | {
        "MappingProblem": _object(
            "pointer field code message columns",
            pointer=_TEXT | {"description": "JSON pointer (RFC 6901) into the mapping."},
            field=_TEXT,
            code=_TEXT,
            message=_TEXT,
            columns=_TEXTS,
        ),
        "Import": _object(
            "id entity filename size state phase profile mapping counts rows_total rows_done has_file",
            id=_UUID,
            entity={"enum": list(IMPORTABLE)},
            filename=_TEXT,
            size=_WHOLE,
            state=_TEXT | {"examples": ["draft", "queued", "working", "checked", "done", "failed"]},
            phase={"enum": [None, "check", "run", "undo"]},
            profile={"type": "object", "description": "What the file was taken for."},
            mapping={"type": "object", "description": "As for PUT …/mapping."},
            mapping_problems=_array("MappingProblem"),
            counts=_COUNTS,
            problems=_COUNTS,
            warnings=_COUNTS,
            notes={"type": "array", "items": {"type": "array", "items": _TEXT}},
            rows_total=_MAYBE_WHOLE,
            rows_done=_WHOLE,
            rows_per_second=_MAYBE_NUMBER,
            seconds_left=_MAYBE_NUMBER,
            error=_MAYBE_TEXT,
            error_line=_MAYBE_WHOLE,
            created_at={"type": "string", "format": "date-time"},
            finished_at={"type": ["string", "null"], "format": "date-time"},
            has_file={"type": "boolean"},
        ),
        "Imports": _object("data", data=_array("Import")),
        "ImportRows": _object(
            "data",
            data={
                "type": "array",
                "items": _object(
                    "line outcome record_id reasons",
                    line=_WHOLE,
                    outcome={"enum": _OUTCOMES},
                    record_id={"type": ["string", "null"], "format": "uuid"},
                    reasons={"type": "array", "items": _object("field reason", field=_TEXT, reason=_TEXT)},
                ),
            },
        ),
    }


def _operation(tag: str, name: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"tags": [tag], "operationId": name, "summary": summary, **more}


def _file(*problems: int, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The answers of an operation that gives a file."""
    good = {
        "description": "The file.",
        "headers": {
            "Content-Disposition": {"schema": _TEXT, "description": "Says what to call the file."},
        },
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds},
    }
    return part.answers(200, None, *problems) | {"200": good}


def import_paths(datamap: DataMap) -> dict[str, Any]:
    """The addresses."""
    found: dict[str, Any] = {
        _BASE: {"get": _LIST, "post": _UPLOAD},
        f"{_BASE}/{{id}}": {
            "parameters": [_KEY],
            "get": _operation(
                "imports", "readImport", "State and progress", responses=part.answers(200, "Import", 400, 404)
            ),
            "delete": _operation(
                "imports",
                "deleteImport",
                "Remove an import with its file; its records stay",
                responses=part.answers(204, None, 400, 404, 409),
            ),
        },
        f"{_BASE}/{{id}}/mapping": {
            "parameters": [_KEY],
            "put": _operation(
                "imports",
                "mapImport",
                "Say which column feeds which field",
                requestBody=part.body("ImportMapping"),
                responses=part.answers(200, "Import", 400, 404, 409, 413, 415, 422),
            ),
        },
        f"{_BASE}/{{id}}/rows": {"parameters": [_KEY], "get": _ROWS},
        f"{_BASE}/{{id}}/errors.csv": {
            "parameters": [_KEY],
            "get": _operation(
                "imports",
                "importErrors",
                "The rows that were not imported, with reasons, to correct and to import again",
                responses=_file(400, 404, 409, 422, kinds=("text/csv",)),
            ),
        },
    }
    for act, summary in _ACTS.items():
        found[f"{_BASE}/{{id}}/{act}"] = {
            "parameters": [_KEY],
            "post": _operation(
                "imports", f"{act}Import", summary, responses=part.answers(202, "Import", 400, 404, 409, 422)
            ),
        }
    for entity in datamap.records():
        people = "family_name" in entity.fields
        kinds = [name for name in FORMATS if name != "vcard" or people]
        found[f"/api/v1/{entity.policy.collection}/export"] = {"get": _export(entity.policy, kinds)}
    return found


def _export(policy: Any, kinds: list[str]) -> dict[str, Any]:
    name = "".join(word.capitalize() for word in policy.name.split("_"))
    shape = {"type": "string", "enum": kinds, "default": "csv"}
    return _operation(
        policy.collection,
        f"export{name}",
        "The whole list behind a filter as a file, streamed",
        parameters=[
            _query("format", shape, "Kind of file; vcard is for people."),
            *part.refs("Filter", "Search", "Sort", "Fields", "Deleted"),
        ],
        responses=_file(400, kinds=tuple(FORMATS[kind][0].partition(";")[0] for kind in kinds)),
    )


_LIST = _operation("imports", "listImports", "One's imports, newest first",
                   responses=part.answers(200, "Imports", 400))  # fmt: skip
_ROWS = _operation(
    "imports",
    "importRows",
    "Rows that were not simply created, with reasons; at most 1,000",
    parameters=[
        _query("outcome", {"type": "string", "enum": _OUTCOMES, "default": "failed"}, "What became of them.")
    ],
    responses=part.answers(200, "ImportRows", 400, 404),
)
_UPLOAD = _operation(
    "imports",
    "uploadImport",
    "Take in a file; the answer says what it is taken for and proposes a mapping",
    parameters=[
        _query("entity", {"type": "string", "enum": list(IMPORTABLE)}, "What the rows are.", required=True),
        _query("filename", _CLEAN, "What the file is called; only shown."),
        _query(
            "preset",
            {"type": "string", "enum": sorted(item.name for item in PRESETS)},
            "Ready mapping for the export of another system.",
        ),
        _query("encoding", _TEXT | {"examples": ["utf-8", "gb18030"]}, "Overrules the encoding found."),
        _query(
            "delimiter", {"type": "string", "minLength": 1, "maxLength": 1}, "Overrules the delimiter found."
        ),
        _query("sheet", _CLEAN, "Sheet of a workbook; else the first visible one with a list."),
    ],
    requestBody={
        "required": True,
        "description": "The bytes of the file, whatever their Content-Type says.",
        "content": {
            "application/octet-stream": {},
            # No schema: any bytes may be a file, and whether they are one is said by 422.
            "text/csv": {"example": "Name,Mail\nExample,a@example.com\n"},
        },
    },
    responses=part.answers(201, "Import", 400, 404, 413, 422)
    | {
        "201": {
            "description": "Taken in.",
            "headers": {"Location": {"$ref": "#/components/headers/Location"}},
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Import"}}},
            "links": {
                name: {"operationId": f"{name}Import", "parameters": {"id": "$response.body#/id"}}
                for name in ("read", "map", "check", "run", "stop", "undo", "delete")
            },
        }
    },
)
