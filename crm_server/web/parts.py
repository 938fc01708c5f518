"""What a record shows beside its fields: stages, tags, timeline, comments, files, roles, lines, participants.

`parts_of` gathers it for the page of a record; which kinds of records have which parts stands in the table below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.datamap.text import _
from crm_server.domain.accounts import queries as accounts
from crm_server.domain.activities import queries as activities
from crm_server.domain.contacts import queries as contacts
from crm_server.domain.documents.services import AttachmentService
from crm_server.domain.pipeline import queries as pipeline
from crm_server.domain.tags.services import TagService
from crm_server.kernel.listing import Condition, Sort
from crm_server.web import reading
from crm_server.web.acting import service

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef
    from compliance.datamap.text import Text

TIMELINE = 12
"""Happenings shown at first; more follow on demand."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button at the head of a record's page. `post` makes it a form with these values."""

    href: str
    label: Text
    icon: str
    primary: bool = False
    post: dict[str, str] | None = None


def parts_of(request: Request, entity: EntityDef, row: dict[str, Any]) -> dict[str, Any]:
    """The parts of a record's page by name."""
    key = row["id"] if isinstance(row["id"], UUID) else UUID(str(row["id"]))
    found: dict[str, Any] = {"actions": _actions(request, entity, row)}
    for name, (kinds, reader) in _PARTS.items():
        if not kinds or entity.name in kinds:
            found[name] = reader(request, entity, key, row)
    return found


def _actions(request: Request, entity: EntityDef, row: dict[str, Any]) -> list[Action]:
    ui = request.ui
    if not ui.can("update", entity.name):
        return []
    path = ui.record_url(entity.name, row["id"])
    version = {"version": str(row["version"])}
    if entity.name == "lead" and row.get("status") != "converted" and ui.can("create", "contact"):
        return [Action(f"{path}/convert", _("Convert"), "user-check", primary=True)]
    if entity.name == "lead" and row.get("status") == "converted":
        return [Action(f"{path}/revert", _("Undo the conversion"), "arrow-back-up", post=version)]
    if entity.name == "activity" and row.get("status") == "open":
        return [Action(f"{path}/done", _("Done"), "check", primary=True, post={**version, "back": path})]
    return []


def _stages(request: Request, _entity: EntityDef, _key: UUID, row: dict[str, Any]) -> dict[str, Any]:
    stages = pipeline.stages_of(request.db, UUID(str(row["pipeline_id"]))) if row.get("pipeline_id") else []
    current = str(row.get("stage_id"))
    places = [str(stage.id) for stage in stages]
    now = places.index(current) if current in places else -1
    return {
        "items": [
            {
                "id": str(stage.id),
                "name": request.ui.given(stage.name),
                "kind": stage.kind,
                "now": place == now,
                "done": place < now and stage.kind == "open" and row.get("status") != "lost",
            }
            for place, stage in enumerate(stages)
        ],
        "version": row["version"],
    }


def _tags(request: Request, entity: EntityDef, key: UUID, _row: Any) -> dict[str, Any]:
    here = service(request, TagService).of_record((entity.name, key))
    used = {str(one["id"]) for one in here}
    tag = request.registry.datamap["tag"]
    return {"here": here, "others": [pair for pair in reading.options(request, tag) if pair[0] not in used]}


def timeline_part(request: Request, entity: EntityDef, key: UUID, after: str | None = None) -> dict[str, Any]:
    """A page of the timeline with the names of the records that its happenings are about."""
    page = activities.timeline(
        request.db, request.registry.datamap, entity.name, key, limit=TIMELINE, after=after
    )
    names = _names(request, entity, key, page.items)
    items = [
        {**_happening(request, entity, key, one), "about": names.get(one.record_id)} for one in page.items
    ]
    return {"items": items, "next": page.next}


def _names(request: Request, entity: EntityDef, key: UUID, items: list[Any]) -> dict[UUID, str]:
    """Titles of the other records that happenings are about, one query a kind."""
    wanted: dict[str, set[UUID]] = {}
    for one in items:
        if one.kind not in {"activity", "case_opened", "case_resolved", "case_closed"} and (
            one.entity != entity.name or one.record_id != key
        ):
            wanted.setdefault(one.entity, set()).add(one.record_id)
    found: dict[UUID, str] = {}
    for name, keys in wanted.items():
        other = request.registry.datamap[name]
        label = request.ui.t(other.policy.label)
        if other.exposed:
            for text, title in reading.titles(request, other, keys).items():
                found[UUID(text)] = f"{label}: {title}"
    return found


_HAPPENED: dict[str, tuple[str, Text]] = {
    "case_opened": ("lifebuoy", _("Case opened")),
    "case_resolved": ("circle-check", _("Case resolved")),
    "case_closed": ("circle-check", _("Case closed")),
    "comment": ("message", _("Comment on a case")),
    "stage": ("git-branch", _("Stage")),
    "attachment": ("paperclip", _("File added")),
    "change": ("edit", _("Record changed")),
}
_ACTIVITY_ICONS = {"task": "checkbox", "call": "phone", "meeting": "users", "mail": "mail", "note": "note"}
_ACTS: dict[str, Text] = {
    "create": _("Record created"),
    "insert": _("Record created"),
    "delete": _("Record removed"),
    "tag": _("Tag added"),
    "untag": _("Tag removed"),
}


def _happening(request: Request, entity: EntityDef, key: UUID, one: Any) -> dict[str, Any]:
    """A happening as the timeline shows it: icon, words, link, text."""
    ui, data = request.ui, one.data
    other = one.entity != entity.name or one.record_id != key
    icon, words = _HAPPENED.get(one.kind, ("clock", _("Record changed")))
    title, body, href, badge = "", "", None, None
    if one.kind == "activity":
        policy = ui.entity("activity").fields["kind"].policy
        icon, words = (
            _ACTIVITY_ICONS.get(data.get("kind", ""), "clock"),
            policy.choices.get(data.get("kind"), ""),
        )
        title, body, href = data.get("title") or "", data.get("body") or "", ui.record_url("activity", one.id)
        status = ui.entity("activity").fields["status"].policy
        if data.get("status") in {"open", "cancelled"}:
            badge = (data["status"], status.choices[data["status"]])
    elif one.kind.startswith("case_"):
        title, href = data.get("title") or "", ui.record_url("case", one.id)
    elif one.kind == "comment":
        body, href = data.get("body") or "", ui.record_url("case", one.record_id)
    elif one.kind == "stage":
        title = " → ".join(ui.given(part) for part in (data.get("from_stage"), data.get("to_stage")) if part)
        if data.get("amount") is not None:
            body = ui.money(data["amount"], data.get("currency"))
        if data.get("stage_kind") in {"won", "lost"}:
            kinds = ui.entity("stage").fields["kind"].policy.choices
            badge = (data["stage_kind"], kinds[data["stage_kind"]])
    elif one.kind == "attachment":
        title, href = data.get("filename") or "", f"/files/{one.id}" if ui.reads_files else ""
    else:
        words = _ACTS.get(data.get("action", ""), words)
        title = _field_labels(request, one.entity, data.get("fields") or [])
    return {
        "icon": icon,
        "words": words,
        "title": title,
        "body": body,
        "href": href,
        "badge": badge,
        "at": one.at,
        "who": one.actor,
        "about_href": ui.record_url(one.entity, one.record_id) if other else None,
    }


def _field_labels(request: Request, name: str, fields: list[str]) -> str:
    """Labels of changed fields, as the page shows them."""
    entity = request.ui.entity(name)
    custom = reading.custom_columns(request)(entity)
    labels = []
    for field in fields:
        if field in entity.fields and field not in {
            "created_at",
            "updated_at",
            "id",
            "subject_id",
            "event_id",
        }:
            labels.append(request.ui.t(entity.fields[field].policy.label))
        elif field.removeprefix("custom.") in custom:
            labels.append(request.ui.t(custom[field.removeprefix("custom.")].policy.label))
    shown = list(dict.fromkeys(labels))
    rest = len(shown) - 6
    text = request.ui.t(_(", ")).join(shown[:6])
    return f"{text} +{rest}" if rest > 0 else text


def _timeline(request: Request, entity: EntityDef, key: UUID, _row: Any) -> dict[str, Any]:
    return timeline_part(request, entity, key)


def _comments(request: Request, _entity: EntityDef, key: UUID, _row: Any) -> list[dict[str, Any]]:
    comment = request.registry.datamap["case_comment"]
    page = reading.rows_where(
        request, comment, Condition("case_id", "eq", str(key)), sort=Sort("created_at"), limit=100
    )
    people = reading.user_names(request, [row.get("created_by") for row in page.rows])
    return [{**row, "who": people.get(str(row.get("created_by")), "")} for row in page.rows]


def _files(request: Request, entity: EntityDef, key: UUID, _row: Any) -> list[Any]:
    return list(service(request, AttachmentService).of((entity.name, key)))


def _roles(request: Request, entity: EntityDef, key: UUID, _row: Any) -> dict[str, Any]:
    field = f"{entity.name}_id"
    chain = contacts.decision_chain(request.db, request.registry.datamap, **{field: key})
    role = request.registry.datamap["contact_role"].fields["role"].policy
    return {"items": chain, "labels": role.choices, "field": field}


def _participants(request: Request, _entity: EntityDef, key: UUID, _row: Any) -> dict[str, Any]:
    part = request.registry.datamap["participant"]
    page = reading.rows_where(request, part, Condition("activity_id", "eq", str(key)), limit=50)
    return {"items": page.rows, "labels": part.fields["part"].policy.choices}


def _lines(request: Request, _entity: EntityDef, key: UUID, row: dict[str, Any]) -> dict[str, Any]:
    line = request.registry.datamap["opportunity_line"]
    page = reading.rows_where(
        request, line, Condition("opportunity_id", "eq", str(key)), sort=Sort("position"), limit=100
    )
    totals = [one["total"] for one in page.rows if isinstance(one.get("total"), int)]
    return {"items": page.rows, "total": sum(totals), "currency": row.get("currency")}


def _prices(request: Request, _entity: EntityDef, key: UUID, row: dict[str, Any]) -> dict[str, Any]:
    price = request.registry.datamap["price"]
    page = reading.rows_where(request, price, Condition("price_list_id", "eq", str(key)), limit=200)
    return {"items": page.rows, "currency": row.get("currency")}


def _hierarchy(request: Request, _entity: EntityDef, key: UUID, _row: Any) -> list[Any]:
    above = accounts.ancestors(request.db, key)
    below = accounts.subtree(request.db, key, limit=20)
    if len(above) + len(below) <= 2:
        return []
    top = len(above) - 1
    found = [
        {"id": one.id, "name": one.name, "level": top - one.distance, "here": False} for one in above[:0:-1]
    ]
    return found + [
        {"id": one.id, "name": one.name, "level": top + one.distance, "here": one.distance == 0}
        for one in below
    ]


_EVENTFUL = frozenset({"account", "contact", "lead", "opportunity", "case"})
_WITH_FILES = _EVENTFUL | {"activity", "product"}
_PARTS: dict[str, tuple[frozenset[str], Callable[..., Any]]] = {
    "stages": (frozenset({"opportunity"}), _stages),
    "tags": (_EVENTFUL | {"product"}, _tags),
    "timeline": (_EVENTFUL, _timeline),
    "comments": (frozenset({"case"}), _comments),
    "roles": (frozenset({"account", "opportunity"}), _roles),
    "participants": (frozenset({"activity"}), _participants),
    "lines": (frozenset({"opportunity"}), _lines),
    "prices": (frozenset({"price_list"}), _prices),
    "files": (_WITH_FILES, _files),
    "hierarchy": (frozenset({"account"}), _hierarchy),
}
