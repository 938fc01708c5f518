"""Turns a constraint that PostgreSQL refused into an error at the field that caused it. Never quotes a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from crm_server.kernel.errors import AppError, Conflict, FieldError, ValidationFailed

if TYPE_CHECKING:
    from sqlalchemy.exc import IntegrityError

    from compliance.datamap import EntityDef

FOREIGN_KEY, UNIQUE, CHECK, NOT_NULL = "23503", "23505", "23514", "23502"


def explain(error: IntegrityError, entity: EntityDef) -> AppError:
    """The application error that says what an integrity error means for a record of `entity`."""
    diagnosis = getattr(error.orig, "diag", None)
    code = getattr(error.orig, "pgcode", None)
    name = getattr(diagnosis, "constraint_name", None) or ""
    column = getattr(diagnosis, "column_name", None)
    if code == NOT_NULL and column:
        return ValidationFailed([FieldError(f"/{column}", "required", _("This field must be filled in."))])
    columns = _columns_of(entity, name)
    pointer = f"/{columns[0]}" if columns else ""
    if code == FOREIGN_KEY:
        if getattr(diagnosis, "table_name", None) not in {None, entity.table.name}:
            return Conflict(_("Other records still refer to this one."))
        return ValidationFailed([FieldError(pointer, "unknown", _("There is no such record."))])
    if code == UNIQUE:
        return ValidationFailed([FieldError(pointer, "taken", _("This value is already in use."))])
    return ValidationFailed([FieldError(pointer, "check", _("This value does not fit the others."))])


def _columns_of(entity: EntityDef, constraint: str) -> list[str]:
    table = entity.table
    for item in (*table.constraints, *table.indexes):
        columns = [column.name for column in getattr(item, "columns", ())]
        # An index on an expression, such as lower(name), lists no columns: its name tells.
        if getattr(item, "name", None) == constraint and columns:
            return columns
    return [name for name in entity.fields if f"_{name}" in constraint][:1]
