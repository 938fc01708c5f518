"""Writes the one migration that there is before the first release, anew from the models.

Run `python -m crm_server.migrations.initial` after a change of a model. Once there is a release, this module goes and
each change is a migration of its own.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.migration import MigrationContext
from alembic.operations import ops
from sqlalchemy.dialects import postgresql

from compliance.datamap import Base
from crm_server.models import datamap

FILE = Path(__file__).parent / "versions" / "0001_foundation.py"
_RESERVED = frozenset({"user", "case"})


def write() -> None:
    """Replace tables, indexes, late foreign keys and the list of record tables; the rest of the file stays."""
    text = FILE.read_text(encoding="utf-8")
    head, rest = text.split("RECORDS: support.Records = (\n", 1)
    _old, rest = rest.split("\n)\n", 1)
    frame, rest = rest.split('foreign keys of cycles."""\n', 1)
    _old, tail = rest.split("\n\n\ndef downgrade", 1)
    FILE.write_text(
        f"{head}RECORDS: support.Records = (\n{_records()}\n){chr(10)}{frame}"
        f'foreign keys of cycles."""\n{_tables()}\n\n\ndef downgrade{tail}',
        encoding="utf-8",
    )


def _records() -> str:
    """The tables that get triggers: those whose rows carry the event of their last change and a version."""
    return "\n".join(
        f"    ({_name(entity.table.fullname)!r}, {entity.number}, {'deleted_at' in entity.fields}),"
        for entity in datamap()
        if {"event_id", "version"} <= entity.fields.keys()
    )


def _name(full: str) -> str:
    return ".".join(f'"{part}"' if part in _RESERVED else part for part in full.split("."))


def _tables() -> str:
    datamap()
    tables = Base.metadata.sorted_tables
    late: list[str] = []
    made: set[str] = set()
    operations: list[ops.MigrateOperation] = []
    for table in tables:
        operation = ops.CreateTableOp.from_table(table)
        made.add(table.fullname)
        kept = []
        for item in operation.columns:
            if isinstance(item, sa.ForeignKeyConstraint) and _target(item) not in made:
                late.append(_foreign_key(table, item))
            else:
                kept.append(item)
        operation.columns = kept
        operations.append(operation)
    for table in tables:
        operations += [
            ops.CreateIndexOp.from_index(index)
            for index in sorted(table.indexes, key=lambda found: str(found.name))
        ]
    context = MigrationContext.configure(dialect=postgresql.dialect())
    code = render_python_code(ops.UpgradeOps(ops=operations), migration_context=context)
    lines = [line for line in code.splitlines() if "Alembic" not in line]
    return "\n".join([*(f"    {line}" if line and line[0] != " " else line for line in lines), *late])


def _target(constraint: sa.ForeignKeyConstraint) -> str:
    return constraint.elements[0].target_fullname.rpartition(".")[0]


def _foreign_key(table: sa.Table, constraint: sa.ForeignKeyConstraint) -> str:
    element = constraint.elements[0]
    schema, name, column = element.target_fullname.split(".")
    own = element.parent.name
    return (
        f"    op.create_foreign_key({f'fk_{table.name}_{own}_{name}'!r}, {table.name!r}, {name!r}, [{own!r}], "
        f"[{column!r}], source_schema={table.schema!r}, referent_schema={schema!r}, ondelete={element.ondelete!r})"
    )


if __name__ == "__main__":
    write()
