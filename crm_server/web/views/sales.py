"""What only sales has: the board of a pipeline, moving a deal, converting a lead; and ticking off a task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap.text import _
from crm_server.domain.leads.services import LeadService
from crm_server.domain.pipeline import queries
from crm_server.domain.pipeline.services import OpportunityService
from crm_server.kernel.errors import AppError, LostUpdate, ValidationFailed
from crm_server.kernel.listing import Condition
from crm_server.permissions import Action
from crm_server.services import records
from crm_server.web import editing, flash, forms, reading
from crm_server.web.acting import service
from crm_server.web.routes import record_id

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef


@view_config(
    route_name="pipeline", permission=Action.READ, request_method="GET", renderer="pages/board.jinja2"
)
def board(request: Request) -> dict[str, Any]:
    """The board: a column a stage, a card a deal."""
    datamap = request.registry.datamap
    mine = request.GET.get("owner") == "me"
    wanted = request.GET.get("pipeline")
    pipelines = reading.options(request, datamap["pipeline"])
    chosen = UUID(wanted) if wanted in {key for key, _name in pipelines} else None
    found = queries.board(request.db, datamap, chosen, owner_id=request.actor.id if mine else None, cards=25)
    cards = [card for column in found.columns for card in column.cards]
    return {
        "board": found,
        "mine": mine,
        "pipelines": pipelines,
        "accounts": reading.titles(request, datamap["account"], [card.get("account_id") for card in cards]),
        "owners": reading.user_names(request, [card.get("owner_id") for card in cards]),
        "crumbs": [(datamap["opportunity"].policy.label_plural, "/opportunities")],
    }


@view_config(route_name="deal_move", permission=Action.UPDATE, request_method="POST")
def move(request: Request) -> Any:
    """Bring a deal to another stage; a lost one asks why first."""
    key = record_id(request)
    sent = editing.typed(request)
    back = editing.back(request, f"/opportunities/{key}")
    try:
        stage = UUID(sent.get("stage_id", ""))
        service(request, OpportunityService).move(
            key, stage, version=editing.version(sent), lost_reason=sent.get("lost_reason") or None
        )
    except LostUpdate:
        editing.doom(request)
        flash.add(request, "moved_meanwhile")
        return HTTPSeeOther(back)
    except (ValidationFailed, ValueError):
        editing.doom(request)
        return HTTPSeeOther(
            request.route_path(
                "deal_move", id=str(key), _query={"stage_id": sent.get("stage_id", ""), "back": back}
            )
        )
    flash.add(request, "moved")
    return HTTPSeeOther(back)


@view_config(
    route_name="deal_move", permission=Action.UPDATE, request_method="GET", renderer="pages/move.jinja2"
)
def ask_reason(request: Request) -> dict[str, Any]:
    """Ask for what the stage needs: why a deal was lost."""
    datamap = request.registry.datamap
    entity = datamap["opportunity"]
    row = reading.one(request, entity, record_id(request))
    stage = request.GET.get("stage_id", "")
    policy = entity.fields["lost_reason"].policy
    return {
        "row": row,
        "title": row["name"],
        "stage": stage,
        "stage_name": request.ui.given(reading.title_of(request, datamap["stage"], stage)),
        "control": forms.Control(
            name="lost_reason",
            label=policy.label,
            widget="select",
            text=row.get("lost_reason") or "",
            required=True,
            options=forms.choices(request.ui, policy),
            autofocus=True,
        ),
        "back": editing.back(request, f"/opportunities/{row['id']}"),
        "crumbs": [
            (entity.policy.label_plural, "/opportunities"),
            (row["name"], f"/opportunities/{row['id']}"),
        ],
    }


@view_config(route_name="activity_done", permission=Action.UPDATE, request_method="POST")
def done(request: Request) -> HTTPSeeOther:
    """Tick off a task."""
    key = record_id(request)
    sent = editing.typed(request)
    try:
        records(request.db, "activity").update(key, {"status": "done"}, version=editing.version(sent))
    except LostUpdate:
        editing.doom(request)
        return HTTPSeeOther(f"/activities/{key}")
    flash.add(request, "task_done")
    return HTTPSeeOther(editing.back(request, f"/activities/{key}"))


_DEAL = ("name", "stage_id", "amount", "currency", "close_date")


@view_config(
    route_name="lead_convert", permission=Action.UPDATE, request_method="GET", renderer="pages/convert.jinja2"
)
def convert_page(request: Request) -> dict[str, Any]:
    """What shall become of a lead: account and contact, there already or new, and a deal if wanted."""
    lead = reading.one(request, request.registry.datamap["lead"], record_id(request))
    account = _same_account(request, lead)
    contact = _same_contact(request, lead)
    texts = {
        "account_id": account[0],
        "account_id.text": account[1],
        "contact_id": contact[0],
        "contact_id.text": contact[1],
        "deal": "true",
        "name": str(lead.get("company") or lead.get("name") or ""),
        "currency": str(request.registry.settings["kontor"].default_currency),
    }
    stages = queries.default_pipeline(request.db)
    if stages is not None:
        first = queries.stages_of(request.db, stages.id)
        texts["stage_id"] = str(first[0].id) if first else ""
    return _convert(request, lead, texts, {})


def _same_account(request: Request, lead: dict[str, Any]) -> tuple[str, str]:
    if not lead.get("company") or not request.ui.can("read", "account"):
        return "", ""
    entity = request.registry.datamap["account"]
    rows = reading.rows_where(
        request, entity, Condition("name", "eq", lead["company"]), limit=1, fields=("name",)
    ).rows
    return (str(rows[0]["id"]), rows[0]["name"]) if rows else ("", "")


def _same_contact(request: Request, lead: dict[str, Any]) -> tuple[str, str]:
    email = lead.get("email")
    if not email or "*" in email or not request.ui.can("read", "contact"):
        return "", ""
    entity = request.registry.datamap["contact"]
    rows = reading.rows_where(
        request, entity, Condition("email", "eq", email), limit=1, fields=("name",)
    ).rows
    return (str(rows[0]["id"]), rows[0]["name"]) if rows else ("", "")


def _convert(
    request: Request, lead: dict[str, Any], texts: dict[str, str], errors: dict[str, Any], others: Any = ()
) -> dict[str, Any]:
    datamap = request.registry.datamap
    deal: EntityDef = datamap["opportunity"]
    entity: EntityDef = datamap["lead"]
    controls = [
        editing.control_of(request, forms.FormField(name, deal.fields[name].policy), texts, errors.get(name))
        for name in _DEAL
    ]
    problems = [one for one in controls if one.error]
    problems += [forms.Control(name="", label="", widget="", error=text) for text in others]
    return {
        "lead": lead,
        "title": str(lead.get("name") or ""),
        "texts": texts,
        "deal": [forms.replace(one, required=one.name in {"name", "stage_id"}) for one in controls],
        "with_deal": texts.get("deal") == "true" and request.ui.can("create", "opportunity"),
        "problems": problems,
        "path": f"/leads/{lead['id']}",
        "crumbs": [
            (entity.policy.label_plural, "/leads"),
            (str(lead.get("name") or ""), f"/leads/{lead['id']}"),
        ],
    }


@view_config(
    route_name="lead_convert",
    permission=Action.UPDATE,
    request_method="POST",
    renderer="pages/convert.jinja2",
)
def convert(request: Request) -> Any:
    """Convert a lead."""
    datamap = request.registry.datamap
    key = record_id(request)
    sent = editing.typed(request)
    lead = reading.one(request, datamap["lead"], key)
    deal = datamap["opportunity"]
    decoded = forms.Decoded()
    if sent.get("deal") == "true":
        known = [forms.FormField(name, deal.fields[name].policy) for name in _DEAL]
        decoded = editing.decode(request, deal, known, sent, None)
        for name in ("name", "stage_id"):
            if name not in decoded.values:
                decoded.problems.setdefault(name, _("This field must be filled in."))
    if decoded.problems:
        return _refused(request, lead, sent, decoded.problems)
    try:
        made = service(request, LeadService).convert(
            key,
            version=editing.version(sent),
            account_id=_key(sent, "account_id"),
            contact_id=_key(sent, "contact_id"),
            opportunity=decoded.raw if sent.get("deal") == "true" else None,
        )
    except LostUpdate:
        return _refused(request, lead, sent, {}, [LostUpdate.title])
    except ValidationFailed as failed:
        known = [forms.FormField(name, deal.fields[name].policy) for name in _DEAL]
        # What is wrong with the deal stands at its fields; the rest (account, contact) is told above the form.
        errors = [replace(one, pointer=one.pointer.removeprefix("/opportunity")) for one in failed.errors]
        at, others = forms.placed(errors, known)
        return _refused(request, lead, sent, at, others)
    except AppError as error:
        return _refused(request, lead, sent, {}, [error.detail or error.title])
    flash.add(request, "converted", entity="lead", record=key)
    if made.opportunity_id is not None:
        return HTTPSeeOther(f"/opportunities/{made.opportunity_id}")
    return HTTPSeeOther(f"/contacts/{made.contact_id}")


@view_config(route_name="lead_revert", permission=Action.UPDATE, request_method="POST")
def revert(request: Request) -> Any:
    """Take a conversion back, from the lead's page or by the undo of the message."""
    key = record_id(request)
    sent = editing.typed(request)
    service(request, LeadService).revert(key, version=editing.version(sent) if "version" in sent else None)
    flash.add(request, "reverted")
    return HTTPSeeOther(f"/leads/{key}")


def _refused(
    request: Request, lead: dict[str, Any], sent: dict[str, str], errors: Any, others: Any = ()
) -> dict[str, Any]:
    editing.doom(request)
    request.response.status_int = 422
    return _convert(request, lead, sent, errors, others)


def _key(sent: dict[str, str], name: str) -> UUID | None:
    try:
        return UUID(sent[name]) if sent.get(name) else None
    except ValueError:
        return None
