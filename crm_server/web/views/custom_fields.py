"""Administration of custom fields: a form that explains in plain words what each choice of privacy means."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.view import view_config

from compliance.datamap import Access, Erasure, KeyClass, Privacy, Retention, Semantic
from compliance.datamap.text import _
from crm_server.domain.custom_fields import services
from crm_server.kernel.errors import AppError, ValidationFailed
from crm_server.permissions import Permission
from crm_server.web import editing, flash, forms
from crm_server.web.acting import service
from crm_server.web.routes import record_id

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import Handling
    from compliance.datamap.text import Text

TYPES: dict[str, Text] = {
    "text": _("Text, one line"),
    "long_text": _("Text, several lines"),
    "choice": _("Choice from a list"),
    "integer": _("Whole number"),
    "percent": _("Percent"),
    "date": _("Date"),
    "datetime": _("Date and time"),
    "boolean": _("Yes or no"),
    "email": _("E-mail address"),
    "phone": _("Phone number"),
    "url": _("Web address"),
    "country": _("Country"),
    "language": _("Language"),
}
KINDS: dict[str, tuple[Text, Text]] = {
    "business": (
        _("Facts of business"),
        _("Says something about a company, a deal or a product, not about a person."),
    ),
    "figures": (
        _("Figures of business"),
        _("Prices, revenue, discounts. Only roles with financial access see it."),
    ),
    "person_fact": (
        _("Role of a person"),
        _("What a person does in their job: function, language, interests in your products."),
    ),
    "contact_detail": (
        _("Way to reach a person"),
        _("Addresses, numbers and names in networks by which a person can be reached."),
    ),
    "name": (
        _("Identity of a person"),
        _("What identifies a person: names, customer numbers, dates of birth."),
    ),
    "person_note": (_("Notes about a person"), _("Free text that may say anything about a person.")),
    "support_note": (
        _("Text of a service case"),
        _("What a customer writes to service, and what service answers."),
    ),
}
PRIVACY: dict[Privacy, Text] = {
    Privacy.NONE: _("not personal"),
    Privacy.IDENTIFIER: _("identifies a person"),
    Privacy.CONTACT: _("reaches a person"),
    Privacy.FINANCIAL: _("financial data of a person"),
    Privacy.SPECIAL: _("special category (Art. 9 GDPR)"),
    Privacy.EMPLOYEE: _("data of employees"),
    Privacy.FREE_TEXT: _("free text that may be personal"),
}
KEYS: dict[KeyClass, Text] = {
    KeyClass.NONE: _("stored in clear"),
    KeyClass.IDENTITY: _("sealed under the person's key for identity"),
    KeyClass.MARKETING: _("sealed under the person's key for marketing"),
    KeyClass.CONTRACT: _("sealed under the person's key for contracts"),
    KeyClass.SUPPORT: _("sealed under the person's key for service"),
    KeyClass.EMPLOYEE: _("sealed under the employee's key"),
    KeyClass.HEALTH: _("sealed under the person's key for health"),
    KeyClass.AUTH: _("sealed under the key for log-in"),
    KeyClass.AUDIT: _("sealed under the key of the audit log"),
}
RETENTION: dict[Retention, Text] = {
    Retention.RELATIONSHIP: _("as long as the relationship lasts"),
    Retention.SALES: _("as long as sales needs it"),
    Retention.CONTRACT: _("as long as the contract and the law demand"),
    Retention.SERVICE: _("as long as service needs it"),
    Retention.EMPLOYMENT: _("as long as the employment lasts"),
    Retention.SECURITY: _("as long as security needs it"),
    Retention.OPERATION: _("as long as the record exists"),
    Retention.EVIDENCE: _("as long as it is evidence"),
}
ERASURE: dict[Erasure, Text] = {
    Erasure.DELETE: _("is deleted"),
    Erasure.KEEP: _("is kept where the law demands it"),
    Erasure.ANONYMISE: _("is made anonymous"),
    Erasure.NOT_PERSONAL: _("stays: it says nothing about the person"),
}
ACCESS: dict[Access, Text] = {
    Access.GENERAL: _("general fields"),
    Access.PERSONAL: _("personal fields"),
    Access.FINANCIAL: _("financial fields"),
    Access.SPECIAL: _("fields of special categories"),
    Access.SYSTEM: _("fields of the system"),
    Access.SECRET: _("secrets"),
}


def explain(handling: Handling) -> list[tuple[Text, Text]]:
    """A declaration as pairs of question and answer."""
    return [
        (_("Privacy"), PRIVACY[handling.privacy]),
        (_("Protection"), KEYS[handling.key_class]),
        (_("Kept"), RETENTION[handling.retention]),
        (_("When the person is erased, it"), ERASURE[handling.erasure]),
        (_("Seen by roles with access to"), ACCESS[handling.access]),
        (
            _("In the person's export"),
            _("yes") if handling.export is True else _("no"),
        ),
    ]


@view_config(
    route_name="custom_fields",
    permission=Permission.CUSTOM_FIELDS_MANAGE,
    renderer="pages/custom_fields.jinja2",
    request_method="GET",
)
def show(request: Request) -> dict[str, Any]:
    """All custom fields by kind of record."""
    fields = service(request, services.CustomFieldService)
    groups = []
    for entity in request.registry.datamap.records():
        found = fields.visible(entity.name)
        if found:
            rows = [
                {
                    "id": str(one.id),
                    "name": one.name,
                    "label": one.label(request.ui.locale),
                    "type": TYPES.get(str(one.semantic), str(one.semantic)),
                    "required": one.policy.required,
                    "explained": explain(one.policy.handling),
                }
                for one in found
            ]
            groups.append((entity.policy, rows))
    return {"groups": groups}


def _controls(request: Request, sent: dict[str, str], errors: dict[str, Any]) -> dict[str, forms.Control]:
    ui = request.ui
    datamap = request.registry.datamap
    kinds = tuple((item.name, ui.t(item.policy.label)) for item in datamap.records())
    table = {
        "entity": ("select", _("Kind of record"), kinds, None),
        "semantic": ("select", _("Type"), tuple((key, ui.t(text)) for key, text in TYPES.items()), None),
        "label_en": ("text", _("Label (English)"), (), None),
        "label_zh": ("text", _("Label (Chinese)"), (), None),
        "name": (
            "text",
            _("Name for programs"),
            (),
            _(
                "Small letters, digits and _. It can't be changed later. Leave empty to make it from the label."
            ),
        ),
        "help": ("text", _("Hint below the field"), (), None),
        "choices": (
            "textarea",
            _("Choices"),
            (),
            _("Only for a choice from a list: one a line, such as “Gold | 金牌”: English, then Chinese."),
        ),
        "required": ("checkbox", _("Must be filled in"), (), None),
    }
    return {
        name: forms.Control(
            name=name,
            label=label,
            widget=widget,
            options=options,
            help=hint,
            text=sent.get(name, ""),
            error=errors.get(name),
            required=name in {"entity", "semantic", "label_en"},
            max_length=200 if widget == "text" else None,
            rows=4,
            wide=widget == "textarea",
        )
        for name, (widget, label, options, hint) in table.items()
    }


def _page(request: Request, sent: dict[str, str], errors: dict[str, Any], others: Any = ()) -> dict[str, Any]:
    controls = _controls(request, sent, errors)
    problems = [one for one in controls.values() if one.error]
    # The service's own words are for programs: they list the names that the API takes.
    unanswered = _("Choose what the values are.") if errors.get("handling") else None
    if unanswered:
        problems.append(forms.Control(name="handling", label=_("What is it?"), widget="", error=unanswered))
    problems += [forms.Control(name="", label="", widget="", error=text) for text in others]
    return {
        "controls": controls,
        "chosen": sent.get("handling", ""),
        "kinds": [(key, *words, explain(services.PRESETS[key])) for key, words in KINDS.items()],
        "problems": problems,
        "handling_error": unanswered,
        "crumbs": [(_("Custom fields"), "/custom-fields")],
    }


@view_config(
    route_name="custom_field_new",
    permission=Permission.CUSTOM_FIELDS_MANAGE,
    renderer="pages/custom_field.jinja2",
    request_method="GET",
)
def new(request: Request) -> dict[str, Any]:
    """The form."""
    return _page(request, {"entity": request.GET.get("entity", "contact"), "semantic": "text"}, {})


@view_config(
    route_name="custom_field_new",
    permission=Permission.CUSTOM_FIELDS_MANAGE,
    renderer="pages/custom_field.jinja2",
    request_method="POST",
)
def create(request: Request) -> Any:
    """Declare a field."""
    sent = editing.typed(request)
    label = sent.get("label_en", "").strip()
    policy: dict[str, Any] = {"handling": sent.get("handling") or None}
    if sent.get("required") == "true":
        policy["required"] = True
    if sent.get("help", "").strip():
        policy["help"] = sent["help"].strip()
    if sent.get("semantic") == Semantic.CHOICE:
        policy["choices"] = choices_of(sent.get("choices", ""))
    if sent.get("semantic") in {Semantic.TEXT, Semantic.LONG_TEXT}:
        policy["search"] = "none"
    raw = {
        "name": sent.get("name", "").strip() or slug(label),
        "label_en": label,
        "label_zh": sent.get("label_zh", "").strip() or None,
        "semantic": sent.get("semantic", ""),
        "policy": policy,
    }
    try:
        service(request, services.CustomFieldService).declare(sent.get("entity", ""), raw)
    except ValidationFailed as failed:
        return _refused(request, sent, failed)
    except AppError as error:
        editing.doom(request)
        request.response.status_int = error.status
        return _page(request, sent, {}, [error.detail or error.title])
    flash.add(request, "field_made")
    return HTTPSeeOther("/custom-fields")


def _refused(request: Request, sent: dict[str, str], failed: ValidationFailed) -> dict[str, Any]:
    editing.doom(request)
    request.response.status_int = 422
    errors: dict[str, Any] = {}
    others = []
    known = {"entity", "semantic", "label_en", "label_zh", "name", "help", "choices", "required", "handling"}
    for error in failed.errors:
        name = error.pointer.removeprefix("/policy").strip("/").split("/")[0]
        if name in known:
            errors.setdefault(name, error.message)
        else:
            others.append(error.message)
    return _page(request, sent, errors, others)


def slug(text: str) -> str:
    """A name for programs from a label."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:60]
    return name if name[:1].isalpha() else f"field_{name}".rstrip("_") if name else ""


def choices_of(text: str) -> dict[str, dict[str, str]]:
    """Choices from lines such as "Gold | 金牌", with a key made from the English label."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        english, _bar, chinese = (part.strip() for part in line.partition("|"))
        if not english:
            continue
        key = re.sub(r"^field_", "", slug(english))[:40] or f"choice_{len(found) + 1}"
        labels = {"en": english}
        if chinese:
            labels["zh_Hans"] = chinese
        found[key if key not in found else f"{key[:36]}_{len(found) + 1}"] = labels
    return found


@view_config(
    route_name="custom_field_retire", permission=Permission.CUSTOM_FIELDS_MANAGE, request_method="POST"
)
def retire(request: Request) -> HTTPSeeOther:
    """Take a field out of use; its values are kept."""
    service(request, services.CustomFieldService).retire(record_id(request))
    flash.add(request, "field_retired")
    return HTTPSeeOther("/custom-fields")
