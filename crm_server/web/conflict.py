"""Two people changed the same record: mine, theirs and the original, field by field, and a choice for each.

Fields that only one of them changed are settled; the page asks about the others and shows everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyramid.renderers import render_to_response

from compliance.datamap import Semantic
from crm_server.web import editing, forms, reading
from crm_server.web.formats import as_phone
from crm_server.web.ui import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyramid.request import Request
    from pyramid.response import Response

    from compliance.datamap import EntityDef
    from crm_server.kernel.errors import LostUpdate


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that was changed by at least one of the two."""

    name: str
    label: Any
    original: str
    theirs: str
    mine: str
    mine_text: str
    both: bool
    suggested: str


def chosen(request: Request) -> dict[str, str]:
    """The form that follows from the choices: fields where "mine" was chosen, and the version of theirs."""
    sent = editing.typed(request)
    found = {"version": sent.get("version", "")}
    for name, value in sent.items():
        if name.startswith("choice.") and value == "mine":
            field = name.removeprefix("choice.")
            found[field] = sent.get(f"mine.{field}", "")
    return found


def respond(
    request: Request, entity: EntityDef, row: Mapping[str, Any], sent: Mapping[str, str], lost: LostUpdate
) -> Response:
    """The page, with status 412 and nothing saved."""
    editing.doom(request)
    differences = _differences(request, entity, row, sent, lost)
    people = reading.user_names(request, [row.get("updated_by")])
    response: Response = render_to_response(
        "pages/conflict.jinja2",
        {
            "entity": entity,
            "policy": entity.policy,
            "title": str(row.get(entity.policy.title) or NONE),
            "differences": differences,
            "version": lost.version,
            "row": row,
            "who": people.get(str(row.get("updated_by")), ""),
            "has_original": lost.original is not None,
            "action": f"/{entity.policy.collection}/{row['id']}/resolve",
            "cancel": f"/{entity.policy.collection}/{row['id']}",
            "crumbs": [
                (entity.policy.label_plural, f"/{entity.policy.collection}"),
                (str(row.get(entity.policy.title) or NONE), f"/{entity.policy.collection}/{row['id']}"),
            ],
        },
        request=request,
    )
    response.status_int = 412
    return response


def _differences(
    request: Request, entity: EntityDef, row: Mapping[str, Any], sent: Mapping[str, str], lost: LostUpdate
) -> list[Difference]:
    ui = request.ui
    found = []
    for one in editing.fields(request, entity, creating=False):
        if one.name not in sent:
            continue
        mine = sent[one.name]
        source = (row.get("custom") or {}) if one.custom else row
        theirs_value = (
            lost.theirs.get(one.key, source.get(one.key)) if not one.custom else source.get(one.key)
        )
        theirs = forms.to_input(ui, one.policy, theirs_value, lost.theirs)
        known = lost.original is not None and not one.custom and one.key in lost.original
        original_value = (lost.original or {}).get(one.key) if known else None
        original = forms.to_input(ui, one.policy, original_value, lost.original or {}) if known else theirs
        i_did, they_did = mine != original, theirs != original
        if not known:
            i_did = they_did = mine != theirs
        if not i_did and not they_did:
            continue
        found.append(
            Difference(
                name=one.name,
                label=one.policy.label,
                original=_text(request, one, original_value, lost.original or {}) if known else "",
                theirs=_text(request, one, theirs_value, lost.theirs),
                mine=_typed_text(request, one, mine, sent),
                mine_text=mine,
                both=i_did and they_did and mine != theirs,
                suggested="mine" if i_did else "theirs",
            )
        )
    return sorted(found, key=lambda one: not one.both)


def _text(request: Request, one: forms.FormField, value: Any, row: Mapping[str, Any]) -> str:
    if one.policy.semantic is Semantic.REFERENCE and value:
        target = request.registry.datamap[one.policy.target or ""]
        return reading.title_of(request, target, value)
    text = request.ui.text_of(one.policy, value, row)
    return as_phone(text) if one.policy.semantic is Semantic.PHONE and text else text


def _typed_text(request: Request, one: forms.FormField, text: str, sent: Mapping[str, str]) -> str:
    """What I typed, as it would be shown once saved."""
    try:
        value = forms.from_input(request.ui, one.policy, text, sent, {})
    except forms.Rejected:
        return text
    return _text(request, one, value, sent)
