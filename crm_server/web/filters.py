"""Filters of lists for people: which comparisons a field offers, how they read, and how typed values become conditions.

The listing layer judges and runs them; addresses of lists carry them as `filter[field][operator]=value`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.kernel.values import Rejected
from crm_server.web import forms, reading

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap import EntityDef, FieldPolicy
    from compliance.datamap.text import Text
    from crm_server.web.ui import Ui

_TEXT = (
    ("contains", _("contains")),
    ("eq", _("is")),
    ("ne", _("is not")),
    ("starts_with", _("begins with")),
)
_WORD = (("eq", _("is")), ("ne", _("is not")))
_NUMBER = (("eq", _("is")), ("ge", _("is at least")), ("le", _("is at most")))
_TIME = (("within", _("lies in")), ("eq", _("is on")), ("ge", _("is from")), ("le", _("is until")))
_EMPTY = (("empty", _("is empty")), ("filled", _("is filled in")))

PERIODS = {
    "today": _("today"),
    "yesterday": _("yesterday"),
    "tomorrow": _("tomorrow"),
    "this_week": _("this week"),
    "last_week": _("last week"),
    "next_week": _("next week"),
    "this_month": _("this month"),
    "last_month": _("last month"),
    "next_month": _("next month"),
    "this_quarter": _("this quarter"),
    "last_quarter": _("last quarter"),
    "next_quarter": _("next quarter"),
    "this_year": _("this year"),
    "last_year": _("last year"),
    "last_7_days": _("last 7 days"),
    "last_30_days": _("last 30 days"),
    "last_90_days": _("last 90 days"),
    "next_7_days": _("next 7 days"),
    "next_30_days": _("next 30 days"),
}
_TEXTS = frozenset({Semantic.TEXT, Semantic.LONG_TEXT, Semantic.EMAIL, Semantic.PHONE, Semantic.URL})
_NUMBERS = frozenset({Semantic.MONEY, Semantic.INTEGER, Semantic.SMALL_INTEGER, Semantic.PERCENT})
_TIMES = frozenset({Semantic.DATE, Semantic.DATETIME})


def operators(policy: FieldPolicy) -> tuple[tuple[str, Text], ...]:
    """The comparisons that a field offers, with how they read between field and value."""
    empty = () if policy.required else _EMPTY
    if policy.semantic in _TEXTS:
        return (*_TEXT, *empty)
    if policy.semantic in _NUMBERS:
        return (*_NUMBER, *empty)
    if policy.semantic in _TIMES:
        return (*_TIME, *empty)
    if policy.semantic is Semantic.BOOLEAN:
        return (("eq", _("is")),)
    return (*_WORD, *empty)


def filterable(request: Request, entity: EntityDef) -> list[forms.FormField]:
    """The fields that the person may filter by, in order of the form, then the bookkeeping that is of use."""
    visible = reading.shown(request, entity)
    useful = [
        forms.FormField(name, item.policy)
        for name, item in visible.fields.items()
        if name in visible.readable
        and item.semantic in forms.FORM_TYPES
        and name not in {"deleted_at", "deleted_by", "subject_id"}
    ]
    useful.sort(key=lambda one: one.name in {"created_at", "updated_at", "created_by", "updated_by"})
    custom = [
        forms.FormField(f"custom.{name}", column.policy, custom=True)
        for name, column in reading.custom_columns(request)(entity).items()
        if request.actor.field_level(column.policy.handling.access) in {"read", "write"}
    ]
    return [*useful, *custom]


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter as it is shown: what it says, and the address of the list without it."""

    text: str
    remove: str


def value_control(  # noqa: PLR0911 - a widget a type of field
    request: Request, one: forms.FormField, operator: str, value: str = ""
) -> forms.Control | None:
    """The control for the value of a comparison; None where there is no value."""
    if operator in {"empty", "filled"}:
        return None
    ui: Ui = request.ui
    policy = one.policy
    plain = {"name": "fv", "label": policy.label, "text": value}
    if operator == "within":
        options = tuple((key, ui.t(text)) for key, text in PERIODS.items())
        return forms.Control(
            widget="select", options=options, required=True, **{**plain, "text": value or "this_month"}
        )
    if policy.semantic in _TIMES:
        return forms.Control(widget="date", **plain)
    if policy.semantic is Semantic.BOOLEAN:
        options = (("true", ui.t(_("Yes"))), ("false", ui.t(_("No"))))
        return forms.Control(
            widget="select", options=options, required=True, **{**plain, "text": value or "true"}
        )
    if policy.semantic is Semantic.REFERENCE:
        target = request.registry.datamap[policy.target or ""]
        if target.name in {"stage", "pipeline", "team", "territory", "price_list", "tag", "user"}:
            options = tuple(
                (key, reading.given(ui, target.name, name)) for key, name in reading.options(request, target)
            )
            if target.name == "user":
                options = (("me", ui.t(_("Me"))), *options)
            return forms.Control(
                widget="select", options=options, required=True, **{**plain, "text": value or ""}
            )
        return forms.Control(
            widget="reference",
            source=f"/pick/{target.name}",
            display=reading.title_of(request, target, value),
            **plain,
        )
    choices = forms.choices(ui, policy)
    if choices:
        return forms.Control(
            widget="select", options=choices, required=True, **{**plain, "text": value or choices[0][0]}
        )
    return forms.Control(widget="text", max_length=200, **plain)


def parameter(ui: Ui, one: forms.FormField, operator: str, text: str) -> tuple[str, str] | None:
    """Name and value of the address parameter for a typed comparison; None when it says nothing.

    Raises:
        Rejected: the value can't be read.
    """
    if operator == "empty":
        return f"filter[{one.name}][is_null]", "true"
    if operator == "filled":
        return f"filter[{one.name}][is_null]", "false"
    if not text.strip():
        return None
    if operator == "within":
        return f"filter[{one.name}][eq]", text
    if one.policy.semantic in _NUMBERS:
        number = forms.from_input(ui, one.policy, text, {}, {})
        return f"filter[{one.name}][{operator}]", str(number)
    return f"filter[{one.name}][{operator}]", text.strip()


def describe(request: Request, one: forms.FormField, operator: str, value: str) -> str:
    """A condition of an address as a sentence: "Close date lies in this month"."""
    ui: Ui = request.ui
    label = ui.t(one.policy.label)
    if operator == "is_null":
        return f"{label} {ui.t(dict(_EMPTY)['empty' if value == 'true' else 'filled'])}"
    words = dict(operators(one.policy))
    if one.policy.semantic in _TIMES and value in PERIODS:
        word = words["within"] if operator == "eq" else words.get(operator, operator)
        return f"{label} {ui.t(word)} {ui.t(PERIODS[value])}"
    word = ui.t(words.get(operator, operator))
    return f"{label} {word} {_value_text(request, one.policy, value)}"


def _value_text(request: Request, policy: FieldPolicy, value: str) -> str:  # noqa: PLR0911 - a line a type of field
    ui: Ui = request.ui
    if policy.semantic is Semantic.REFERENCE:
        if value == "me":
            return ui.t(_("Me"))
        target = request.registry.datamap[policy.target or ""]
        return ", ".join(reading.title_of(request, target, part) or "?" for part in value.split(",")[:5])
    if policy.semantic is Semantic.BOOLEAN:
        return ui.t(_("Yes") if value == "true" else _("No"))
    if policy.semantic in _NUMBERS:
        try:
            number = int(value)
        except ValueError:
            return value
        return ui.money(number, None) if policy.semantic is Semantic.MONEY else ui.number(number)
    if policy.semantic is Semantic.DATE or (policy.semantic is Semantic.DATETIME and len(value) == 10):
        return ui.text_of(forms.replace(policy, semantic=Semantic.DATE), value)
    return ", ".join(ui.text_of(policy, part) for part in value.split(","))


__all__ = [
    "PERIODS",
    "Chip",
    "Rejected",
    "describe",
    "filterable",
    "operators",
    "parameter",
    "value_control",
]
