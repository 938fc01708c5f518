"""The start-up gate: a table or column without a complete and coherent declaration stops the application (ENC-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.field import POLICY
from compliance.datamap.policy import OF_A_PERSON, EntityPolicy, FieldPolicy, Withheld
from compliance.datamap.sealed import DOCUMENT, document_columns, sealed_fields, version_column
from compliance.datamap.vocabulary import (
    Access,
    Audit,
    EntityKind,
    Erasure,
    KeyClass,
    Privacy,
    Semantic,
)

if TYPE_CHECKING:
    from sqlalchemy import Column, Table
    from sqlalchemy.orm import Mapper


_UNSEALABLE = frozenset({Semantic.ID, Semantic.REFERENCE, Semantic.BYTES, Semantic.UUID_LIST})
"""Keys are needed by statements; bytes are sealed as streams of chunks by whoever writes them (ENC-16)."""


class UndeclaredError(Exception):
    """A declaration is missing or contradicts itself. The message names the place, the reason and the way out."""


def check_mapper(mapper: Mapper[Any], class_: type[Any]) -> None:
    """Refuse a mapped class whose entity or any of whose columns is not completely declared.

    Raises:
        UndeclaredError: with every problem of the class, one a line.
    """
    table: Table = mapper.local_table  # type: ignore[assignment]
    problems: list[str] = []
    entity = class_.__dict__.get("__entity__")
    if not isinstance(entity, EntityPolicy):
        problems.append(f"{class_.__name__}: no __entity__ = EntityPolicy(...) on the class")
    numbers: dict[int, str] = {}
    for column in table.columns:
        where = f"{table.fullname}.{column.name}"
        policy = column.info.get(POLICY)
        if not isinstance(policy, FieldPolicy):
            problems.append(f"{where}: not declared; write it with field(number, semantic, label, handling)")
            continue
        if policy.number in numbers:
            problems.append(f"{where}: field number {policy.number} is taken by {numbers[policy.number]}")
        numbers[policy.number] = column.name
        problems += [f"{where}: {text}" for text in incoherent(policy, column)]
        if isinstance(entity, EntityPolicy):
            problems += [f"{where}: {text}" for text in _misplaced(policy, entity)]
            problems += [f"{where}: {text}" for text in _in_clear(policy)]
    problems += _sealing(class_, table, entity, numbers)
    if problems:
        raise UndeclaredError("The data map is incomplete:\n  " + "\n  ".join(problems))


def incoherent(policy: FieldPolicy, column: Column[Any] | None = None) -> list[str]:
    """What in a field's declaration contradicts itself; empty when it is sound. Also used for custom fields."""
    handling = policy.handling
    rules = [
        (policy.number < 1, "the field number must be 1 or more"),
        (not str(policy.label).strip(), "the label is empty"),
        (
            policy.personal and handling.key_class is KeyClass.NONE and not (handling.clear or "").strip(),
            "personal data without a key class would be stored in clear; name its key class, or say why in `clear`",
        ),
        (
            not policy.personal and handling.key_class not in {KeyClass.NONE, KeyClass.AUTH, KeyClass.AUDIT},
            "a key class of a person on a value that is not personal; set its privacy class",
        ),
        (
            policy.personal and handling.erasure is Erasure.NOT_PERSONAL,
            "personal data needs an erasure action: delete, keep under a statutory basis, or anonymise",
        ),
        (
            handling.privacy is Privacy.SPECIAL and handling.access is not Access.SPECIAL,
            "special categories (GDPR Art. 9) belong to the access group 'special'",
        ),
        (
            handling.audit is Audit.OFF and policy.personal,
            "changes of personal data are always audited, at least as a fact",
        ),
        (
            isinstance(handling.export, Withheld) and not handling.export.reason.strip(),
            "withheld from the subject's export without a reason",
        ),
        (policy.semantic is Semantic.CHOICE and not policy.choices, "a choice without choices"),
        (
            policy.semantic is Semantic.REFERENCE and not policy.target,
            "a reference must name its target entity",
        ),
        (
            policy.semantic is Semantic.MONEY and not policy.currency_field,
            "money must name the field with its currency (ISO 4217)",
        ),
    ]
    problems = [text for broken, text in rules if broken]
    if column is not None and policy.required and column.nullable:
        problems.append("required, but the column is nullable")
    return problems


def _misplaced(policy: FieldPolicy, entity: EntityPolicy) -> list[str]:
    if policy.personal and entity.kind is not EntityKind.TECHNICAL and entity.subject is None:
        return ["personal data, but the entity leads to no data subject; set EntityPolicy(subject=…)"]
    return []


def _in_clear(policy: FieldPolicy) -> list[str]:
    """A column whose key class is a person's would hold in clear what must be sealed (ENC-2)."""
    if policy.sealed and policy.semantic is not Semantic.BYTES:
        key_class = policy.handling.key_class
        return [f"key class {key_class} on a plain column; declare it with sealed(…) instead of field(…)"]
    return []


def _sealing(class_: type[Any], table: Table, entity: Any, numbers: dict[int, str]) -> list[str]:
    """What is wrong with the sealed fields of a class and with their documents."""
    problems: list[str] = []
    fields, documents = sealed_fields(class_), document_columns(table)
    for name, item in fields.items():
        where, policy = f"{table.fullname}.{name}", item.policy
        if policy.number in numbers:
            problems.append(f"{where}: field number {policy.number} is taken by {numbers[policy.number]}")
        numbers[policy.number] = name
        problems += [f"{where}: {text}" for text in incoherent(policy)]
        if not policy.sealed:
            problems.append(
                f"{where}: sealed, but its key class is no person's; name the class that seals it"
            )
        elif policy.handling.key_class not in documents:
            key_class = policy.handling.key_class
            problems.append(
                f"{where}: sealed, but there is no document of class {key_class}; add "
                f"sealed_{key_class} = sealed_document(number, KeyClass.{key_class.name})"
            )
        if policy.semantic in _UNSEALABLE:
            problems.append(f"{where}: a value of type {policy.semantic} can't be in a sealed document")
    if not documents:
        return problems
    if len(documents) != sum(DOCUMENT in column.info for column in table.columns):
        problems.append(f"{table.fullname}: two documents of one key class")
    problems += [
        f"{table.fullname}.{name}: a document is of a person's key class, not {key_class}"
        for key_class, name in documents.items()
        if key_class not in OF_A_PERSON
    ]
    if version_column(table) is None:
        problems.append(f"{table.fullname}: documents without sealed_version = document_version(number)")
    subject = entity.subject if isinstance(entity, EntityPolicy) else None
    if subject is None or subject not in table.columns:
        problems.append(f"{table.fullname}: documents, but the entity leads to no data subject")
    if "id" not in table.columns:
        problems.append(f"{table.fullname}: documents are bound to a record's id, and there is none")
    return problems
