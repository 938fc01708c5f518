"""The page of a record, and what happens to it: create, change, delete, restore, purge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap import Semantic
from crm_server.kernel import rowrules
from crm_server.kernel.errors import AppError, LostUpdate, NotFound, ValidationFailed
from crm_server.kernel.listing import Condition, Sort
from crm_server.permissions import Action
from crm_server.services import records
from crm_server.web import conflict, editing, flash, layouts, reading, tables
from crm_server.web.parts import parts_of
from crm_server.web.routes import record_id
from crm_server.web.ui import NONE

if TYPE_CHECKING:
    from uuid import UUID

    from pyramid.request import Request

    from compliance.datamap import EntityDef, FieldPolicy


@dataclass(frozen=True, slots=True)
class Shown:
    """A field on the page of a record."""

    label: Any
    cell: tables.Cell
    long: bool = False


@view_config(
    route_name="record", permission=Action.READ, renderer="pages/record.jinja2", request_method="GET"
)
def show(request: Request) -> dict[str, Any]:
    """A record with its fields and what belongs to it."""
    entity: EntityDef = request.context.entity
    key = record_id(request)
    deleted = False
    try:
        row = reading.one(request, entity, key)
    except NotFound:
        row, deleted = reading.one(request, entity, key, deleted=True), True
    with reading.in_one_event(request, "record"):
        return _page(request, entity, row, deleted=deleted)


def _page(request: Request, entity: EntityDef, row: dict[str, Any], *, deleted: bool) -> dict[str, Any]:
    key = record_id(request)
    title = tables.title_text(request.ui, row, entity.policy.title) or NONE
    people = reading.user_names(
        request, [row.get("created_by"), row.get("updated_by"), row.get("deleted_by")]
    )
    return {
        "entity": entity,
        "policy": entity.policy,
        "row": row,
        "key": str(key),
        "title": title,
        "sub": _subtitle(request, entity, row),
        "deleted": deleted,
        "shareable": rowrules.guarded(entity),
        "sections": [] if deleted and not row else _sections(request, entity, row),
        "people": people,
        "crumbs": [(entity.policy.label_plural, f"/{entity.policy.collection}")],
        "back": request.path,
        "related": [] if deleted else _related(request, entity, key),
        "parts": {} if deleted else parts_of(request, entity, row),
    }


def _subtitle(request: Request, entity: EntityDef, row: dict[str, Any]) -> str:
    """A line below the title: job and company, kind and town."""
    ui = request.ui
    names = {
        "contact": ("job_title", "account_id"),
        "lead": ("job_title", "company"),
        "account": ("kind", "billing_city"),
        "opportunity": ("account_id", "amount"),
        "case": ("number", "account_id"),
        "activity": ("kind", "due_at"),
        "product": ("sku", "category"),
        "stage": ("pipeline_id",),
    }.get(entity.name, ())
    found = [tables.cell(ui, name, entity.fields[name].policy, row).text for name in names if name in row]
    return " · ".join(part for part in found if part)


def _sections(request: Request, entity: EntityDef, row: dict[str, Any]) -> list[tuple[Any, list[Shown]]]:
    ui = request.ui
    visible = reading.shown(request, entity)
    hidden = {entity.policy.title, *layouts.TITLE_PARTS.get(entity.name, ())}
    currencies = {
        item.policy.currency_field for item in visible.fields.values() if item.policy.currency_field
    }
    names = [
        name
        for name, item in visible.fields.items()
        if name not in hidden and name not in currencies and item.semantic is not Semantic.UUID_LIST
    ]
    found = []
    for section in layouts.sections(entity, names):
        shown = [_shown(ui, name, entity.fields[name].policy, row) for name in section.fields]
        # Empty fields would make a long page; what is missing is seen on the form.
        filled = [one for one in shown if one.cell.text]
        if filled:
            found.append((section.label, filled))
    custom = reading.custom_columns(request)(entity)
    if custom:
        values = row.get("custom") or {}
        own = [
            _shown(ui, name, column.policy, values)
            for name, column in custom.items()
            if values.get(name) is not None
        ]
        if own:
            found.append((editing.CUSTOM_LABEL, own))
    return found


def _shown(ui: Any, name: str, policy: FieldPolicy, row: dict[str, Any]) -> Shown:
    return Shown(policy.label, tables.cell(ui, name, policy, row), policy.semantic is Semantic.LONG_TEXT)


def _related(request: Request, entity: EntityDef, key: UUID) -> list[dict[str, Any]]:
    """Records of other kinds that point here: the newest five of each kind, and the way to all of them."""
    found = []
    for one in layouts.related(request.registry.datamap, entity):
        if (
            not request.ui.can("read", one.entity.name)
            or one.field not in reading.shown(request, one.entity).readable
        ):
            continue
        names = [name for name in one.entity.policy.list_fields if name not in {one.field, "owner_id"}][:3]
        if one.entity.policy.title not in names:
            names.insert(0, one.entity.policy.title)
        money = tuple(
            currency
            for name in names
            if (currency := one.entity.fields[name].policy.currency_field) and currency in one.entity.fields
        )
        visible = tuple(
            name for name in (*names, *money) if name in reading.shown(request, one.entity).fields
        )
        ordered = "position" in one.entity.fields
        page = reading.rows_where(
            request,
            one.entity,
            Condition(one.field, "eq", str(key)),
            sort=Sort("position") if ordered else None,
            limit=20 if ordered else 5,
            fields=visible,
            count=True,
        )
        columns = tables.columns(request, one.entity, names, None, None)
        found.append(
            {
                "entity": one.entity,
                "policy": one.entity.policy,
                "field": one.field,
                "columns": columns,
                "rows": [tables.cells(request.ui, one.entity, columns, row) for row in page.rows],
                "count": page.count or 0,
                "all": f"/{one.entity.policy.collection}?filter[{one.field}][eq]={key}",
                "new": f"/{one.entity.policy.collection}/new?{one.field}={key}",
            }
        )
    return found


@view_config(
    route_name="record_new", permission=Action.CREATE, renderer="pages/form.jinja2", request_method="GET"
)
def new(request: Request) -> dict[str, Any]:
    """An empty form, or one that the address began, such as /contacts/new?account_id=…."""
    entity: EntityDef = request.context.entity
    return editing.page(request, entity, editing.begin(request, entity), row=None)


@view_config(
    route_name="record_new", permission=Action.CREATE, renderer="pages/form.jinja2", request_method="POST"
)
def create(request: Request) -> Any:
    """Create a record, or show the form again with what does not fit."""
    entity: EntityDef = request.context.entity
    typed = editing.typed(request)
    fields = editing.fields(request, entity, creating=True)
    decoded = editing.decode(request, entity, fields, typed, None)
    if not decoded.problems:
        try:
            record = records(request.db, entity.name).create(decoded.raw)
        except ValidationFailed as failed:
            return editing.refused(request, entity, typed, None, failed.errors)
        except AppError as error:
            return editing.refused(request, entity, typed, None, [], error)
        flash.add(request, "created")
        return HTTPSeeOther(editing.back(request, f"/{entity.policy.collection}/{record.id}"))
    return editing.refused(request, entity, typed, None, [], problems=decoded.problems)


@view_config(
    route_name="record_edit", permission=Action.UPDATE, renderer="pages/form.jinja2", request_method="GET"
)
def edit(request: Request) -> dict[str, Any]:
    """The form of a record."""
    entity: EntityDef = request.context.entity
    row = reading.one(request, entity, record_id(request))
    return editing.page(request, entity, editing.stored(request, entity, row), row=row)


@view_config(
    route_name="record_edit", permission=Action.UPDATE, renderer="pages/form.jinja2", request_method="POST"
)
def update(request: Request) -> Any:
    """Change a record; a lost update leads to the page that shows both changes side by side."""
    entity: EntityDef = request.context.entity
    key = record_id(request)
    typed = editing.typed(request)
    row = reading.one(request, entity, key)
    version = editing.version(typed)
    fields = editing.fields(request, entity, creating=False)
    decoded = editing.decode(request, entity, fields, typed, row, only_changed=row["version"] == version)
    if decoded.problems:
        return editing.refused(request, entity, typed, row, [], problems=decoded.problems)
    try:
        records(request.db, entity.name).update(key, decoded.raw, version=version)
    except LostUpdate as lost:
        return conflict.respond(request, entity, row, typed, lost)
    except ValidationFailed as failed:
        return editing.refused(request, entity, typed, row, failed.errors)
    flash.add(request, "saved")
    return HTTPSeeOther(editing.back(request, f"/{entity.policy.collection}/{key}"))


@view_config(
    route_name="record_resolve", permission=Action.UPDATE, request_method="POST", renderer="pages/form.jinja2"
)
def resolve(request: Request) -> Any:
    """Save what the person chose for each field after a lost update."""
    entity: EntityDef = request.context.entity
    key = record_id(request)
    row = reading.one(request, entity, key)
    typed = conflict.chosen(request)
    version = editing.version(typed)
    fields = editing.fields(request, entity, creating=False)
    decoded = editing.decode(request, entity, fields, typed, row, only_changed=row["version"] == version)
    if decoded.problems:
        return editing.refused(request, entity, typed, row, [], problems=decoded.problems)
    try:
        records(request.db, entity.name).update(key, decoded.raw, version=version)
    except LostUpdate as lost:
        return conflict.respond(request, entity, row, typed, lost)
    except ValidationFailed as failed:
        return editing.refused(request, entity, typed, row, failed.errors)
    flash.add(request, "saved")
    return HTTPSeeOther(f"/{entity.policy.collection}/{key}")


@view_config(route_name="record_delete", permission=Action.DELETE, request_method="POST")
def delete(request: Request) -> HTTPSeeOther:
    """Put a record into the bin; the next page offers to undo it."""
    entity: EntityDef = request.context.entity
    key = record_id(request)
    records(request.db, entity.name).delete(key, version=editing.version(editing.typed(request)))
    flash.add(request, "deleted", entity=entity.name, record=key)
    return HTTPSeeOther(f"/{entity.policy.collection}")


@view_config(route_name="record_restore", permission=Action.DELETE, request_method="POST")
def restore(request: Request) -> HTTPSeeOther:
    """Take a record out of the bin."""
    entity: EntityDef = request.context.entity
    key = record_id(request)
    records(request.db, entity.name).restore(key)
    flash.add(request, "restored")
    return HTTPSeeOther(f"/{entity.policy.collection}/{key}")


@view_config(route_name="record_purge", permission=Action.PURGE, request_method="POST")
def purge(request: Request) -> HTTPSeeOther:
    """Remove a record in the bin for good."""
    entity: EntityDef = request.context.entity
    records(request.db, entity.name).purge(record_id(request))
    flash.add(request, "purged")
    return HTTPSeeOther(f"/bin?kind={entity.name}")
