"""The part of the OpenAPI document about what domains offer: board, timeline, hierarchy, views, custom fields, bin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.sealed import FIRST_CUSTOM
from crm_server.api import openapi_parts as part

if TYPE_CHECKING:
    from compliance.datamap import DataMap

_UUID = {"type": "string", "format": "uuid"}
_MAYBE_UUID = {"type": ["string", "null"], "format": "uuid"}
_TIME = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_SUMS = {"type": ["object", "null"], "additionalProperties": {"type": "integer"}}
_RELATIVES = {"type": "array", "items": {"$ref": "#/components/schemas/Relative"}}


def _parameter(
    place: str, name: str, schema: dict[str, Any], description: str, *, required: bool = False
) -> dict[str, Any]:
    needed = required or place == "path"
    return {"name": name, "in": place, "required": needed, "description": description, "schema": schema}


_KEY = _parameter("path", "id", _UUID, "Key of the record.")


def _paging(largest: int, *more: dict[str, Any]) -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": largest}
    return [
        _parameter("query", "limit", limit, "Rows on a page."),
        _parameter("query", "after", _TEXT, "Cursor of an earlier page: go on behind it."),
        *more,
    ]


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _page(name: str, *, cursor: bool = True) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    return _object(
        "data next_cursor" if cursor else "data",
        data=items,
        **({"next_cursor": _MAYBE_TEXT} if cursor else {}),
    )


def domain_schemas() -> dict[str, Any]:
    """Bodies and answers."""
    view = {
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "pattern": r"^\S[^\x00-\x1f\x7f-\x9f]*$",
        },
        "definition": {"type": "object"},
        "shared": {"type": "boolean"},
    }
    return {
        "Card": _object("id version", id=_UUID, version={"type": "integer"}),
        "Cards": _page("Card"),
        "BoardColumn": _object(
            "stage_id name kind probability count sums weighted cards next",
            stage_id=_UUID,
            name=_TEXT,
            kind={"enum": ["open", "won", "lost"]},
            probability={"type": "integer"},
            count={"type": "integer"},
            sums=_SUMS,
            weighted=_SUMS,
            cards={"type": "array", "items": {"$ref": "#/components/schemas/Card"}},
            next=_MAYBE_TEXT,
        ),
        "Board": _object(
            "pipeline_id name columns",
            pipeline_id=_UUID,
            name=_TEXT,
            columns={"type": "array", "items": {"$ref": "#/components/schemas/BoardColumn"}},
        ),
        "Happening": _object(
            "kind at id actor_id actor entity record_id data",
            kind=_TEXT,
            at=_TIME,
            id=_UUID,
            actor_id=_MAYBE_UUID,
            actor=_MAYBE_TEXT,
            entity=_TEXT,
            record_id=_UUID,
            data={"type": "object"},
        ),
        "Timeline": _page("Happening"),
        "Relative": _object(
            "id parent_id name distance",
            id=_UUID,
            parent_id=_MAYBE_UUID,
            name=_TEXT,
            distance={"type": "integer"},
        ),
        "Hierarchy": _object("above below", above=_RELATIVES, below=_RELATIVES),
        "ChainLink": _object(
            "role_id role contact level",
            role_id=_UUID,
            role=_TEXT,
            contact={"type": "object"},
            level={"type": "integer"},
        ),
        "DecisionChain": _page("ChainLink", cursor=False),
        "ValidPrice": _object(
            "price_list_id price_list unit_price currency",
            price_list_id=_UUID,
            price_list=_TEXT,
            unit_price={"type": "integer"},
            currency=_TEXT,
        ),
        "MergeTags": _object("into", into=_UUID) | {"additionalProperties": False},
        "MergedTags": _object("records", records={"type": "integer"}),
        "SavedViewNew": _object("name", **view) | {"additionalProperties": False},
        "SavedViewChange": _object("", **view) | {"additionalProperties": False, "required": []},
        "SavedView": _object(
            "id version name definition shared", id=_UUID, version={"type": "integer"}, **view
        ),
        "SavedViews": _page("SavedView", cursor=False),
        "CustomFieldNew": _object(
            "name label_en semantic policy",
            name={"type": "string", "pattern": "^[a-z][a-z0-9_]{0,59}$"},
            label_en={"type": "string", "minLength": 1, "maxLength": 200},
            label_zh={"type": ["string", "null"], "maxLength": 200},
            semantic=_TEXT,
            policy={"type": "object"},
            position={"type": "integer", "minimum": 0, "maximum": 999},
        )
        | {"additionalProperties": False},
        "CustomFieldChange": _object(
            "",
            label_en={"type": "string", "minLength": 1, "maxLength": 200},
            label_zh={"type": ["string", "null"], "maxLength": 200},
            position={"type": "integer", "minimum": 0, "maximum": 999},
        )
        | {"additionalProperties": False, "required": []},
        "CustomFieldRead": _object(
            "id version number name label_en semantic policy position",
            id=_UUID,
            version={"type": "integer"},
            number={"type": "integer", "minimum": FIRST_CUSTOM},
            name=_TEXT,
            label_en=_TEXT,
            label_zh=_MAYBE_TEXT,
            semantic=_TEXT,
            policy={"type": "object"},
            position={"type": "integer"},
        ),
        "CustomFields": _page("CustomFieldRead", cursor=False),
        "BinItem": _object(
            "entity id title deleted_at deleted_by purged_on",
            entity=_TEXT,
            id=_UUID,
            title=_MAYBE_TEXT,
            deleted_at=_TIME,
            deleted_by=_MAYBE_UUID,
            purged_on=_TIME,
        ),
        "BinPage": _page("BinItem"),
    }


def _operation(tag: str, name: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"tags": [tag], "operationId": name, "summary": summary, **more}


def domain_paths(datamap: DataMap) -> dict[str, Any]:
    """The addresses of domains."""
    found: dict[str, Any] = {}
    for entity in datamap.records():
        found |= _of_collection(entity.policy.collection, entity.name.title().replace("_", ""))
    return found | _SINGLE


def _of_collection(collection: str, name: str) -> dict[str, Any]:
    base = f"/api/v1/{collection}"
    return {
        f"{base}/{{id}}/timeline": {
            "parameters": [_KEY],
            "get": _operation(
                collection,
                f"timelineOf{name}",
                "What happened around it, newest first",
                parameters=_paging(200),
                responses=part.answers(200, "Timeline", 400, 404),
            ),
        },
        f"{base}/views": {
            "get": _operation(
                collection,
                f"listViewsOf{name}",
                "One's own views of the list and the shared ones",
                responses=part.answers(200, "SavedViews", 400),
            ),
            "post": _operation(
                collection,
                f"createViewOf{name}",
                "Keep a view",
                parameters=part.refs("IdempotencyKey"),
                requestBody=part.body("SavedViewNew"),
                responses=part.answers(201, "SavedView", 400, 413, 415, 422, made=True),
            ),
        },
        f"{base}/views/{{view_id}}": {
            "parameters": [_parameter("path", "view_id", _UUID, "Key of the view.")],
            "patch": _operation(
                collection,
                f"updateViewOf{name}",
                "Change a view",
                parameters=part.refs("IfMatch"),
                requestBody=part.body("SavedViewChange", patch=True),
                responses=part.answers(200, "SavedView", 400, 404, 412, 413, 415, 422, 428, tagged=True),
            ),
            "delete": _operation(
                collection,
                f"deleteViewOf{name}",
                "Remove a view",
                parameters=part.refs("IfMatchOptional"),
                responses=part.answers(204, None, 400, 404, 412),
            ),
        },
        f"{base}/custom-fields": {
            "get": _operation(
                collection,
                f"listFieldsOf{name}",
                "Custom fields",
                responses=part.answers(200, "CustomFields", 400),
            ),
            "post": _operation(
                collection,
                f"declareFieldOf{name}",
                "Declare a custom field",
                parameters=part.refs("IdempotencyKey"),
                requestBody=part.body("CustomFieldNew"),
                responses=part.answers(201, "CustomFieldRead", 400, 413, 415, 422),
            ),
        },
        f"{base}/custom-fields/{{field_id}}": {
            "parameters": [_parameter("path", "field_id", _UUID, "Key of the custom field.")],
            "patch": _operation(
                collection,
                f"updateFieldOf{name}",
                "Change label and place of a custom field",
                parameters=part.refs("IfMatch"),
                requestBody=part.body("CustomFieldChange", patch=True),
                responses=part.answers(200, "CustomFieldRead", 400, 404, 412, 413, 415, 422, 428),
            ),
            "delete": _operation(
                collection,
                f"retireFieldOf{name}",
                "Take a custom field out of use",
                parameters=part.refs("IfMatchOptional"),
                responses=part.answers(204, None, 400, 404, 412),
            ),
        },
    }


def _chain(collection: str, name: str) -> dict[str, Any]:
    return {
        f"/api/v1/{collection}/{{id}}/decision-chain": {
            "parameters": [_KEY],
            "get": _operation(
                collection,
                f"decisionChainOf{name}",
                "Who decides, superiors first",
                responses=part.answers(200, "DecisionChain", 400, 404),
            ),
        }
    }


_OWNER = _parameter("query", "owner_id", _UUID, "Only what belongs to this user.")
_SINGLE: dict[str, Any] = {
    "/api/v1/pipelines/{id}/board": {
        "parameters": [_KEY],
        "get": _operation(
            "pipelines",
            "board",
            "Stages with counts, sums and the first cards",
            parameters=[_OWNER],
            responses=part.answers(200, "Board", 400, 404),
        ),
    },
    "/api/v1/stages/{id}/cards": {
        "parameters": [_KEY],
        "get": _operation(
            "stages",
            "cardsOfStage",
            "Further cards of a stage",
            parameters=_paging(100, _OWNER),
            responses=part.answers(200, "Cards", 400, 404),
        ),
    },
    "/api/v1/accounts/{id}/hierarchy": {
        "parameters": [_KEY],
        "get": _operation(
            "accounts",
            "hierarchyOfAccount",
            "Accounts above and below",
            responses=part.answers(200, "Hierarchy", 400, 404),
        ),
    },
    **_chain("accounts", "Account"),
    **_chain("opportunities", "Opportunity"),
    "/api/v1/products/{id}/price": {
        "parameters": [_KEY],
        "get": _operation(
            "products",
            "priceOfProduct",
            "The price that holds on a day",
            parameters=[
                _parameter("query", "currency", _TEXT, "Currency of the price (ISO 4217).", required=True),
                _parameter("query", "on", {"type": "string", "format": "date"}, "Day; today without it."),
                _parameter("query", "price_list_id", _UUID, "Only prices of this list."),
            ],
            responses=part.answers(200, "ValidPrice", 400, 404),
        ),
    },
    "/api/v1/tags/{id}/merge": {
        "parameters": [_KEY],
        "post": _operation(
            "tags",
            "mergeTag",
            "Make two tags one",
            requestBody=part.body("MergeTags"),
            responses=part.answers(200, "MergedTags", 400, 404, 413, 415, 422),
        ),
    },
    "/api/v1/bin/records": {
        "get": _operation(
            "system",
            "listBin",
            "What lies in the bin, over all kinds of records",
            parameters=_paging(200, _parameter("query", "entity", _TEXT, "Only this kind of record.")),
            responses=part.answers(200, "BinPage", 400),
        ),
    },
}
