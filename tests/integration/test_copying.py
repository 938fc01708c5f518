"""Rows by binary COPY, against the real database."""

from __future__ import annotations

import datetime as dt
from itertools import repeat
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crm_server.kernel.copying import copy_columns, copy_rows
from crm_server.kernel.ids import new_ids

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

COPIED = Table(
    "copied", MetaData(schema="pg_temp"), Column("id", Uuid), Column("small", SmallInteger), Column("whole", Integer),
    Column("big", BigInteger), Column("yes", Boolean), Column("at", DateTime(timezone=True)), Column("day", Date),
    Column("body", LargeBinary), Column("facts", JSONB), Column("text", Text), Column("people", ARRAY(Uuid)),
)  # fmt: skip
FULL: dict[str, Any] = {
    "id": uuid4(), "small": -3, "whole": 2**31 - 1, "big": -(2**40), "yes": True,
    "at": dt.datetime(1969, 7, 20, 20, 17, 40, 123456, dt.UTC), "day": dt.date(1899, 12, 31), "body": b"\0\xff",
    "facts": {"a": [1, None, "ü"]}, "text": "漢 \\N\t\n", "people": [uuid4(), uuid4()],
}  # fmt: skip


@pytest.fixture
def copied(session: Session) -> Session:
    COPIED.create(session.connection())
    return session


def stored(session: Session) -> list[dict[str, Any]]:
    return [dict(row) for row in session.connection().execute(select(COPIED)).mappings()]


class TestCopy:
    def test_every_type_arrives_as_it_was_with_nulls_among_them(self, copied: Session) -> None:
        nothing = dict.fromkeys(FULL)
        other = FULL | {
            "id": uuid4(),
            "small": 7,
            "yes": False,
            "text": "",
            "people": [],
            "facts": {},
            "body": b"",
        }
        for rows in ([FULL], [FULL, other], [nothing, FULL, other], [nothing, nothing]):
            copied.connection().execute(COPIED.delete())
            copy_rows(copied.connection(), COPIED, list(FULL), [row.values() for row in rows])
            assert stored(copied) == rows

    def test_what_all_rows_share_is_given_once_and_ids_as_bytes(self, copied: Session) -> None:
        ids = new_ids(3)
        shared = {name: repeat(value, 3) for name, value in FULL.items() if name not in {"id", "small"}}
        copy_columns(copied.connection(), COPIED, {**shared, "id": ids, "small": repeat(None, 3)})
        assert stored(copied) == [FULL | {"id": UUID(bytes=key), "small": None} for key in ids]
        assert ids == sorted(ids)

    def test_no_rows_are_no_statement(self, copied: Session) -> None:
        copy_columns(copied.connection(), COPIED, {"id": [], "small": repeat(1, 0)})
        assert stored(copied) == []
