"""Custom fields as declarations: from the stored row to the same `FieldPolicy` that fields in code have."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from compliance.datamap import (
    Access,
    Audit,
    Erasure,
    FieldPolicy,
    Handling,
    KeyClass,
    Privacy,
    Retention,
    Search,
    Semantic,
    Withheld,
)
from compliance.datamap.text import Text
from crm_server.domain.custom_fields.models import CustomField

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy.orm import Session

COLUMN_OF = {
    Semantic.TEXT: "text_value",
    Semantic.LONG_TEXT: "text_value",
    Semantic.EMAIL: "text_value",
    Semantic.PHONE: "text_value",
    Semantic.URL: "text_value",
    Semantic.CHOICE: "text_value",
    Semantic.COUNTRY: "text_value",
    Semantic.LANGUAGE: "text_value",
    Semantic.CURRENCY: "text_value",
    Semantic.INTEGER: "int_value",
    Semantic.PERCENT: "int_value",
    Semantic.MONEY: "int_value",
    Semantic.DATE: "date_value",
    Semantic.DATETIME: "time_value",
    Semantic.BOOLEAN: "bool_value",
}
"""The types that a custom field can have, and the column of `custom_value` that holds each."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One live custom field.

    Attributes:
        labels: Label by locale; English is always there.
        choices: Labels of choices by key and locale.
    """

    id: UUID
    entity: int
    name: str
    policy: FieldPolicy
    labels: Mapping[str, str]
    choices: Mapping[str, Mapping[str, str]]
    position: int

    @property
    def number(self) -> int:
        """Stable number; those of custom fields lie above all numbers of fields in code."""
        return self.policy.number

    @property
    def semantic(self) -> Semantic:
        """What the values mean."""
        return self.policy.semantic

    @property
    def column(self) -> str | None:
        """The column of `custom_value` that holds its values; None where they are sealed with their record."""
        return None if self.policy.sealed else COLUMN_OF[self.policy.semantic]

    def label(self, locale: str) -> str:
        """The label in a language, else in English."""
        return self.labels.get(locale) or self.labels["en"]


def handling_of(stored: Mapping[str, Any]) -> Handling:
    """A handling from its stored words.

    Raises:
        KeyError: a part is missing.
        ValueError: a word is not in its vocabulary.
    """
    export: bool | Withheld = True
    if stored["export"] is not True:
        export = Withheld(str(stored["export"]))
    return Handling(
        Privacy(stored["privacy"]),
        KeyClass(stored["key_class"]),
        Retention(stored["retention"]),
        Audit(stored["audit"]),
        Erasure(stored["erasure"]),
        Access(stored["access"]),
        export,
        stored.get("clear"),
    )


def stored_handling(handling: Handling) -> dict[str, Any]:
    """The words of a handling, as they are stored."""
    words = {
        "privacy": str(handling.privacy),
        "key_class": str(handling.key_class),
        "retention": str(handling.retention),
        "audit": str(handling.audit),
        "erasure": str(handling.erasure),
        "access": str(handling.access),
        "export": handling.export.reason if isinstance(handling.export, Withheld) else handling.export,
    }
    return words if handling.clear is None else words | {"clear": handling.clear}


def policy_of(number: int, label: str, semantic: Semantic, stored: Mapping[str, Any]) -> FieldPolicy:
    """The declaration of a custom field; raises as `handling_of`."""
    choices = {key: Text(labels["en"]) for key, labels in (stored.get("choices") or {}).items()}
    return FieldPolicy(
        number=number,
        semantic=semantic,
        label=Text(label),
        handling=handling_of(stored["handling"]),
        search=Search(stored.get("search", "none")),
        required=bool(stored.get("required", False)),
        max_length=stored.get("max_length"),
        choices=choices,
        help=Text(stored["help"]) if stored.get("help") else None,
        minimum=stored.get("minimum"),
        maximum=stored.get("maximum"),
        currency_field=stored.get("currency_field"),
    )


def definition_of(row: CustomField) -> Definition:
    """The definition that a stored row makes."""
    labels = {"en": row.label_en}
    if row.label_zh:
        labels["zh_Hans"] = row.label_zh
    return Definition(
        row.id,
        row.entity,
        row.name,
        policy_of(row.number, row.label_en, Semantic(row.semantic), row.policy),
        labels,
        row.policy.get("choices") or {},
        row.position,
    )


class _Cache:
    """The definitions of this process, and the version of the table that they stand for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[Any, dict[int, dict[str, Definition]]] = (None, {})
        self._checked = float("-inf")

    def get(self, session: Session) -> dict[int, dict[str, Definition]]:
        """Live definitions by entity number and name; one small query says whether the held ones still hold.

        It is asked at most once in `_TRUSTED` seconds, so a change made by another process counts a moment later. A
        transaction that changes definitions itself asks anew and keeps what it sees to itself.

        Rows are never removed and each change raises a version, so the count and the sum of versions tell any change;
        the time of the last one tells a change that was rolled back from another that took its place.
        """
        own = session.info.get(_CHANGED, False)
        if not own and time.monotonic() - self._checked < _TRUSTED:
            return self._held[1]
        asked = select(func.count(), func.sum(CustomField.version), func.max(CustomField.updated_at))
        version = tuple(session.execute(asked).one())
        held, found = self._held
        if held == version:
            self._checked = time.monotonic()
            return found
        rows = session.scalars(
            select(CustomField)
            .where(CustomField.deleted_at.is_(None))
            .order_by(CustomField.entity, CustomField.position, CustomField.number)
        )
        fresh: dict[int, dict[str, Definition]] = {}
        for row in rows:
            fresh.setdefault(row.entity, {})[row.name] = definition_of(row)
        if not own:
            with self._lock:
                self._held, self._checked = (version, fresh), time.monotonic()
        return fresh

    def distrust(self) -> None:
        """Ask again next time."""
        self._checked = float("-inf")


_TRUSTED = 1.0
_ASKED = "kontor.custom_fields"
_CHANGED = "kontor.custom_fields.changed"
_CACHE = _Cache()


def definitions(session: Session, entity: int) -> dict[str, Definition]:
    """The live custom fields of an entity by name, in the order in which people see them."""
    transaction = session.get_transaction()
    asked = session.info.get(_ASKED)
    if asked is None or transaction is None or asked[0] is not transaction:
        asked = (transaction, _CACHE.get(session))
        session.info[_ASKED] = (session.get_transaction(), asked[1])
    return asked[1].get(entity, {})


def forget_in(session: Session) -> None:
    """Ask again in this transaction: a definition has just been changed in it."""
    session.info.pop(_ASKED, None)
    session.info[_CHANGED] = True
    _CACHE.distrust()
