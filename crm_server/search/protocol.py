"""What client and service say to each other: msgpack documents, each after its length in four bytes.

Ids travel as one string of bytes, 16 for each. Numbers of entities and fields are those of the data map. A value is
given as text or number, as the field's type is compared; no answer ever carries a value of a record.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import socket

LENGTH = struct.Struct(">I")
MOST_BYTES = 32_000_000


class Test(msgspec.Struct, tag="test", frozen=True):
    """A comparison of a field with a value. Operators as in filters; "within" has a start and an end after it."""

    field: int
    op: str
    value: Any = None


class Words(msgspec.Struct, tag="words", frozen=True):
    """All words of a text stand somewhere in these fields."""

    text: str
    fields: tuple[int, ...]


class Every(msgspec.Struct, tag="every", frozen=True):
    """All of them hold."""

    items: tuple[Tree, ...]


class Some(msgspec.Struct, tag="some", frozen=True):
    """At least one of them holds."""

    items: tuple[Tree, ...]


class Never(msgspec.Struct, tag="never", frozen=True):
    """The inner one does not hold."""

    item: Tree


Tree = Test | Words | Every | Some | Never


class Status(msgspec.Struct, tag="status", frozen=True):
    """Ask how complete the index is."""


class Match(msgspec.Struct, tag="match", frozen=True):
    """The ids for which a tree holds, if they are no more than `limit`. `actor` is whose limit of searches counts.

    `deleted` asks for records in the bin, or outside it; None for both.
    """

    entity: int
    tree: Tree
    limit: int
    deleted: bool | None = None
    actor: bytes = b""


class Keep(msgspec.Struct, tag="keep", frozen=True):
    """Those of the given ids for which a tree holds, in the given order."""

    entity: int
    tree: Tree
    ids: bytes


class Walk(msgspec.Struct, tag="walk", frozen=True):
    """Ids in the order of a field: the next `count` after the place of a record, or backward from it.

    Attributes:
        entity: Number of the entity.
        field: Number of the field, or that of the creation of records.
        descending: Downwards.
        count: How many are wanted.
        deleted: In the bin instead of outside it.
        after: The record beside which they begin.
        value: Its value, where records are in the order of their creation (microseconds since 1970).
        backward: Those before it, nearest first.
        tree: A condition.
        within: Ids, the only ones that may be named.
        reader: Names a reader and what rules know of them: `within` is what they see. Without `within`, what was given
            a moment ago; "unseen" when there is nothing.
        actor: Whose limit of searches counts.
    """

    entity: int
    field: int
    descending: bool
    count: int
    deleted: bool = False
    after: bytes | None = None
    value: int | None = None
    backward: bool = False
    tree: Tree | None = None
    within: bytes | None = None
    reader: bytes = b""
    actor: bytes = b""


class Find(msgspec.Struct, tag="find", frozen=True):
    """The records that fit a text best, best first: by entity, the fields to look into.

    `within` and `reader` limit them as in `Walk` (of the one entity asked for). `partial` takes what is loaded so far.
    """

    text: str
    entities: dict[int, tuple[int, ...]]
    limit: int
    deleted: bool = False
    within: bytes | None = None
    reader: bytes = b""
    actor: bytes = b""
    partial: bool = False


class Groups(msgspec.Struct, tag="groups", frozen=True):
    """Gather the given ids by equal values of a field."""

    entity: int
    field: int
    ids: bytes


Request = Status | Match | Keep | Walk | Find | Groups


class State(msgspec.Struct, tag="state", frozen=True):
    """How complete the index is: records loaded and to load, and seconds since everything committed was known."""

    loaded: int
    total: int
    complete: bool
    lag: float
    entities: dict[int, int]
    locked: bool = False

    @property
    def percent(self) -> int:
        """Whole per cent loaded; 100 only when complete."""
        return 100 if self.complete else min(99, self.loaded * 100 // max(self.total, 1))


class Ids(msgspec.Struct, tag="ids", frozen=True):
    """Ids in order. `more`: there are more than were asked for."""

    ids: bytes
    more: bool = False


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """A record found; a lower score fits better, and scores of different entities compare."""

    entity: int
    id: bytes
    score: float


class Hits(msgspec.Struct, tag="hits", frozen=True):
    """The records found, best first, among the per cent of all that are loaded."""

    hits: list[Hit]
    more: bool = False
    percent: int = 100


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Records with equal values: one of them, and how many there are."""

    id: bytes
    count: int


class Grouped(msgspec.Struct, tag="grouped", frozen=True):
    """Groups in the order of their values; records without a value are in none."""

    groups: list[Group]


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """No answer: "loading" (with the per cent loaded), "preparing" an order, "limited" (seconds to wait in `number`),
    "gone" (the record at which a page starts), "unseen" (name what the reader sees) or "unknown" (not asked for
    properly).
    """

    reason: str
    number: int = 0


Answer = State | Ids | Hits | Grouped | Refused

_requests = msgspec.msgpack.Decoder(Request)
_answers = msgspec.msgpack.Decoder(Answer)
# A text may be a kind of text of its own, such as one that came with an address.
_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


def send(channel: socket.socket, message: Request | Answer) -> None:
    """Send one message."""
    body = _encode(message)
    channel.sendall(LENGTH.pack(len(body)) + body)


def receive_request(channel: socket.socket) -> Request | None:
    """The next request, or None when the other end has closed.

    Raises:
        ValueError: it is not one of the protocol.
    """
    body = _receive(channel)
    return None if body is None else _requests.decode(body)


def receive_answer(channel: socket.socket) -> Answer | None:
    """The next answer, or None when the other end has closed."""
    body = _receive(channel)
    return None if body is None else _answers.decode(body)


def _receive(channel: socket.socket) -> bytearray | None:
    head = _exactly(channel, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MOST_BYTES:
        raise ValueError("longer than a message may be")
    return _exactly(channel, length)


def _exactly(channel: socket.socket, count: int) -> bytearray | None:
    found = bytearray(count)
    view, have = memoryview(found), 0
    while have < count:
        got = channel.recv_into(view[have:])
        if not got:
            return None
        have += got
    return found
