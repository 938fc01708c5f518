"""`sealed()` and `sealed_document()`: how a field is declared that is stored in its row's sealed document.

A sealed field has no column. All sealed fields of one row and one key class are one document in one column, so a new
sealed field changes no table, and no statement can write its value in clear: there is no place for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from sqlalchemy import CheckConstraint

from compliance.datamap import documents
from compliance.datamap.field import DEFAULT_LENGTHS, INTEGER_BOUNDS, field
from compliance.datamap.policy import FieldPolicy, Handling, Withheld
from compliance.datamap.text import _
from compliance.datamap.vocabulary import (
    Access,
    Audit,
    Erasure,
    KeyClass,
    Privacy,
    Retention,
    Search,
    Semantic,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Table
    from sqlalchemy.orm import MappedColumn

    from compliance.datamap.text import Text

DOCUMENT = "kontor.document"
"""Key of `Column.info` that names the key class of a document's column."""
VERSION = "kontor.document_version"
"""Key of `Column.info` that marks the column with the version of a row's documents."""
FIRST_CUSTOM = 10_001
"""Fields made at run time are numbered from here, in documents and in the audit log."""

T = TypeVar("T")

_STORED = Handling(
    Privacy.NONE,
    KeyClass.NONE,
    Retention.OPERATION,
    Audit.OFF,
    Erasure.NOT_PERSONAL,
    Access.SYSTEM,
    Withheld("The sealed form of fields that are exported one by one."),
)


class SealedInStatementError(TypeError):
    """A sealed field stands in an SQL expression. The database has only its document: ask the search service."""


class Sealed(Generic[T]):
    """A field in the sealed document of its row. Reads and writes like any attribute.

    The document is opened when one of its fields is first read; a change is sealed by the next flush.
    """

    def __init__(self, policy: FieldPolicy) -> None:
        self.policy = policy
        self.name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Sealed[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> T: ...
    def __get__(self, instance: object | None, owner: type[Any]) -> Any:
        if instance is None:
            return self
        return documents.read(instance, self.policy.handling.key_class, self.policy.number)

    def __set__(self, instance: object, value: T) -> None:
        documents.write(instance, self.policy.handling.key_class, self.policy.number, value)

    def _refuse(self, *_arguments: Any) -> NoReturn:
        raise SealedInStatementError(
            f"{self.name} is sealed and can't stand in a statement; find records by it through the search service"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __clause_element__ = in_ = is_ = is_not = like = ilike = asc = desc = _refuse
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Sealed {self.name}>"


def sealed(  # noqa: PLR0913 - as for `field`
    number: int,
    semantic: Semantic,
    label: Text,
    handling: Handling,
    *,
    search: Search = Search.NONE,
    required: bool = False,
    managed: bool = False,
    max_length: int | None = None,
    choices: Mapping[str, Text] | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    currency_field: str | None = None,
    help: Text | None = None,
    category: str | None = None,
) -> Sealed[Any]:
    """Declare a field of the row's sealed document; arguments as for `field`.

    The handling names the key class, and with it the document: `sealed_document(…, key_class)` on the same class.
    """
    low, high = INTEGER_BOUNDS.get(semantic, (None, None))
    return Sealed(
        FieldPolicy(
            number=number,
            semantic=semantic,
            label=label,
            handling=handling,
            search=search,
            required=required,
            managed=managed,
            max_length=max_length or DEFAULT_LENGTHS.get(semantic),
            choices=dict(choices or {}),
            minimum=low if minimum is None else minimum,
            maximum=high if maximum is None else maximum,
            currency_field=currency_field,
            help=help,
            category=category,
        )
    )


def sealed_document(number: int, key_class: KeyClass) -> MappedColumn[Any]:
    """Declare the column of a row's document of one key class; NULL when none of its fields has a value."""
    column = field(number, Semantic.BYTES, _("Sealed document"), _STORED, managed=True)
    column.column.info[DOCUMENT] = key_class
    return column


def document_version(number: int) -> MappedColumn[Any]:
    """Declare the version of a row's documents, which is part of what they are bound to: it rises with each sealing."""
    column = field(
        number, Semantic.INTEGER, _("Version of the sealed documents"), _STORED, required=True, managed=True,
        default=0, server_default="0",
    )  # fmt: skip
    column.column.info[VERSION] = True
    return column


# The shortest document: header of 66 bytes, nonce or IV, 32 bytes of content, tag.
_SHORTEST = 66 + 12 + 32 + 16


def document_checks(name: str) -> list[CheckConstraint]:
    """What keeps a statement from putting anything but a sealed document into its column."""
    test = (
        f"octet_length({name}) >= {_SHORTEST} and get_byte({name}, 0) = 1 and get_byte({name}, 1) in (1, 2)"
    )
    return [CheckConstraint(test, name=f"{name}_is_sealed")]


def sealed_fields(class_: type[Any]) -> dict[str, Sealed[Any]]:
    """The sealed fields of a class by name, those of its bases behind its own."""
    found: dict[str, Sealed[Any]] = {}
    for base in class_.__mro__:
        for name, value in base.__dict__.items():
            if isinstance(value, Sealed):
                found.setdefault(name, value)
    return found


def document_columns(table: Table) -> dict[KeyClass, str]:
    """The columns of a table's documents by key class."""
    return {column.info[DOCUMENT]: column.name for column in table.columns if DOCUMENT in column.info}


def version_column(table: Table) -> str | None:
    """The column with the version of a row's documents."""
    return next((column.name for column in table.columns if VERSION in column.info), None)


def lay_out(class_: type[Any], table: Table) -> None:
    """Give a class that has documents its `__layout__`. The gate has made sure that it is complete."""
    columns, version = document_columns(table), version_column(table)
    if not columns or version is None:
        return
    policy = class_.__entity__
    class_.__layout__ = documents.Layout(
        policy.number,
        policy.subject,
        version,
        {str(key_class): name for key_class, name in columns.items()},
        {item.policy.number: (name, item.policy) for name, item in sealed_fields(class_).items()},
    )
    documents.watch(class_)
