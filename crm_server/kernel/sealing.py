"""Seals many rows of one entity at once, for writers that go past the ORM: imports, their undoing, the demo data.

Keys and rows go in one transaction (ENC-7), keys of new persons by COPY. Mapped objects seal themselves in the flush
(`compliance.datamap.documents`); what is written here can't be told from that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from crm_server.kernel.copying import copy_bytes
from security.crypto.document import DocumentKey, document_kid
from security.crypto.errors import KeyMissing
from security.crypto.reference import WRAPPED_SIZE
from security.crypto.wrap import wrap_context_around

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from compliance.datamap import EntityDef
    from crm_server.kernel.keys import Keys, SessionKeys

_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
_COLUMNS: Final = (
    "kid", "tenant", "subject", "class", "generation", "epoch", "state", "wrapped", "kcv", "created_at",
)  # fmt: skip
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_size = Struct(">i").pack

Contents = dict[str, dict[int, Any]]
"""Fields by number, by key class."""
Columns = dict[str, list[Any]]
"""Values of columns by name, one for each row."""


@dataclass(frozen=True, slots=True)
class Resealed:
    """A row as it is to be stored: the version of its documents, and each document by its column."""

    version: int
    documents: dict[str, bytes | None]
    values: dict[str, Any]


def new_keys(
    keys: Keys, connection: Connection, wanted: Mapping[str, Sequence[bytes]]
) -> dict[str, list[DocumentKey]]:
    """First data keys for people whom nobody knows yet, all stored by one COPY.

    Args:
        wanted: The data subjects by key class, 16 bytes each.

    Returns:
        The keys by key class, in the order of the subjects.
    """
    epoch = keys.active_epoch(lambda: connection)
    wrap, tenant = keys.wrapper(epoch).wrap, keys.tenant.bytes
    past = datetime.now(UTC) - _EPOCH
    moment = Struct(">iq").pack(8, (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds)
    # All that a row and its context hold beside ids and keys is the same for a class.
    start = Struct(">hi").pack(len(_COLUMNS), 16)
    owner = b"\0\0\0\x10" + tenant + b"\0\0\0\x10"
    end = b"\0\0\0\x08"
    pieces = {}
    for word in wanted:
        generation = Struct(">ihii").pack(2, 1, 4, epoch)
        between = (_size(len(word)), word.encode(), generation, _size(6), b"active", _size(WRAPPED_SIZE))
        pieces[word] = b"".join(between), *wrap_context_around(tenant, word, 1)
    owners = sorted((subject, word) for word, subjects in wanted.items() for subject in subjects)
    # Random ids, handed out in their order: so both indexes of the table grow in theirs, which costs half as much.
    random, number = os.urandom(48 * len(owners)), 16 * len(owners)
    kids = sorted(random[place : place + 16] for place in range(0, number, 16))
    made: dict[tuple[bytes, str], DocumentKey] = {}
    body = [_HEAD]
    for (person, word), kid, place in zip(owners, kids, range(number, 3 * number, 32), strict=True):
        middle, before, after = pieces[word]
        dek = random[place : place + 32]
        key = made[person, word] = DocumentKey(dek, kid, tenant, person, word)
        wrapped = wrap(dek, before + person + after + kid)
        body += (start, kid, owner, person, middle, wrapped, end, key.check_value(), moment)
    body.append(_TAIL)
    copy_bytes(connection, ("keys", "data_key"), _COLUMNS, b"".join(body))
    return {word: [made[subject, word] for subject in subjects] for word, subjects in wanted.items()}


class Sealer:
    """Seals rows of one entity. Names of sealed fields, custom ones included, are those of ``entity.fields``."""

    def __init__(self, entity: EntityDef) -> None:
        self.entity = entity
        # By number: documents have their fields in this order, and sealing needs no sorting then.
        self.places = {
            name: (str(item.policy.handling.key_class), item.number)
            for name, item in sorted(entity.fields.items(), key=lambda one: one[1].number)
            if item.sealed
        }
        self.columns = {str(key_class): document.column for key_class, document in entity.documents.items()}
        self._names = {place: name for name, place in self.places.items()}
        self._fields: dict[str, list[tuple[str, int]]] = {key_class: [] for key_class in self.columns}
        for name, (key_class, number) in self.places.items():
            self._fields[key_class].append((name, number))

    def contents(self, values: Mapping[str, Any]) -> Contents:
        """The sealed ones among the values, those that are None left out."""
        get = values.get
        return {
            key_class: {number: value for name, number in fields if (value := get(name)) is not None}
            for key_class, fields in self._fields.items()
        }

    def fresh(
        self,
        keys: Keys,
        connection: Connection,
        records: Sequence[tuple[bytes, bytes, Mapping[str, Any]]],
        also: Sequence[str] = (),
    ) -> tuple[Columns, dict[str, list[DocumentKey]]]:
        """What to store of new records of new persons: (record, subject, values), in their order.

        Args:
            records: Ids have 16 bytes each.
            also: Key classes of which every person gets a key as well.

        Returns:
            The columns with version and documents, and the keys of the classes in `also`.
        """
        contents = [self.contents(values) for _record, _subject, values in records]
        held = {
            key_class: [place for place, found in enumerate(contents) if found[key_class]]
            for key_class in self.columns
        }
        wanted = {name: [records[place][1] for place in places] for name, places in held.items()}
        everybody = [subject for _record, subject, _values in records]
        made = new_keys(keys, connection, wanted | dict.fromkeys(map(str, also), everybody))
        columns = self._empty(len(records))
        for key_class, column in self.columns.items():
            seal, documents = keys.column(self.entity.number, key_class).seal, columns[column]
            for place, key in zip(held[key_class], made[key_class], strict=True):
                values = contents[place][key_class]
                documents[place] = seal(key, values, records[place][0], key.subject, 1)
        return columns, {name: made[name] for name in map(str, also)}

    def known(
        self, vault: SessionKeys, records: Iterable[tuple[UUID, UUID | None, Mapping[str, Any]]]
    ) -> Columns:
        """The same for records of persons, or of nobody, who may have keys already.

        Raises:
            KeyMissing: somebody among them was erased; nothing about them can be written.
        """
        given = [
            (record, subject or vault.tenant, self.contents(values)) for record, subject, values in records
        ]
        columns = self._empty(len(given))
        for key_class, column in self.columns.items():
            keys = vault.for_sealing_many((who for _id, who, found in given if found[key_class]), key_class)
            seal, documents = vault.column(self.entity.number, key_class).seal, columns[column]
            for place, (record, subject, found) in enumerate(given):
                if found[key_class]:
                    key = keys[subject]
                    if key is None:
                        raise KeyMissing(bytes(16))
                    documents[place] = seal(key, found[key_class], record.bytes, subject.bytes, 1)
        return columns

    def _empty(self, number: int) -> Columns:
        """The columns of new rows before anything is sealed."""
        documents: Columns = {column: [None] * number for column in self.columns.values()}
        return documents | {self.entity.version_column or "": [1] * number}

    def changed(
        self, vault: SessionKeys, changes: Mapping[UUID, tuple[int, Mapping[str, Any]]]
    ) -> dict[UUID, Resealed]:
        """What to store of records whose sealed fields change: record → (version that was read, new values).

        All documents of a row share a version, so all are sealed anew. Left out are records that have another version
        by now, and those of persons who were erased.
        """
        table, version = self.entity.table, self.entity.version_column or ""
        subject = self.entity.policy.subject or ""
        names = ("id", "version", subject, version, *self.columns.values())
        query = select(*(table.c[name] for name in names)).where(
            table.c.id == any_(bindparam("keys", list(changes), type_=ARRAY(Uuid)))
        )
        current = [
            row for row in vault.session.execute(query).mappings() if row["version"] == changes[row["id"]][0]
        ]
        rows = {row["id"]: row for row in current}
        contents = self._opened(vault, current)
        found: dict[UUID, Resealed] = {}
        for record, fields in contents.items():
            for name, value in changes[record][1].items():
                if (place := self.places.get(name)) is not None:
                    fields[place[0]][place[1]] = value
            found[record] = Resealed(rows[record][version] + 1, {}, {})
        for key_class, column in self.columns.items():
            owners = {record: rows[record][subject] or vault.tenant for record in found}
            keys = vault.for_sealing_many(
                (owners[record] for record in found if contents[record][key_class]), key_class
            )
            seal = vault.column(self.entity.number, key_class).seal
            for record, made in list(found.items()):
                values = {
                    number: value
                    for number, value in contents[record][key_class].items()
                    if value is not None
                }
                made.documents[column] = None
                if not values:
                    continue
                key = keys[owners[record]]
                if key is None:
                    del found[record]
                    continue
                made.documents[column] = seal(key, values, record.bytes, key.subject, made.version)
                for number, value in values.items():
                    known = self._names.get((key_class, number))
                    if known is not None:
                        made.values[known] = value
        return found

    def _opened(self, vault: SessionKeys, rows: Sequence[Mapping[Any, Any]]) -> dict[UUID, Contents]:
        """All sealed fields of the rows; without the rows whose key was erased."""
        found: dict[UUID, Contents] = {row["id"]: {} for row in rows}
        version, subject = self.entity.version_column or "", self.entity.policy.subject or ""
        for key_class, column in self.columns.items():
            bodies = {row["id"]: bytes(row[column]) for row in rows if row[column] is not None}
            keys = vault.by_ids(map(document_kid, bodies.values()))
            place = vault.column(self.entity.number, key_class)
            for row in rows:
                record = row["id"]
                body = bodies.get(record)
                if body is None:
                    if record in found:
                        found[record][key_class] = {}
                    continue
                kid = document_kid(body)
                if kid not in keys:
                    raise KeyMissing(kid)
                key = keys[kid]
                if key is None:
                    found.pop(record, None)
                elif record in found:
                    owner = row[subject] or vault.tenant
                    found[record][key_class] = place.open(key, body, record.bytes, owner.bytes, row[version])
        return found
