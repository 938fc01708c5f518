"""What the sealer needs from the place where events are committed; `postgres` is the implementation of the
product.

An implementation must hold three promises. `read` gives each committed event exactly once, without waiting
for open transactions. `Batch.assign` makes the indexes and the new head durable in one transaction, and
fails if another sealer moved the head since `read`. `confirm` returns only when what was assigned would
survive the loss of this host.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class SourceError(Exception):
    """The source can't go on: another sealer is active, the database is read only, a standby does not
    answer.
    """


@dataclass(frozen=True, slots=True)
class Head:
    """How far the source has assigned indexes: origin of the log, number of leaves, root (32 bytes)."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf that has its index: the bytes recomputed from the raw row (empty if it is gone), the hash recorded
    when it was assigned, and the event's id.
    """

    index: int
    leaf: bytes
    leaf_hash: bytes
    event_id: str = ""


class Batch(Protocol):
    """Committed events without an index, inside an open transaction of the source."""

    @property
    def events(self) -> Sequence[Mapping[str, object]]:
        """The events in the order in which they will be indexed, with the fields of `leaf.FIELDS`."""
        ...

    def assign(self, hashes: Sequence[bytes], root: bytes) -> None:
        """Give the events the next indexes, record the new root, and commit durably. Raises `SourceError`."""
        ...

    def abandon(self) -> None:
        """End the transaction without assigning; harmless after `assign`. Raises `SourceError`."""
        ...


class EventSource(Protocol):
    """Where committed events come from and where their indexes are kept."""

    def head(self) -> Head:
        """Return the current head. Raises `SourceError` if this sealer may not write."""
        ...

    def read(self, limit: int) -> Batch:
        """Open a batch of at most `limit` events that are committed now and have no index."""
        ...

    def leaves(self, start: int, stop: int) -> Iterator[StoredLeaf]:
        """Yield the leaves start ≤ index < stop, recomputed from raw rows."""
        ...

    def restore(self, start: int, leaves: Iterable[tuple[bytes, bytes]], root: bytes) -> None:
        """Append (leaf, hash) pairs at `start`, which must be the head; bring back event rows that are
        gone.
        """
        ...

    def confirm(self) -> None:
        """Wait until all that was assigned is flushed where the site demands it. Raises `SourceError`."""
        ...

    def publish(self, size: int, checkpoint: bytes) -> None:
        """Record a signed checkpoint where readers look for it."""
        ...

    def published(self) -> bytes | None:
        """Return the newest recorded checkpoint of the current log."""
        ...

    def pruned(self, after: int) -> Sequence[tuple[int, Sequence[tuple[int, int]]]]:
        """Return (index, ranges of indexes) of sealed events audit/prune beyond index `after` whose rows are gone."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when there may be new events, at the latest after `seconds`."""
        ...
