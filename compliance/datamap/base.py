"""The declarative base of every mapped table, with the gate that refuses an incomplete declaration."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import MetaData, Table, event
from sqlalchemy.orm import DeclarativeBase, Mapper

from compliance.datamap.field import POLICY, column_checks
from compliance.datamap.gate import check_mapper
from compliance.datamap.policy import EntityPolicy
from compliance.datamap.sealed import DOCUMENT, document_checks, lay_out

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all mapped classes. A subclass without `__entity__` or with an undeclared column is refused."""

    metadata = MetaData(naming_convention=NAMING)

    __entity__: ClassVar[EntityPolicy]

    def __repr__(self) -> str:
        """Name the row by its class and key alone: values may be personal and end up in logs."""
        key = getattr(self, "id", None)
        return f"<{type(self).__name__} {key}>"


Entity = Base


@event.listens_for(Base, "instrument_class", propagate=True)
def _refuse_undeclared(mapper: Mapper[Any], class_: type[Any]) -> None:
    """Run the gate when a class is mapped, which is at import: the application does not start past it.

    Then derive the table's check constraints from the policies of its columns (none where the class says
    `__checked__ = False`), and where its sealed fields lie.
    """
    check_mapper(mapper, class_)
    table = mapper.local_table
    if isinstance(table, Table):
        for column in table.columns:
            if getattr(class_, "__checked__", True):
                for check in column_checks(column.name, column.info[POLICY]):
                    table.append_constraint(check)
            if DOCUMENT in column.info:
                for check in document_checks(column.name):
                    table.append_constraint(check)
        lay_out(class_, table)
