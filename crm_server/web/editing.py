"""The form of a record: which fields it has, what stands in them, and the page that shows it again with errors.

Used by the views of records, by the conflict page and by the form of custom fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.web import forms, layouts, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyramid.request import Request

    from compliance.datamap import EntityDef
    from compliance.datamap.text import Text
    from crm_server.kernel.errors import AppError, FieldError

CUSTOM_LABEL = _("Further fields")

HIDDEN_ON_CREATE: dict[str, frozenset[str]] = {
    "lead": frozenset({"unqualified_reason"}),
    "opportunity": frozenset({"lost_reason", "probability", "forecast"}),
}
HIDDEN_ALWAYS: dict[str, frozenset[str]] = {
    # Follows from the stage that is chosen.
    "opportunity": frozenset({"pipeline_id"}),
}


def typed(request: Request) -> dict[str, str]:
    """What was sent, without the token. A check box sends an empty text before its own; the last one counts."""
    return {
        name: value for name, value in request.POST.items() if isinstance(value, str) and name != "csrf_token"
    }


def version(sent: Mapping[str, str]) -> int | None:
    """The version of the record on which the form is based."""
    text = sent.get("version", "")
    return int(text) if text.isdigit() and len(text) < 10 else None


def back(request: Request, default: str) -> str:
    """Where to go after saving: a path of ours that the form named, else the record."""
    wanted = str(request.POST.get("back") or request.GET.get("back") or "")
    return (
        wanted if wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted else default
    )


def fields(request: Request, entity: EntityDef, *, creating: bool) -> list[forms.FormField]:
    """The fields that the person may fill in."""
    visible = reading.shown(request, entity)
    left_out = HIDDEN_ALWAYS.get(entity.name, frozenset())
    if creating:
        left_out |= HIDDEN_ON_CREATE.get(entity.name, frozenset())
    found = [
        forms.FormField(name, item.policy)
        for name, item in entity.fields.items()
        if name in visible.writable and item.semantic in forms.FORM_TYPES and name not in left_out
    ]
    found += [
        forms.FormField(f"custom.{name}", column.policy, custom=True)
        for name, column in reading.custom_columns(request)(entity).items()
        if request.actor.field_level(column.policy.handling.access) == "write"
    ]
    return found


def begin(request: Request, entity: EntityDef) -> dict[str, str]:
    """The texts of an empty form: defaults, then what the address says."""
    found: dict[str, str] = {}
    for one in fields(request, entity, creating=True):
        text = forms.default_text(one, entity)
        if one.policy.semantic is Semantic.CURRENCY and one.policy.required:
            text = str(request.registry.settings["kontor"].default_currency)
        if one.name == "owner_id":
            text = str(request.actor.id)
        text = request.GET.get(one.name, text)[:500]
        if text:
            found[one.name] = text
    return found


def stored(request: Request, entity: EntityDef, row: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the form of a record."""
    ui = request.ui
    found = {}
    for one in fields(request, entity, creating=False):
        source = (row.get("custom") or {}) if one.custom else row
        found[one.name] = forms.to_input(ui, one.policy, source.get(one.key), row)
    found["version"] = str(row["version"])
    return found


def decode(
    request: Request,
    entity: EntityDef,
    known: list[forms.FormField],
    sent: Mapping[str, str],
    row: Mapping[str, Any] | None,
    *,
    only_changed: bool = False,
) -> forms.Decoded:
    """Read what was sent as the record service takes it."""
    decoded = forms.read(request.ui, known, sent, row, only_changed=only_changed)
    if entity.name == "opportunity" and decoded.values.get("stage_id"):
        pipeline = _pipeline_of(request, str(decoded.values["stage_id"]))
        if pipeline and (row is None or str(row.get("pipeline_id")) != pipeline):
            decoded.values["pipeline_id"] = pipeline
    return decoded


def _pipeline_of(request: Request, stage: str) -> str | None:
    from crm_server.kernel.listing import Condition

    entity = request.registry.datamap["stage"]
    try:
        rows = reading.rows_where(request, entity, Condition("id", "eq", stage), fields=("pipeline_id",)).rows
    except Exception:  # noqa: BLE001 - an unreadable key is judged by the record service
        return None
    return str(rows[0]["pipeline_id"]) if rows else None


def page(
    request: Request,
    entity: EntityDef,
    texts: Mapping[str, str],
    *,
    row: Mapping[str, Any] | None,
    errors: Mapping[str, Text] | None = None,
    others: Iterable[Text] = (),
    dirty: bool = False,
) -> dict[str, Any]:
    """What the template of the form needs."""
    errors = errors or {}
    known = fields(request, entity, creating=row is None)
    controls = {one.name: control_of(request, one, texts, errors.get(one.name), row) for one in known}
    names = [one.name for one in known if not one.custom]
    grouped = [
        (section.label, [controls[name] for name in section.fields])
        for section in layouts.sections(entity, names)
    ]
    own = [controls[one.name] for one in known if one.custom]
    if own:
        grouped.append((CUSTOM_LABEL, own))
    problems = [one for one in controls.values() if one.error]
    problems += [forms.Control(name="", label="", widget="", error=text) for text in others]
    _focus(grouped, problems)
    address = f"/{entity.policy.collection}"
    title = str(row.get(entity.policy.title) or "") if row else ""
    return {
        "entity": entity,
        "policy": entity.policy,
        "row": row,
        "title": title,
        "sections": grouped,
        "problems": problems,
        "version": texts.get("version"),
        "dirty": dirty,
        "action": f"{address}/{row['id']}/edit" if row else f"{address}/new",
        "cancel": back(request, f"{address}/{row['id']}" if row else address),
        "back": back(request, ""),
        "hidden": {},
        "crumbs": [(entity.policy.label_plural, address)]
        + ([(title, f"{address}/{row['id']}")] if row else []),
    }


def _focus(grouped: list[tuple[Any, list[forms.Control]]], problems: list[forms.Control]) -> None:
    """Put the cursor into the first field, or the first that does not fit."""
    wanted = problems[0].name if problems else None
    for _label, controls in grouped:
        for place, one in enumerate(controls):
            if wanted in {None, one.name}:
                controls[place] = forms.replace(one, autofocus=True)
                return


def control_of(
    request: Request,
    one: forms.FormField,
    texts: Mapping[str, str],
    error: Text | None = None,
    row: Mapping[str, Any] | None = None,
) -> forms.Control:
    """The control of a field, with the options or the name of what it refers to."""
    text = texts.get(one.name, "")
    display, options = "", None
    if one.policy.semantic is Semantic.REFERENCE:
        target = request.registry.datamap[one.policy.target or ""]
        if target.name == "stage":
            options = _stages(request)
        elif target.name in layouts.SMALL or target.name == "user":
            options = tuple(reading.options(request, target))
        embedded = (row or {}).get(reading.short(one.name))
        if isinstance(embedded, dict) and str(embedded["id"]) == text:
            display = str(embedded["name"] or "")
        elif text and options is None:
            display = reading.title_of(request, target, text)
        else:
            display = texts.get(f"{one.name}.text", "")
    return forms.control(request.ui, one, text, display=display, error=error, options=options)


def _stages(request: Request) -> tuple[tuple[str, str], ...]:
    """Stages in their order; with the name of their pipeline when there are several."""
    from crm_server.kernel.listing import ListQuery, Sort

    entity = request.registry.datamap["stage"]
    if not reading.may_list(request, entity):
        return ()
    query = ListQuery(
        sort=Sort("position"), fields=("name", "pipeline_id"), includes=("pipeline",), limit=200
    )
    rows = reading.page_of(request, entity, query).rows
    pipelines = sorted({str(row["pipeline"]["name"]) for row in rows if row.get("pipeline")})
    if len(pipelines) < 2:
        return tuple((str(row["id"]), request.ui.given(str(row["name"]))) for row in rows)
    given = request.ui.given
    rows.sort(key=lambda row: str((row.get("pipeline") or {}).get("name", "")))
    return tuple(
        (
            str(row["id"]),
            f"{given(str((row.get('pipeline') or {}).get('name', '')))} · {given(str(row['name']))}",
        )
        for row in rows
    )


def refused(
    request: Request,
    entity: EntityDef,
    sent: Mapping[str, str],
    row: Mapping[str, Any] | None,
    errors: Iterable[FieldError],
    error: AppError | None = None,
    *,
    problems: Mapping[str, Text] | None = None,
) -> dict[str, Any]:
    """The form again, with all that was typed and what does not fit. Nothing is saved."""
    doom(request)
    request.response.status_int = 422 if error is None else error.status
    at, others = forms.placed(errors, fields(request, entity, creating=row is None))
    if error is not None:
        others.append(error.detail or error.title)
    return page(request, entity, sent, row=row, errors={**at, **(problems or {})}, others=others, dirty=True)


def doom(request: Request) -> None:
    """Roll back what this request did: the page tells of a refusal."""
    request.__dict__["doomed"] = True
