"""`field()`: the one way to declare a column.

It is a function around `mapped_column` that stores one frozen policy in `Column.info`. It must not be carried
by an `Annotated` alias: SQLAlchemy lets an alias's `info` silently beat a stricter local one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    SmallInteger,
    Uuid,
)
from sqlalchemy import (
    Text as SqlText,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import MappedColumn, mapped_column

from compliance.datamap.policy import FieldPolicy, Handling
from compliance.datamap.vocabulary import Search, Semantic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.types import TypeEngine

    from compliance.datamap.text import Text

POLICY = "kontor.policy"

DEFAULT_LENGTHS = {
    Semantic.TEXT: 200,
    Semantic.LONG_TEXT: 20_000,
    Semantic.EMAIL: 254,  # RFC 5321 §4.5.3.1.3, less the angle brackets
    Semantic.PHONE: 40,
    Semantic.URL: 2_000,
    Semantic.CHOICE: 40,
    Semantic.COUNTRY: 2,
    Semantic.LANGUAGE: 20,
    Semantic.CURRENCY: 3,
    Semantic.TIMEZONE: 64,
}

INTEGER_BOUNDS = {
    Semantic.SMALL_INTEGER: (-(2**15), 2**15 - 1),
    Semantic.INTEGER: (-(2**31), 2**31 - 1),
    # Minor units of a currency. The bound leaves room for sums of a thousand such amounts in a bigint.
    Semantic.MONEY: (-(10**15), 10**15),
    Semantic.PERCENT: (0, 100),
}

_PLAIN_TYPES: dict[Semantic, type[TypeEngine[Any]] | TypeEngine[Any]] = {
    Semantic.ID: Uuid(),
    Semantic.REFERENCE: Uuid(),
    Semantic.INTEGER: Integer(),
    Semantic.SMALL_INTEGER: SmallInteger(),
    Semantic.MONEY: BigInteger(),
    Semantic.PERCENT: SmallInteger(),
    Semantic.BOOLEAN: Boolean(),
    Semantic.DATE: Date(),
    Semantic.DATETIME: DateTime(timezone=True),
    Semantic.JSON: JSONB(),
    Semantic.BYTES: LargeBinary(),
    Semantic.UUID_LIST: ARRAY(Uuid()),
}


def sql_type(semantic: Semantic) -> TypeEngine[Any]:
    """The SQL type that stores a semantic type. Text is `text` with a length check: a longer limit needs no rewrite."""
    found = _PLAIN_TYPES.get(semantic)
    return SqlText() if found is None else found  # type: ignore[return-value]


def field(  # noqa: PLR0913 - a declaration is complete or it is refused; all but four have defaults
    number: int,
    semantic: Semantic,
    label: Text,
    handling: Handling,
    *,
    search: Search = Search.NONE,
    required: bool = False,
    managed: bool = False,
    max_length: int | None = None,
    target: str | None = None,
    references: str | None = None,
    ondelete: str | None = None,
    deferred: bool = False,
    choices: Mapping[str, Text] | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    currency_field: str | None = None,
    help: Text | None = None,
    category: str | None = None,
    sql: TypeEngine[Any] | None = None,
    **column: Any,
) -> MappedColumn[Any]:
    """Declare a column together with its policy.

    Args:
        number: Stable number of the field within its entity, never reused.
        semantic: What the value means; decides SQL type, validation, schema and widget.
        label: Shown to people, translatable.
        handling: Privacy, key class, retention, audit, erasure, export and access.
        target: Entity name that a reference points at.
        references: "schema.table.column" of the foreign key; `ondelete` as in SQL. `deferred` checks it at COMMIT,
            so that both rows can be written in one flush in any order.
        currency_field: For money, the sibling field that holds the ISO 4217 code.
        sql: Overrides the SQL type (rare: technical tables).
        column: Passed on to `mapped_column`.

    Returns:
        A mapped column whose `info` holds the frozen `FieldPolicy`.
    """
    low, high = INTEGER_BOUNDS.get(semantic, (None, None))
    policy = FieldPolicy(
        number=number,
        semantic=semantic,
        label=label,
        handling=handling,
        search=search,
        required=required,
        managed=managed,
        max_length=max_length or DEFAULT_LENGTHS.get(semantic),
        target=target,
        choices=dict(choices or {}),
        minimum=low if minimum is None else minimum,
        maximum=high if maximum is None else maximum,
        currency_field=currency_field,
        help=help,
        category=category,
    )
    args: list[Any] = [sql if sql is not None else sql_type(semantic)]
    if references:
        late: dict[str, Any] = {"deferrable": True, "initially": "DEFERRED"} if deferred else {}
        args.append(ForeignKey(references, ondelete=ondelete, **late))
    column.setdefault("nullable", not required and not column.get("primary_key", False))
    return mapped_column(*args, info={POLICY: policy}, **column)


def column_checks(name: str, policy: FieldPolicy) -> list[CheckConstraint]:
    """The check constraints that follow from a policy: length, bounds, and the keys of choices."""
    checks: list[CheckConstraint] = []
    if policy.choices:
        keys = ", ".join(f"'{key}'" for key in policy.choices)
        checks.append(CheckConstraint(f"{name} IN ({keys})", name=f"{name}_choice"))
    elif policy.max_length and policy.semantic in DEFAULT_LENGTHS:
        checks.append(CheckConstraint(f"char_length({name}) <= {policy.max_length}", name=f"{name}_length"))
    if policy.semantic is Semantic.PERCENT or (
        policy.semantic in INTEGER_BOUNDS
        and (policy.minimum, policy.maximum) != INTEGER_BOUNDS[policy.semantic]
    ):
        checks.append(
            CheckConstraint(f"{name} BETWEEN {policy.minimum} AND {policy.maximum}", name=f"{name}_range")
        )
    return checks
