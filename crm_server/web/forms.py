"""Forms derived from the data map: which controls a record has, what stands in them, and what somebody typed.

A form never loses what was typed: controls are rebuilt from the sent text, with the problem at its field. The values
go to the record service as JSON, as a client of the API would send them, so both are judged by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from compliance.datamap import Semantic
from compliance.datamap.text import _
from crm_server.kernel.values import Rejected, countries
from crm_server.web import formats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compliance.datamap import EntityDef, FieldPolicy
    from compliance.datamap.text import Text
    from crm_server.kernel.errors import FieldError
    from crm_server.web.ui import Ui

COMMON_CURRENCIES = (
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "CNY",
    "JPY",
    "HKD",
    "SGD",
    "PLN",
    "SEK",
    "NOK",
    "DKK",
    "CZK",
    "HUF",
)
COMMON_LANGUAGES = (
    "en",
    "de",
    "zh_Hans",
    "zh_Hant",
    "fr",
    "es",
    "it",
    "nl",
    "pl",
    "pt",
    "ja",
    "ko",
    "ru",
    "tr",
    "ar",
)


@dataclass(frozen=True, slots=True)
class Control:
    """One field of a form. `text` is what stands in it; `display` what a reference is called."""

    name: str
    label: Text | str
    widget: str
    text: str = ""
    display: str = ""
    required: bool = False
    options: tuple[tuple[str, str], ...] = ()
    source: str = ""
    max_length: int | None = None
    inputmode: str | None = None
    autocomplete: str | None = None
    rows: int = 5
    wide: bool = False
    help: Text | str | None = None
    error: Text | str | None = None
    autofocus: bool = False
    empty_label: Text | str | None = None

    @property
    def id(self) -> str:
        """Id of the control in the page."""
        return f"f-{self.name.replace('.', '-')}"

    @property
    def described(self) -> str:
        """Ids of what explains the control (ARIA)."""
        parts = [f"{self.id}-error"] if self.error else []
        return " ".join([*parts, *([f"{self.id}-help"] if self.help else [])])


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form: its name there, its declaration, and where it stands in what the service gets."""

    name: str
    policy: FieldPolicy
    custom: bool = False

    @property
    def key(self) -> str:
        """Its name among the record's or the custom fields."""
        return self.name.removeprefix("custom.")


@dataclass(slots=True)
class Decoded:
    """What was sent: JSON values for the record service, and what could not be read."""

    values: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, Text] = field(default_factory=dict)

    @property
    def raw(self) -> dict[str, Any]:
        """As the record service takes it."""
        return {**self.values, "custom": self.custom} if self.custom else dict(self.values)


_WIDGETS = {
    Semantic.LONG_TEXT: "textarea",
    Semantic.EMAIL: "email",
    Semantic.PHONE: "tel",
    Semantic.URL: "text",
    Semantic.MONEY: "money",
    Semantic.BOOLEAN: "checkbox",
    Semantic.DATE: "date",
    Semantic.DATETIME: "datetime-local",
    Semantic.CHOICE: "select",
    Semantic.COUNTRY: "select",
    Semantic.LANGUAGE: "select",
    Semantic.CURRENCY: "select",
    Semantic.TIMEZONE: "select",
    Semantic.REFERENCE: "reference",
}
_INPUT_MODES = {
    Semantic.INTEGER: "numeric",
    Semantic.SMALL_INTEGER: "numeric",
    Semantic.PERCENT: "numeric",
    Semantic.PHONE: "tel",
    Semantic.URL: "url",
    Semantic.EMAIL: "email",
}
FORM_TYPES = frozenset(Semantic) - {Semantic.ID, Semantic.JSON, Semantic.BYTES, Semantic.UUID_LIST}
"""Types that a form can show."""


def choices(ui: Ui, policy: FieldPolicy) -> tuple[tuple[str, str], ...]:
    """Key and text of what can be chosen for a field that is not a reference."""
    semantic = policy.semantic
    if semantic is Semantic.CHOICE:
        return tuple((key, ui.t(text)) for key, text in policy.choices.items())
    if semantic is Semantic.COUNTRY:
        pairs = [(code, formats.country_name(code, ui.locale)) for code in countries()]
        return tuple(sorted(pairs, key=lambda pair: pair[1].casefold()))
    if semantic is Semantic.LANGUAGE:
        return tuple((code, formats.language_name(code, ui.locale)) for code in COMMON_LANGUAGES)
    if semantic is Semantic.CURRENCY:
        return tuple(
            (code, f"{code} – {formats.currency_name(code, ui.locale)}") for code in COMMON_CURRENCIES
        )
    if semantic is Semantic.TIMEZONE:
        return tuple((name, name.replace("_", " ")) for name in sorted(available_timezones()) if "/" in name)
    return ()


def to_input(ui: Ui, policy: FieldPolicy, value: Any, row: Mapping[str, Any]) -> str:  # noqa: PLR0911 - a line a type of field
    """What stands in the control of a stored value."""
    if value is None:
        return ""
    semantic = policy.semantic
    if semantic is Semantic.MONEY:
        return formats.money_input(int(value), row.get(policy.currency_field or ""), ui.locale)
    if semantic is Semantic.BOOLEAN:
        return "true" if value else ""
    if semantic is Semantic.PHONE:
        return formats.as_phone(str(value))
    if semantic is Semantic.DATETIME:
        from datetime import datetime

        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return formats.local_input(moment, ui.zone)
    if semantic is Semantic.DATE:
        return str(value)[:10]
    return str(value)


def from_input(
    ui: Ui, policy: FieldPolicy, text: str, typed: Mapping[str, str], row: Mapping[str, Any]
) -> Any:
    """The JSON value of what was typed; None for nothing.

    Raises:
        Rejected: it can't be read as a value of this type.
    """
    if policy.semantic is Semantic.BOOLEAN:
        return text == "true"
    if text.strip() == "":
        return None
    reader = _READERS.get(policy.semantic)
    return text if reader is None else reader(ui, policy, text, typed, row)


def _money(ui: Ui, policy: FieldPolicy, text: str, typed: Mapping[str, str], row: Mapping[str, Any]) -> int:
    name = policy.currency_field or ""
    minor = formats.parse_money(text, typed.get(name) or row.get(name), ui.locale)
    if minor is None:
        example = formats.money_input(125050, "EUR", ui.locale)
        raise Rejected("money", _("This is not an amount, such as ${example}.", mapping={"example": example}))
    return minor


def _whole(ui: Ui, _policy: FieldPolicy, text: str, _typed: Any, _row: Any) -> int:
    number = formats.parse_number(text.removesuffix("%"), ui.locale)
    if number is None or number != number.to_integral_value():
        raise Rejected("type", _("A whole number is expected here."))
    return int(number)


def _moment(ui: Ui, _policy: FieldPolicy, text: str, _typed: Any, _row: Any) -> str:
    found = formats.parse_local(text, ui.zone)
    if found is None:
        raise Rejected("datetime", _("A date and a time are expected here."))
    return found


_READERS: dict[Semantic, Callable[..., Any]] = {
    Semantic.MONEY: _money,
    Semantic.INTEGER: _whole,
    Semantic.SMALL_INTEGER: _whole,
    Semantic.PERCENT: _whole,
    Semantic.DATETIME: _moment,
}


def read(
    ui: Ui,
    fields: Iterable[FormField],
    typed: Mapping[str, str],
    row: Mapping[str, Any] | None,
    *,
    only_changed: bool = False,
) -> Decoded:
    """Read a sent form.

    Args:
        ui: Language and time zone of the reader.
        fields: The fields of the form.
        typed: What was sent, by field name. A field that was not sent is left alone.
        row: The record as it was read, for changes; None for a new record, whose empty fields get their defaults.
        only_changed: Leave out what stands in the form as it stands in `row`.
    """
    found = Decoded()
    stored = row or {}
    for one in fields:
        if one.name not in typed:
            continue
        text = typed[one.name]
        source = (stored.get("custom") or {}) if one.custom else stored
        if only_changed and text == to_input(ui, one.policy, source.get(one.key), stored):
            continue
        if (
            one.policy.semantic is Semantic.REFERENCE
            and not text
            and typed.get(f"{one.name}.text", "").strip()
        ):
            found.problems[one.name] = _("Choose one of the records that are offered while you type.")
            continue
        try:
            value = from_input(ui, one.policy, text, typed, stored)
        except Rejected as problem:
            found.problems[one.name] = problem.message
            continue
        if row is None and value is None:
            continue
        (found.custom if one.custom else found.values)[one.key] = value
    return found


def placed(errors: Iterable[FieldError], fields: Iterable[FormField]) -> tuple[dict[str, Text], list[Text]]:
    """Errors of the record service by field of the form, and those that belong to no field shown."""
    known = {one.name for one in fields}
    at: dict[str, Text] = {}
    others: list[Text] = []
    for error in errors:
        name = error.pointer.strip("/").replace("~1", "/").replace("~0", "~").replace("/", ".")
        if name in known:
            at.setdefault(name, error.message)
        else:
            others.append(error.message)
    return at, others


def control(
    ui: Ui,
    one: FormField,
    text: str,
    *,
    display: str = "",
    error: Text | None = None,
    options: tuple[tuple[str, str], ...] | None = None,
) -> Control:
    """The control of a field."""
    policy = one.policy
    widget = _WIDGETS.get(policy.semantic, "text")
    if policy.semantic is Semantic.REFERENCE and options is not None:
        widget = "select"
    offered = options if options is not None else choices(ui, policy)
    if widget == "select" and text and text not in {key for key, _text in offered}:
        offered = ((text, display or ui.text_of(policy, text) or text), *offered)
    # Masks of the browser are no rules: the longest text is a hint, everything is judged on the server.
    return Control(
        name=one.name,
        label=policy.label,
        widget=widget,
        text=text,
        display=display,
        required=policy.required and policy.semantic is not Semantic.BOOLEAN,
        options=offered,
        source=f"/pick/{policy.target}" if policy.target else "",
        max_length=policy.max_length if policy.semantic in _TYPED else None,
        inputmode=_INPUT_MODES.get(policy.semantic),
        rows=4 if policy.semantic is Semantic.LONG_TEXT else 1,
        wide=policy.semantic is Semantic.LONG_TEXT,
        help=policy.help,
        error=error,
    )


_TYPED = frozenset({Semantic.TEXT, Semantic.LONG_TEXT, Semantic.EMAIL, Semantic.PHONE, Semantic.URL})


def default_text(one: FormField, entity: EntityDef) -> str:
    """What a new record starts with, as far as the declaration says it."""
    if one.custom:
        return ""
    column = entity.fields[one.name].column
    default = None if column is None else column.default
    if default is None or not getattr(default, "is_scalar", False):
        return ""
    value = getattr(default, "arg", None)
    if isinstance(value, bool):
        return "true" if value else ""
    return str(value) if isinstance(value, str | int) else ""


__all__ = [
    "FORM_TYPES",
    "Control",
    "Decoded",
    "FormField",
    "Rejected",
    "choices",
    "control",
    "default_text",
    "from_input",
    "placed",
    "read",
    "replace",
    "to_input",
]
