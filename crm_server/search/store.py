# ruff: noqa: S608 - statements are put together from numbers of the data map; values go as parameters.
"""One kind of record: its values, the trigrams of its texts in SQLite, and the orders of its fields.

`t2` is the FTS5 index of entity 2: trigrams without positions and without content. What it finds is a superset, judged
by the values.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from crm_server.search.candidates import COMMON, Candidates, Where, either
from crm_server.search.fields import Kind
from crm_server.search.folding import beginning, grams, large, sort_key
from crm_server.search.orders import Order
from crm_server.search.records import NONE, SEPARATOR, Records, unpack
from crm_server.search.texts import Doc, prepare
from crm_server.search.words import Vocabulary

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from crm_server.search.fields import IndexedEntity
    from crm_server.search.texts import Batch

_SAMPLED_ALL, _SAMPLED, _EACH, _EACH_LATER = 100, 10_000, 32, 256
_MOST_GRAMS, _FEW_GRAMS, _LETTERS = 4, 2, 3
_RARE = 20_000
_STRETCH, _HIGHEST = 1_000, 2**32
# Pieces of the index are large while it is loaded, and merged once in the end; later they are small, and merged often.
_LOADING = {"hashsize": 32_000_000, "automerge": 0, "crisismerge": 64}
_LOADED = {"hashsize": 1_000_000, "automerge": 4, "crisismerge": 16}
_slots = msgspec.json.Decoder(list[int])


class FieldOrder:
    """Records in the order of a field, those without a value after all others; ids decide between equal values."""

    def __init__(self, records: Records, at: int, kind: Kind) -> None:
        self._records, self._at, self._kind = records, at, kind
        self.filled, self.empty = Order(self.key), Order(records.order_of_id)
        self.changed: set[int] = set()
        """Records that were added, changed or dropped while the order was made."""
        self._keys: list[Any] = []
        self._known: dict[bytes, Any] = {}
        """Values while the order is made: many records share theirs."""
        self._slots = array("I")
        self._empty: list[int] = []

    def key(self, slot: int) -> tuple[Any, int, int]:
        """The place of a record that has a value; it begins with None for others."""
        return self.value(slot), *self._records.order_of_id(slot)

    def has_value(self, slot: int) -> bool:
        """Whether a record has a value of the field."""
        return self.value(slot) is not None

    def value(self, slot: int) -> Any:
        """What the value of a record is compared by; None where it has none."""
        written = self._written(slot)
        return None if written is None else self._compared(written)

    def _written(self, slot: int) -> bytearray | None:
        at = self._at
        parts = self._records.raw(slot).split(SEPARATOR, at + 1)
        return None if at >= len(parts) or parts[at] == NONE else parts[at]

    def _compared(self, written: bytes | bytearray) -> Any:
        return int(written) if self._kind is Kind.NUMBER else sort_key(written.decode())

    def starting(self, text: str) -> tuple[int, Iterator[int]]:
        """The records among which all are whose value begins with a text: how many, and which."""
        low = beginning(text)
        # No text holds this byte, so it comes after all that may follow.
        return self.filled.between((low,), (low + b"\xff",))

    def read(self, slots: Iterable[int]) -> None:
        """Note the values of some records; `fill` puts them in order."""
        states, written, known = self._records.states, self._written, self._known
        for slot in slots:
            if not states[slot]:
                continue
            part = written(slot)
            if part is None:
                self._empty.append(slot)
                continue
            name = bytes(part)
            key = known.get(name)
            if key is None:
                key = known[name] = self._compared(name)
            self._keys.append(key)
            self._slots.append(slot)

    def sort(self) -> list[int]:
        """The slots that were read in order."""
        slots, keys = self._slots, self._keys
        if self._records.in_order:
            # Equal values stay in the order of slots, which is that of ids.
            places = sorted(range(len(keys)), key=keys.__getitem__)
        else:
            places = sorted(range(len(keys)), key=lambda at: (keys[at], self._records.order_of_id(slots[at])))
        self._keys, self._known = [], {}
        return [slots[at] for at in places]

    def fill(self, slots: Iterable[int]) -> None:
        """Take records that are in order, and those that changed meanwhile."""
        changed = self.changed
        self.filled.fill([slot for slot in slots if slot not in changed])
        empty = sorted(self._empty, key=self._records.order_of_id)
        self.empty.fill([slot for slot in empty if slot not in changed])
        self._slots, self._empty, self.changed = array("I"), [], set()
        for slot in changed:
            if self._records.states[slot]:
                self.add(slot)

    def add(self, slot: int) -> None:
        """Take one more record."""
        (self.filled if self.has_value(slot) else self.empty).add(slot)

    def remove(self, slot: int) -> None:
        """Leave a record out, before its values change."""
        (self.filled if self.has_value(slot) else self.empty).remove(slot)


class CreationOrder(FieldOrder):
    """Records in the order in which they were made."""

    def __init__(self, records: Records) -> None:
        super().__init__(records, 0, Kind.NUMBER)

    def value(self, slot: int) -> int:
        """When it was made."""
        return self._records.created[slot]

    def read(self, slots: Iterable[int]) -> None:
        """Note when some records were made."""
        states = self._records.states
        there = [slot for slot in slots if states[slot]]
        self._slots.extend(there)
        self._keys.extend(map(self._records.created.__getitem__, there))


class Store:
    """All of one entity. The caller sees to it that nobody reads while something is written."""

    def __init__(self, entity: IndexedEntity) -> None:
        self.entity = entity
        self.records = Records()
        self.words = Vocabulary()
        self.orders: dict[int, FieldOrder] = {}
        self._made: dict[int, FieldOrder] = {}
        self._grams: Counter[str] = Counter()
        self._sampled = 0
        self.trigrams, self._vocabulary = f"t{entity.number}", f"v{entity.number}"

    def create(self, connection: sqlite3.Connection) -> None:
        """Make the index of trigrams."""
        connection.execute(
            f"create virtual table {self.trigrams} using fts5(t, tokenize='trigram case_sensitive 1', "
            "content='', detail=none, columnsize=0)"
        )
        self._configure(connection, _LOADING)

    def _configure(self, connection: sqlite3.Connection, values: Mapping[str, int]) -> None:
        for name, value in values.items():
            connection.execute(
                f"insert into {self.trigrams} ({self.trigrams}, rank) values (?, ?)", (name, value)
            )

    # Writing

    def load(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """Add records that are not there yet."""
        slots = self.records.extend(batch.ids, batch.states, batch.created, batch.values)
        connection.executemany(
            f"insert into {self.trigrams} (rowid, t) values (?, ?)",
            ((slot, text) for slot, text in zip(slots, batch.texts, strict=True) if text),
        )
        self.words.add(batch.words)
        step = self._step(len(slots))
        for at in range(-slots.start % step, len(slots), step):
            self._sample(batch.texts[at])

    def merge(self, connection: sqlite3.Connection, pages: int) -> bool:
        """Merge so many pages of the pieces of the index, below 0 to begin with; says whether more may be left.

        One piece answers sooner than several. Merged in steps they leave room for the next step, where merging all at
        once would take the memory of the whole index a second time.
        """
        before = connection.total_changes
        connection.execute(
            f"insert into {self.trigrams} ({self.trigrams}, rank) values ('merge', ?)", (pages,)
        )
        return connection.total_changes - before > 1

    def finish(self, connection: sqlite3.Connection) -> None:
        """After the first load: from now on little is written at a time."""
        self._configure(connection, _LOADED)

    def put(self, connection: sqlite3.Connection, doc: Doc) -> int:
        """Add a record or take its new values; returns its slot."""
        records = self.records
        slot = records.slot_of(doc.id)
        batch = prepare(self.entity, [doc])
        (state,), (packed,), (text,) = batch.states, batch.values, batch.texts
        if slot is None:
            slot = records.add(doc.id)
        elif records.states[slot]:
            same = records.raw(slot) == packed
            if same and records.created[slot] == doc.created:
                records.states[slot] = state
                return slot
            self._unlink(connection, slot)
        records.write(slot, state, doc.created, packed)
        if text:
            connection.execute(f"insert into {self.trigrams} (rowid, t) values (?, ?)", (slot, text))
            if slot % self._step(1) == 0:
                self._sample(text)
        self.words.add(batch.words)
        for order in self.orders.values():
            order.add(slot)
        for order in self._made.values():
            order.changed.add(slot)
        return slot

    def drop(self, connection: sqlite3.Connection, key: bytes) -> bool:
        """Forget a record; says whether it was there."""
        slot = self.records.slot_of(key)
        if slot is None or not self.records.states[slot]:
            return False
        self._unlink(connection, slot)
        self.records.forget(slot)
        return True

    def _unlink(self, connection: sqlite3.Connection, slot: int) -> None:
        batch = prepare(self.entity, [Doc(b"", False, 0, self.values(slot))])
        (text,) = batch.texts
        if text:
            connection.execute(
                f"insert into {self.trigrams} ({self.trigrams}, rowid, t) values ('delete', ?, ?)",
                (slot, text),
            )
        self.words.remove(batch.words)
        for order in self.orders.values():
            order.remove(slot)
        for order in self._made.values():
            order.changed.add(slot)

    def _step(self, count: int) -> int:
        """Of how many records one is looked into, when so many are added."""
        step = _EACH if self._sampled < _SAMPLED else _EACH_LATER
        return step if self._sampled + count // step >= _SAMPLED_ALL else 1

    def _sample(self, text: str) -> None:
        """Learn which trigrams are rare from a part of the records."""
        self._sampled += 1
        found = set(grams(text))
        self._grams.update(found | {gram[:2] for gram in found} | {gram[0] for gram in found})

    # Orders

    def can_order(self, field: int) -> bool:
        """Whether records can be put in the order of a field."""
        return field == self.entity.created or self.entity.place(field) is not None

    def ordered(self, field: int) -> bool:
        """Whether the order of a field is at hand."""
        return field in self.orders

    def begin_order(self, field: int) -> FieldOrder:
        """An order to be made: `read` all records, then `take_order`."""
        if field == self.entity.created:
            order: FieldOrder = CreationOrder(self.records)
        else:
            place = self.entity.place(field)
            assert place is not None  # noqa: S101 - asked for fields alone that are held
            order = FieldOrder(self.records, place + 1, self.entity.fields[place].kind)
        self._made[field] = order
        return order

    def take_order(self, field: int, slots: Iterable[int]) -> None:
        """Use an order from now on, and keep it up."""
        order = self._made.pop(field)
        order.fill(slots)
        self.orders[field] = order

    # Reading

    def values(self, slot: int) -> tuple[str | None, ...]:
        """The values of a record as texts."""
        return unpack(self.records.parts(slot), len(self.entity.fields))

    def candidates(
        self, connection: sqlite3.Connection, text: str, where: Where, *, few: bool = False
    ) -> Candidates | None:
        """Where a piece of plain text can be: its rarest trigrams. None where a short piece stands nearly anywhere.

        Args:
            connection: Where trigrams are looked up.
            text: The piece.
            where: In which fields.
            few: Whether the candidates are cut with few records, so that one more in a hundred costs nothing.
        """
        written = [text] if where is not Where.TITLE else []
        if where is not Where.REST and (title := large(text)) not in written:
            written.append(title)
        most = _FEW_GRAMS if few else _MOST_GRAMS
        return either([self._holding(connection, piece, most) for piece in written])

    def _holding(self, connection: sqlite3.Connection, text: str, most: int) -> Candidates | None:
        known = list(dict.fromkeys(grams(text)))
        if known:
            rarest = min(known, key=self._grams.__getitem__)
            # Those that share no letter with it tell more: its neighbours stand nearly wherever it does.
            near = {gram for at, gram in enumerate(known) if abs(at - known.index(rarest)) < _LETTERS}
            known.sort(key=lambda gram: (gram in near and gram != rarest, self._grams[gram]))
            common = COMMON * self._grams[rarest]
            rare = [gram for gram in known[:most] if self._grams[gram] <= common]
            expression = " AND ".join(f'"{quoted(gram)}"' for gram in rare or [rarest])
            return Candidates(expression, self._about(rarest))
        if self._about(text) > _RARE:
            return None
        terms = self._beginning(connection, text)
        return Candidates(" OR ".join(f'"{quoted(term)}"' for term in terms), self._about(text))

    def _about(self, piece: str) -> int:
        """In about how many records a trigram, or the beginning of one, stands: from those that were looked into."""
        return self._grams[piece] * self.records.count // max(self._sampled, 1)

    def _beginning(self, connection: sqlite3.Connection, piece: str) -> list[str]:
        """All trigrams that begin with one or two letters."""
        connection.execute(
            f"create virtual table if not exists temp.{self._vocabulary} "
            f"using fts5vocab(main, {self.trigrams}, row)"
        )
        found = connection.execute(
            f"select term from temp.{self._vocabulary} where term >= ? and term < ?",
            (piece, piece + "\U0010ffff"),
        )
        return [term for (term,) in found]

    def stretches(self, connection: sqlite3.Connection, expression: str, width: int) -> Iterator[list[int]]:
        """The slots that FTS5 finds, upwards, those of a stretch of all at a time: who has enough leaves the rest.

        Args:
            connection: Where trigrams are looked up.
            expression: What is asked for.
            width: How many slots the first stretch has; each further one has as many as all before it.
        """
        end, low, width = len(self.records), 0, max(width, _STRETCH)
        while low < end:
            yield self.slots(connection, expression, width, low, low + width)
            low = width = low + width

    def slots(
        self, connection: sqlite3.Connection, expression: str, most: int, low: int = 0, high: int = _HIGHEST
    ) -> list[int]:
        """The slots above one and up to another that FTS5 finds, upwards, at most so many."""
        if not expression:
            return []
        # One row with all of them: a row a slot costs several times as much.
        (found,) = connection.execute(
            f"select json_group_array(rowid) from (select rowid from {self.trigrams} where {self.trigrams} match ? "
            "and rowid > ? and rowid <= ? limit ?)",
            (expression, low, high, most),
        ).fetchone()
        return _slots.decode(found)


def quoted(text: str) -> str:
    """The inside of a string of FTS5."""
    return text.replace('"', '""')
