"""Custom fields: declared by an administrator at run time, held to the same rules as fields in code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, text

from compliance.audit.capture import add_changes
from compliance.datamap import Access, Audit, KeyClass, Semantic
from compliance.datamap.documents import read, write
from compliance.datamap.field import DEFAULT_LENGTHS, INTEGER_BOUNDS
from compliance.datamap.gate import incoherent
from compliance.datamap.sealed import FIRST_CUSTOM
from compliance.datamap.text import Text, _
from crm_server.domain.base import SettingService
from crm_server.domain.custom_fields.definitions import (
    COLUMN_OF,
    Definition,
    definitions,
    forget_in,
    policy_of,
    stored_handling,
)
from crm_server.domain.custom_fields.models import CustomField, CustomValue
from crm_server.kernel import handling
from crm_server.kernel.db import actor_of
from crm_server.kernel.errors import Conflict, Errors, NotAllowed
from crm_server.kernel.opening import read_rows
from crm_server.kernel.presenter import mask_kind
from crm_server.kernel.values import Rejected, decode
from crm_server.permissions import Permission
from security.access.masks import mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap, EntityDef

PRESETS = {
    "business": handling.BUSINESS,
    "figures": handling.FIGURES,
    "name": handling.NAME,
    "contact_detail": handling.CONTACT_DETAIL,
    "person_fact": handling.PERSON_FACT,
    "person_segment": handling.PERSON_SEGMENT,
    "person_note": handling.PERSON_NOTE,
    "support_note": handling.SUPPORT_NOTE,
}
"""Complete declarations by the name of what a value is, so that nobody has to choose seven words one by one."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_KEY = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
_PARTS = frozenset(
    {
        "handling",
        "required",
        "choices",
        "max_length",
        "minimum",
        "maximum",
        "currency_field",
        "help",
        "search",
    }
)
_MOST_CHOICES = 500
_ONE_AT_A_TIME = text("select pg_advisory_xact_lock(hashtext('kontor.custom_field'))")


class CustomFieldService(SettingService):
    """Make, relabel, reorder and retire custom fields. A retired field keeps its number and its row for ever."""

    entity_name = "custom_field"

    def require(self, action: str) -> None:
        """One permission for all of it; everybody may read what fields there are."""
        if action != "read" and not self.actor.may(Permission.CUSTOM_FIELDS_MANAGE):
            raise NotAllowed(str(Permission.CUSTOM_FIELDS_MANAGE))

    def declare(self, entity: str, raw: Mapping[str, Any]) -> CustomField:
        """Make a custom field.

        Args:
            entity: The record that gets it, by name: "contact".
            raw: `name`, `label_en`, `label_zh`, `semantic`, `position`, and `policy` with `handling` (a name of
                `PRESETS`, or all of privacy, key_class, retention, audit, erasure, access, export), and as the type
                needs them `choices`, `required`, `max_length`, `minimum`, `maximum`, `currency_field`, `help`.
        """
        found = self.datamap.entities.get(entity)
        number = found.number if found is not None and found.exposed else 0
        return self.create({**raw, "entity": number})

    def retire(self, field_id: UUID, *, version: int | None = None) -> CustomField:
        """Take a field out of use. Its values stay until it is restored or their records are purged."""
        return self.delete(field_id, version=version)

    def visible(self, entity: str) -> list[Definition]:
        """The live custom fields of an entity, in order."""
        return list(definitions(self.session, self.datamap[entity].number).values())

    def listed(self, entity: str) -> list[CustomField]:
        """The live rows of an entity's custom fields, in order."""
        return list(
            self.session.scalars(
                select(CustomField)
                .where(CustomField.entity == self.datamap[entity].number, CustomField.deleted_at.is_(None))
                .order_by(CustomField.position, CustomField.number)
            )
        )

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Check the declaration; a number, a name, a type and an entity never change."""
        if record is not None:
            for name in ("entity", "name", "semantic", "policy"):
                if name in values and values[name] != getattr(record, name):
                    errors.add(
                        f"/{name}", "fixed", _("This can't be changed. Retire the field and make a new one.")
                    )
            return
        entity = self.datamap.by_number(values.get("entity") or 0)
        if entity is None or not entity.exposed:
            errors.add("/entity", "unknown", _("There is no such kind of record."))
            return
        self.session.execute(_ONE_AT_A_TIME)
        self._check_name(values.get("name") or "", entity, errors)
        self._check_free(values.get("name"), entity.number, errors)
        last = self.session.scalar(
            select(func.max(CustomField.number)).where(CustomField.entity == entity.number)
        )
        values["number"] = max((last or 0) + 1, FIRST_CUSTOM)
        semantic = self._semantic(values.get("semantic"), errors)
        stored = values.get("policy")
        if not isinstance(stored, dict):
            errors.add("/policy", "type", _("The declaration is missing."))
        elif semantic is not None:
            values["policy"] = self._policy(stored, semantic, errors)
            if not errors.items:
                self._check_coherence(values, semantic, entity, errors)

    def saved(self, record: Any, before: Mapping[str, Any] | None) -> None:
        """Readers in this transaction see the change; others see it when it is committed."""
        forget_in(self.session)

    def delete(self, record_id: UUID, *, version: int | None = None) -> Any:
        """Retire."""
        found = super().delete(record_id, version=version)
        forget_in(self.session)
        return found

    def restore(self, record_id: UUID) -> Any:
        """Bring a retired field back, with its values, unless another one has its name by now."""
        self.require("delete")
        self.session.execute(_ONE_AT_A_TIME)
        retired, errors = self.get(record_id, deleted=True), Errors()
        self._check_free(retired.name, retired.entity, errors)
        errors.raise_if_any()
        found = super().restore(record_id)
        forget_in(self.session)
        return found

    def purge(self, record_id: UUID) -> None:
        """Refused: the number would be free again, and old events would mean something else."""
        raise Conflict(_("A custom field is retired, never removed: its number must not be used again."))

    @staticmethod
    def _check_name(name: str, entity: EntityDef, errors: Errors) -> None:
        if not _NAME.fullmatch(name):
            errors.add("/name", "format", _("Use small letters, digits and _, beginning with a letter."))
        elif name in entity.fields or name == "custom":
            errors.add("/name", "taken", _("This value is already in use."))

    def _check_free(self, name: str | None, entity: int, errors: Errors) -> None:
        """The index would refuse it as well, but names the kind of record as the place."""
        taken = select(CustomField.id).where(
            CustomField.entity == entity, CustomField.name == name, CustomField.deleted_at.is_(None)
        )
        if self.session.scalar(taken) is not None:
            text_ = _(
                "There is a custom field of this name already. Choose another name, or retire that one."
            )
            errors.add("/name", "taken", text_)

    @staticmethod
    def _semantic(word: str | None, errors: Errors) -> Semantic | None:
        try:
            semantic = Semantic(word or "")
        except ValueError:
            semantic = None
        if semantic not in COLUMN_OF:
            keys = ", ".join(sorted(COLUMN_OF))
            errors.add("/semantic", "choice", _("One of these is expected: ${keys}.", mapping={"keys": keys}))
            return None
        return semantic

    def _policy(self, stored: dict[str, Any], semantic: Semantic, errors: Errors) -> dict[str, Any]:
        """The declaration with presets filled in and every part checked for its type."""
        for name in stored.keys() - _PARTS:
            errors.add(f"/policy/{name}", "unknown_field", _("There is no such field."))
        policy = dict(stored)
        preset = policy.get("handling")
        if isinstance(preset, str) and preset in PRESETS:
            policy["handling"] = stored_handling(PRESETS[preset])
        elif not isinstance(preset, dict):
            keys = ", ".join(PRESETS)
            errors.add(
                "/policy/handling",
                "required",
                _("Say how the values are treated: ${keys}, or each part.", mapping={"keys": keys}),
            )
        self._check_choices(policy, semantic, errors)
        for name in ("max_length", "minimum", "maximum"):
            value = policy.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                errors.add(f"/policy/{name}", "type", _("A whole number is expected here."))
        if not errors.items:
            low, high = INTEGER_BOUNDS.get(semantic, (None, None))
            policy["minimum"] = low if policy.get("minimum") is None else policy["minimum"]
            policy["maximum"] = high if policy.get("maximum") is None else policy["maximum"]
            longest = DEFAULT_LENGTHS.get(semantic)
            policy["max_length"] = min(policy.get("max_length") or longest, longest) if longest else None
        return policy

    @staticmethod
    def _check_choices(policy: dict[str, Any], semantic: Semantic, errors: Errors) -> None:
        choices = policy.get("choices")
        if choices is None and semantic is not Semantic.CHOICE:
            return
        sound = (
            isinstance(choices, dict)
            and 0 < len(choices) <= _MOST_CHOICES
            and all(_KEY.fullmatch(key) for key in choices)
            and all(
                isinstance(labels, dict)
                and isinstance(labels.get("en"), str)
                and labels["en"].strip()
                and all(isinstance(label, str) and len(label) <= 200 for label in labels.values())
                for labels in choices.values()
            )
        )
        if not sound:
            errors.add(
                "/policy/choices",
                "type",
                _("Each choice has a key and labels by language, English among them."),
            )
            return
        seen: set[tuple[str, str]] = set()
        for key, labels in (choices or {}).items():
            told = {
                (language, label.strip().casefold()) for language, label in labels.items() if label.strip()
            }
            if told & seen:
                text_ = _("“${label}” stands twice in the list of choices.", mapping={"label": labels["en"]})
                errors.add(f"/policy/choices/{key}", "twice", text_)
            seen |= told

    @staticmethod
    def _check_coherence(
        values: dict[str, Any], semantic: Semantic, entity: EntityDef, errors: Errors
    ) -> None:
        """The gate of fields in code, for a field that no code has."""
        stored = values["policy"]
        try:
            policy = policy_of(values["number"], values.get("label_en") or "", semantic, stored)
        except (KeyError, ValueError, TypeError, AttributeError):
            errors.add(
                "/policy/handling", "incomplete", _("A part of the declaration is missing or unknown.")
            )
            return
        for sentence in incoherent(policy):
            errors.add("/policy", "incoherent", Text(sentence))
        if policy.sealed and policy.handling.key_class not in entity.documents:
            errors.add(
                "/policy/handling",
                "no_document",
                _("Values under this key can't be kept on this kind of record. Choose another protection."),
            )
        if policy.personal and entity.policy.subject is None:
            errors.add(
                "/policy/handling",
                "no_subject",
                _("This kind of record belongs to no person, so it can't be personal."),
            )
        if policy.handling.access in {Access.SYSTEM, Access.SECRET}:
            errors.add(
                "/policy/handling", "access", _("Values of this access group could be seen by nobody.")
            )
        currency = entity.fields.get(policy.currency_field or "")
        if semantic is Semantic.MONEY and (currency is None or currency.semantic is not Semantic.CURRENCY):
            errors.add("/policy/currency_field", "unknown", _("Name the field that holds the currency."))


class CustomFieldStore:
    """`kernel.custom.CustomFields`: reads, checks and keeps the values of custom fields for record services."""

    def __init__(self, session: Session, datamap: DataMap, *, country: str = "DE") -> None:
        self.session = session
        self.datamap = datamap
        self.country = country

    def definitions(self, entity: EntityDef) -> dict[str, Definition]:
        """The live custom fields of an entity by name, in order."""
        return definitions(self.session, entity.number)

    def clean(
        self, entity: EntityDef, given: Mapping[str, Any], errors: Errors, *, partial: bool
    ) -> dict[str, Any]:
        """Decode values by name; note problems at "/custom/<name>"."""
        known = self.definitions(entity)
        actor = actor_of(self.session)
        values: dict[str, Any] = {}
        for name, value in given.items():
            pointer = f"/custom/{name.replace('~', '~0').replace('/', '~1')}"
            found = known.get(name)
            if found is None:
                errors.add(pointer, "unknown_field", _("There is no such field."))
            elif actor.field_level(found.policy.handling.access, f"{entity.name}.custom.{name}") != "write":
                errors.add(pointer, "not_allowed", _("You may not change this field."))
            else:
                try:
                    values[name] = decode(found.policy, value, country=self.country)
                except Rejected as problem:
                    errors.add(pointer, problem.code, problem.message)
        if not partial:
            for name, found in known.items():
                if found.policy.required and name not in given:
                    errors.add(f"/custom/{name}", "required", _("This field must be filled in."))
        return values

    def save(self, entity: EntityDef, record: Any, values: Mapping[str, Any]) -> bool:
        """Note decoded values for the next flush; the record's next audit event tells of them."""
        known = self.definitions(entity)
        wanted = {known[name].id: (known[name], value) for name, value in values.items() if name in known}
        stored = [key for key, (found, _value) in wanted.items() if found.column is not None]
        there = {row.field_id: row for row in self._rows([record.id], stored)}
        changed: dict[int, tuple[Any, Any]] = {}
        facts: list[int] = []
        for key, (found, value) in wanted.items():
            if found.column is None:
                key_class = found.policy.handling.key_class
                old = read(record, key_class, found.number)
                if old != value:
                    write(record, key_class, found.number, value)
            else:
                row = there.get(key)
                old = getattr(row, found.column) if row is not None else None
                if old != value:
                    self._put(record.id, found, row, value)
            if old == value:
                continue
            if found.policy.handling.audit is Audit.VALUE:
                changed[found.number] = (old, value)
            elif found.policy.handling.audit is Audit.FACT:
                facts.append(found.number)
        if changed or facts:
            add_changes(record, changed, facts)
        return bool(changed or facts)

    def load(self, entity: EntityDef, record_ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
        """Values by record and name, as the session's actor may see them; fields without a value are None."""
        actor = actor_of(self.session)
        visible = {
            found.id: (found, level)
            for found in self.definitions(entity).values()
            if (
                level := actor.field_level(found.policy.handling.access, f"{entity.name}.custom.{found.name}")
            )
            != "hidden"
        }
        if not visible:
            return {}
        empty = {found.name: None for found, _level in visible.values()}
        result: dict[UUID, dict[str, Any]] = {key: dict(empty) for key in record_ids}
        sealed = [found for found, _level in visible.values() if found.column is None]
        for key, row in read_rows(self.session, entity, (), record_ids, _by_class(sealed)).items():
            result[key] |= {found.name: row[found.name] for found in sealed}
        for stored in self._rows(
            record_ids, [found.id for found, _level in visible.values() if found.column]
        ):
            found, _level = visible[stored.field_id]
            result[stored.record_id][found.name] = getattr(stored, found.column or "")
        masks = {found.name: mask_kind(found) for found, level in visible.values() if level == "masked"}
        for values in result.values():
            values |= {name: mask(values[name], kind) for name, kind in masks.items()}
        return result

    def _put(self, record_id: UUID, found: Definition, row: CustomValue | None, value: Any) -> None:
        column = found.column or ""
        if value is None:
            self.session.delete(row)
        elif row is None:
            self.session.add(CustomValue(record_id=record_id, field_id=found.id, **{column: value}))
        else:
            setattr(row, column, value)

    def _rows(self, record_ids: Sequence[UUID], field_ids: list[UUID]) -> list[CustomValue]:
        if not field_ids or not record_ids:
            return []
        with self.session.no_autoflush:
            return list(
                self.session.scalars(
                    select(CustomValue).where(
                        CustomValue.record_id.in_(record_ids), CustomValue.field_id.in_(field_ids)
                    )
                )
            )


def _by_class(sealed: Sequence[Definition]) -> dict[KeyClass, list[tuple[int, str]]]:
    found: dict[KeyClass, list[tuple[int, str]]] = {}
    for item in sealed:
        found.setdefault(item.policy.handling.key_class, []).append((item.number, item.name))
    return found


def forget(session: Session, entity: EntityDef, record_id: UUID) -> None:
    """Remove the values of a record that is purged."""
    del entity
    session.execute(delete(CustomValue).where(CustomValue.record_id == record_id))
