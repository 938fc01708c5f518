"""Escrow: the key table in a file beside the backups, sealed under the active epoch.

A backup of the database alone would bring erased keys back, or needs an epoch that is destroyed; the newest escrow has
the tombstones and the keys under the live epoch. It holds wrapped keys, so it opens nothing without the key ring.

File: a line of JSON (format, id, epoch, time), then segments `length (4 bytes) ‖ EpochKeys.seal("escrow/<id>/<index>/
<last>", CBOR list of rows)`. Purpose and index are part of each segment's key, so none can be moved, left out or added.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

import cbor2

from compliance.datamap.text import _
from crm_server.domain.keys import events
from crm_server.domain.keys.events import KeyWorkRefused
from crm_server.domain.keys.rotation import count_behind
from crm_server.domain.keys.work import silent
from crm_server.kernel.clock import now
from crm_server.kernel.ids import new_id
from crm_server.kernel.keyring import escrow_of
from crm_server.kernel.keystore import COLUMNS
from security.crypto.errors import KeyCorrupt, RingCorrupt
from security.crypto.wrap import wrap_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from crm_server.domain.keys.work import KeyWork, Progress
    from security.crypto.keyring import EpochKeys

FORMAT = 1
_SEGMENT = 10_000
_LONGEST = 64 * 1024 * 1024
_NAMES = ", ".join(COLUMNS)


@dataclass(frozen=True, slots=True)
class Escrow:
    """An escrow that was written or opened."""

    id: UUID
    epoch: int
    file: Path
    keys: int
    live: int
    erased: int


def export(work: KeyWork, folder: Path | None = None, progress: Progress = silent) -> Escrow:
    """Write the key table to a fresh file, sealed under the active epoch.

    Raises:
        KeyWorkRefused: "disk", the file can't be written; no half file stays behind.
    """
    key, moment = new_id(), now()
    place = folder or escrow_of(work.settings)
    with work.engine.connect() as connection:
        epoch: int = connection.exec_driver_sql(
            "select number from keys.epoch where state = 'active'"
        ).scalar_one()
        behind = count_behind(connection, epoch)
        total: int = connection.exec_driver_sql("select count(*) from keys.data_key").scalar_one()
        path = place / f"keys-{moment:%Y%m%dT%H%M%S}-epoch-{epoch}-{key.hex[-8:]}.escrow"
        draft = path.with_suffix(".new")
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(_header(work, key, epoch))
                seal = partial(_seal, work.keys.epoch_keys(epoch), key)
                counted = _write(_rows(connection), seal, out, partial(_tell, progress, total))
                out.flush()
                os.fsync(out.fileno())
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise KeyWorkRefused(
                "disk",
                _(
                    "The escrow can't be written to ${place}: ${why}. Make room, or name another folder.",
                    mapping={"place": str(place), "why": error.strerror or ""},
                ),
            ) from None
    live, erased = counted
    made = Escrow(key, epoch, path, live + erased, live, erased)
    with work.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into keys.escrow (id, epoch, file, digest, keys, behind, made_at) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            (key, epoch, str(path), _digest(path), made.keys, behind, moment),
        )
        events.record(
            connection, work.actor, events.epoch("escrow_made", epoch=epoch, keys=made.keys, behind=behind)
        )
    return made


def _header(work: KeyWork, key: UUID, epoch: int) -> bytes:
    header = {"format": FORMAT, "id": str(key), "epoch": epoch, "tenant": str(work.keys.tenant)}
    return json.dumps(header).encode() + b"\n"


def _seal(epoch: EpochKeys, key: UUID, place: str, rows: list[list[Any]]) -> bytes:
    return epoch.seal(f"escrow/{key}/{place}", cbor2.dumps(rows))


def _tell(progress: Progress, total: int, done: int) -> None:
    progress(done, total)


def _write(
    rows: Iterator[list[Any]],
    seal: Callable[[str, list[list[Any]]], bytes],
    out: IO[bytes],
    tell: Callable[[int], None],
) -> tuple[int, int]:
    """Write the segments. Returns (live, erased)."""
    live = erased = 0
    for index, (some, last) in enumerate(_segments(rows)):
        body = seal(f"{index}/{last}", some)
        out.write(len(body).to_bytes(4, "big") + body)
        gone = sum(1 for row in some if row[7] is None)
        live, erased = live + len(some) - gone, erased + gone
        tell(live + erased)
    return live, erased


def _rows(connection: Connection) -> Iterator[list[Any]]:
    """All rows as plain values, in order of the key id."""
    kid = b""
    while rows := connection.exec_driver_sql(
        f"select {_NAMES} from keys.data_key where kid > %s order by kid limit {_SEGMENT}",  # noqa: S608 - own names
        (kid,),
    ).all():
        kid = bytes(rows[-1][0])
        for row in rows:
            yield [
                bytes(value)
                if isinstance(value, memoryview)
                else value.bytes
                if isinstance(value, UUID)
                else value
                for value in row
            ]


def _segments(rows: Iterator[list[Any]]) -> Iterator[tuple[list[list[Any]], bool]]:
    """Lists of rows, each with whether it is the last; at least one."""
    lists = _lists(rows)
    before = next(lists, [])
    for found in lists:
        yield before, False
        before = found
    yield before, True


def _lists(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    some: list[list[Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == _SEGMENT:
            yield some
            some = []
    if some:
        yield some


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


# Opening -------------------------------------------------------------------------------------------------------------


def read(work: KeyWork, path: Path) -> tuple[dict[str, Any], Iterator[list[Any]]]:
    """Open an escrow: its header and its rows (`COLUMNS` in order, ids as bytes).

    Raises:
        KeyWorkRefused: "escrow_unreadable": no escrow, damaged, cut off, or of another site.
        EpochDestroyed: it was sealed under an epoch that is gone, as it should be.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(error.strerror or "it can't be read") from None
    with file:
        try:
            header = json.loads(file.readline(4096))
            known = header["format"] == FORMAT
            key, epoch, tenant = UUID(header["id"]), int(header["epoch"]), UUID(header["tenant"])
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise _unreadable("this isn't an escrow of keys")
        if tenant != work.keys.tenant:
            raise _unreadable("it belongs to another installation")
        start = file.tell()
    return header, _opened(work, path, start, key, epoch)


def _opened(work: KeyWork, path: Path, start: int, key: UUID, epoch: int) -> Iterator[list[Any]]:
    unseal = work.keys.epoch_keys(epoch).unseal
    with path.open("rb") as file:
        file.seek(start)
        for index, (body, following) in enumerate(pairwise(_bodies(file))):
            last = following is None
            if body is None:
                break
            try:
                rows = cbor2.loads(unseal(f"escrow/{key}/{index}/{last}", body))
            except (RingCorrupt, ValueError):
                raise _unreadable("it was altered, or its end is missing") from None
            yield from rows


def _bodies(file: IO[bytes]) -> Iterator[bytes | None]:
    """The sealed segments, then None."""
    while head := file.read(4):
        length = int.from_bytes(head, "big")
        if length > _LONGEST:
            raise _unreadable("it was altered")
        yield file.read(length)
    yield None


def _unreadable(why: str) -> KeyWorkRefused:
    return KeyWorkRefused("escrow_unreadable", _("The escrow can't be opened: ${why}.", mapping={"why": why}))


def open_scratch(work: KeyWork, path: Path) -> Escrow:
    """Open an escrow here and now, unwrap every key in it and compare its check value; nothing is written but the note
    that it opened, which the destruction of earlier epochs asks for (ENC-9).

    Raises:
        KeyWorkRefused: "escrow_unreadable", or "escrow_corrupt" when a key in it doesn't open.
    """
    header, rows = read(work, path)
    key, live, erased = UUID(header["id"]), 0, 0
    for row in rows:
        if row[7] is None:
            erased += 1
            continue
        live += 1
        context = wrap_context(row[1], row[2], row[3], row[4], row[0])
        try:
            work.keys.wrapper(row[5]).unwrap(row[7], context, row[0], row[8])
        except KeyCorrupt:
            raise KeyWorkRefused(
                "escrow_corrupt", _("A key in the escrow doesn't open. Make a new one.")
            ) from None
    with work.engine.begin() as connection:
        noted = connection.exec_driver_sql(
            "update keys.escrow set opened_at = now() where id = %s and keys = %s and digest = %s",
            (key, live + erased, _digest(path)),
        ).rowcount
        if not noted:
            raise _unreadable("this installation doesn't know it, or it isn't whole")
        events.record(
            connection, work.actor, events.epoch("escrow_opened", epoch=header["epoch"], keys=live + erased)
        )
    return Escrow(key, int(header["epoch"]), path, live + erased, live, erased)


def remove_old(work: KeyWork) -> int:
    """Delete escrows that are past their retention, but never the newest that opened. Returns how many."""
    before = now() - timedelta(days=work.settings.key_escrow_days)
    removed = 0
    with work.engine.begin() as connection:
        rows = connection.exec_driver_sql(
            "select id, file from keys.escrow where gone_at is null and made_at < %s and id <> coalesce((select id "
            "from keys.escrow where gone_at is null and opened_at is not null order by made_at desc limit 1), id)",
            (before,),
        ).all()
        for key, file in rows:
            Path(file).unlink(missing_ok=True)
            connection.exec_driver_sql("update keys.escrow set gone_at = now() where id = %s", (key,))
            removed += 1
    return removed
