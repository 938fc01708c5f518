# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Opens the sealed documents of rows that a statement read without the ORM: lists, timelines, the bin, exports.

The statement gives each document together with its place and its data key as one string of bytes (`packed`): one
subselect a document, which needs no second round trip and tells the state of the key as the database has it. An
`Opener` unwraps the keys that the cache doesn't have and opens what a shown field needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from sqlalchemy import LargeBinary, any_, bindparam, literal_column, select
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from compliance.audit.events import Event, write
from compliance.datamap.documents import Trouble
from compliance.datamap.text import _
from crm_server.kernel.db import KEYS, actor_of
from crm_server.kernel.errors import AppError
from monitoring import metrics
from security.crypto.errors import CryptoError, KeyMissing
from security.crypto.wrap import KeyContext

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from compliance.datamap import DocumentDef, EntityDef, KeyClass
    from crm_server.kernel.actor import Actor
    from crm_server.kernel.hot import Hot
    from crm_server.kernel.keys import Keys
    from security.crypto.document import DocumentKey
    from security.crypto.wrap import KeyWrapper

log = structlog.get_logger("kontor.documents")

ERASED: Final = "erased"
"""Stands in a row, as true, when the key of one of its documents was erased: those fields are gone for good."""
UNREADABLE: Final = "unreadable"
"""Stands in a row of a list, with a code, when a document doesn't open; an alarm was raised."""

_NOBODY: Final = bytes(16)
_HAS_KEY, _ERASED_KEY = ord("a"), ord("e")
# Where things stand in a packed document: record 0, subject 16, version 32, state of the key 40; with a key its subject
# 41, generation 57, epoch 61, check value 65, class 73, wrapped key 85, document 125; else the document 41.
_KEY_PARTS: Final = (
    "'a'::bytea || uuid_send(k.subject) || int4send(k.generation::integer) || int4send(k.epoch) || k.kcv "
    "|| convert_to(rpad(k.class, 12), 'UTF8') || k.wrapped"
)


class DocumentUnreadable(AppError):
    """A sealed document doesn't open, though nobody erased its key. `reason` is the code of what is wrong with it."""

    status = 500
    code = "document_unreadable"
    title = _(
        "A part of this record can't be opened, because its seal doesn't fit. Nothing was disclosed, and an alarm was "
        "raised. Tell your administrator."
    )

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


def packed(entity: EntityDef, document: DocumentDef, alias: str) -> str:
    """SQL: a document with its record, subject, version and data key as one bytea; NULL where there is none.

    Args:
        alias: Of the row with the columns id, the subject, the version of the documents and the document.
    """
    blob = f'{alias}."{document.column}"'
    return (
        f"(uuid_send({alias}.id) || uuid_send(coalesce({alias}.\"{entity.policy.subject}\", '{UUID(int=0)}')) "
        f'|| int8send({alias}."{entity.version_column}"::bigint) || coalesce((select case when k.wrapped is null '
        f"then 'e'::bytea else {_KEY_PARTS} end from keys.data_key k "
        f"where k.kid = substring({blob} from 3 for 16)), 'm'::bytea) || {blob})"
    )


def document_columns(entity: EntityDef, documents: Sequence[DocumentDef]) -> tuple[str, ...]:
    """The columns that `packed` needs of the row."""
    if not documents:
        return ()
    return ("id", str(entity.policy.subject), str(entity.version_column), *(one.column for one in documents))


@dataclass(slots=True)
class Opener:
    """Opens the documents of one answer. Make it before the statement runs: it takes the mark of the key cache.

    Attributes:
        keys: Where keys are unwrapped.
        once: Keys are needed for this answer alone and aren't put into the cache, where whoever reads very many rows
            would drive out what others need again.
        troubles: Documents that did not open; `raise_alarms` tells of them.
    """

    keys: Keys
    once: bool = False
    troubles: list[Trouble] = field(default_factory=list)
    _mark: int | None = None
    _known: dict[bytes, DocumentKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.once:
            self._mark = self.keys.cache.mark()

    def prefetch(self, blobs: Iterable[bytes]) -> None:
        """Get the keys of many packed documents at once: from the cache, else unwrapped together."""
        wanted = {blob[127:143]: blob for blob in blobs if blob[40] == _HAS_KEY}
        found = self.keys.cache.get_many(wanted)
        missing = [_key_row(self.keys.tenant, blob) for kid, blob in wanted.items() if kid not in found]
        if missing:
            try:
                opened = self.keys.unwrap(missing, self._mark)
            except CryptoError:
                # One of them is damaged. Which one is told when its document is opened; the others still do.
                opened = {}
            found |= {kid: key for kid, key in opened.items() if key is not None}
        self._known |= found

    def open(self, entity: EntityDef, document: DocumentDef, blob: bytes | None) -> Mapping[int, Any] | str:
        """The fields of a packed document by number.

        Returns:
            The fields; or `ERASED`; or, when it doesn't open, the code of the reason.
        """
        if blob is None:
            return {}
        state = blob[40]
        if state == _ERASED_KEY:
            return ERASED
        record = blob[:16]
        try:
            if state != _HAS_KEY:
                raise KeyMissing(blob[43:59])
            key = self._known.get(blob[127:143]) or self._unwrap(blob)
            subject = blob[16:32]
            if subject == _NOBODY:
                subject = self.keys.tenant.bytes
            return self.keys.column(entity.number, document.key_class).open(
                key, blob[125:], record, subject, int.from_bytes(blob[32:40], "big")
            )
        except CryptoError as error:
            self.troubles.append(Trouble(entity.number, UUID(bytes=record), document.key_class, error))
            return error.code

    def open_each(
        self, entity: EntityDef, document: DocumentDef, blobs: Iterable[bytes | None]
    ) -> Iterator[Mapping[int, Any] | str]:
        """What `open` gives, for many documents of which nearly each has a key of its own, without `prefetch`.

        No key is kept: whoever reads everything would drive out of the cache all that others need again.
        """
        self.keys.listen()
        opening = self.keys.column(entity.number, document.key_class).open
        nobody, tenant = _NOBODY, self.keys.tenant.bytes
        known: dict[tuple[bytes, bytes], tuple[KeyWrapper, KeyContext]] = {}
        for blob in blobs:
            if blob is None or blob[40] != _HAS_KEY:
                yield self.open(entity, document, blob)
                continue
            try:
                names = blob[57:65], blob[73:85]
                wrapper, context = known.get(names) or known.setdefault(names, self._wrapped_by(*names))
                key = wrapper.open(blob[85:125], context, blob[41:57], blob[127:143], blob[65:73])
                subject = blob[16:32]
                yield opening(
                    key,
                    blob[125:],
                    blob[:16],
                    subject if subject != nobody else tenant,
                    int.from_bytes(blob[32:40], "big"),
                )
            except CryptoError as error:
                self.troubles.append(Trouble(entity.number, UUID(bytes=blob[:16]), document.key_class, error))
                yield error.code

    def _wrapped_by(self, numbers: bytes, key_class: bytes) -> tuple[KeyWrapper, KeyContext]:
        """What unwraps the keys of a generation (4 bytes), an epoch (4 bytes) and a class."""
        generation, epoch = int.from_bytes(numbers[:4], "big"), int.from_bytes(numbers[4:], "big")
        word = key_class.decode("ascii").rstrip()
        return self.keys.wrapper(epoch), KeyContext(self.keys.tenant.bytes, word, generation)

    def _unwrap(self, blob: bytes) -> DocumentKey:
        kid = blob[127:143]
        key = self.keys.unwrap((_key_row(self.keys.tenant, blob),), self._mark)[kid]
        if key is None:
            raise KeyMissing(kid)
        self._known[kid] = key
        return key

    def fill(
        self, row: dict[str, Any], entity: EntityDef, wanted: Wanted, blobs: Sequence[bytes | None]
    ) -> None:
        """Put sealed fields into a row, or None and the reason.

        Args:
            wanted: Which fields of which documents, in the order of `blobs`.
            blobs: The packed documents.
        """
        for one, blob in zip(wanted, blobs, strict=True):
            put(row, one, self.open(entity, one.document, blob))

    def raise_alarms(self, source: Hot | Session | Connection, actor: Actor, *, strict: bool = False) -> None:
        """Tell of documents that did not open: metric, log, audit event.

        Args:
            strict: Refuse the answer as well.

        Raises:
            DocumentUnreadable: with `strict`, when there was one.
        """
        if not self.troubles:
            return
        told, self.troubles = self.troubles, []
        for trouble in told:
            _tell(trouble)
        _write(source, actor, [_event(trouble) for trouble in told])
        if strict:
            raise DocumentUnreadable(told[0].error.code)


@dataclass(frozen=True, slots=True, eq=False)
class WantedFields:
    """What an answer needs of one document: fields by number, and their names in the row."""

    document: DocumentDef
    numbers: tuple[int, ...]
    names: tuple[str, ...]


Wanted = Sequence[WantedFields]


def put(row: dict[str, Any], wanted: WantedFields, fields: Mapping[int, Any] | str) -> None:
    """Put the fields of an opened document into a row; where it didn't open, None and the reason."""
    if isinstance(fields, str):
        row[ERASED if fields == ERASED else UNREADABLE] = True if fields == ERASED else fields
        fields = {}
    row.update(zip(wanted.names, map(fields.get, wanted.numbers), strict=True))


def wanted_documents(
    entity: EntityDef, names: Iterable[str], more: Mapping[KeyClass, Sequence[tuple[int, str]]] | None = None
) -> Wanted:
    """The documents that sealed fields among `names` need, and `more` fields that are known by number alone."""
    found = {key_class: list(fields) for key_class, fields in (more or {}).items()}
    for name in names:
        item = entity.fields[name]
        if item.sealed:
            found.setdefault(item.policy.handling.key_class, []).append((item.number, name))
    return tuple(
        WantedFields(entity.documents[key_class], *map(tuple, zip(*fields, strict=True)))
        for key_class, fields in found.items()
        if fields
    )


def _key_row(tenant: UUID, blob: bytes) -> tuple[Any, ...]:
    """The data key of a packed document as a row that `Keys.unwrap` reads."""
    return (
        blob[127:143],
        tenant,
        UUID(bytes=blob[41:57]),
        blob[73:85].decode("ascii").rstrip(),
        int.from_bytes(blob[57:61], "big"),
        int.from_bytes(blob[61:65], "big"),
        None,
        blob[85:125],
        blob[65:73],
    )


def as_bytes(blobs: Iterable[Any]) -> list[bytes | None]:
    """Packed documents as the driver gives them, as bytes."""
    return [None if blob is None else bytes(blob) for blob in blobs]


def keys_for(source: Hot | Session | Connection) -> Keys:
    """The keys that come with a source of rows.

    Raises:
        LookupError: it was made without keys.
    """
    keys: Keys | None = source.info.get(KEYS)
    if keys is None:
        raise LookupError("no keys here: make the session factory, or the pool, with keys=Keys.open(…)")
    return keys


def read_rows(
    session: Session,
    entity: EntityDef,
    names: Iterable[str],
    record_ids: Iterable[UUID],
    more: Mapping[KeyClass, Sequence[tuple[int, str]]] | None = None,
    *,
    once: bool = False,
) -> dict[UUID, dict[str, Any]]:
    """Fields of records by key, unmasked, in one statement: for everything that reads by its own SQL and is no list.

    A row whose key was erased says so under `ERASED`; one that doesn't open under `UNREADABLE`, with an alarm.

    Args:
        more: Sealed custom fields by key class: (number, name in the row).
        once: Each key is needed for this answer alone; see `Opener`.
    """
    chosen, keys = tuple(dict.fromkeys(("id", *names))), list(record_ids)
    if not keys:
        return {}
    wanted = wanted_documents(entity, chosen, more)
    plain = [name for name in chosen if not entity.fields[name].sealed]
    table = entity.table
    alias = f'"{table.schema}"."{table.name}"'
    blobs = [literal_column(packed(entity, one.document, alias), LargeBinary) for one in wanted]
    opener = Opener(keys_for(session), once=once) if wanted else None
    query = select(*(table.c[name] for name in plain), *blobs).where(
        table.c.id == any_(bindparam("keys", keys, type_=ARRAY(SqlUuid)))
    )
    found = {}
    rows = session.execute(query).all()
    for values in rows:
        found[values[0]] = dict(zip(plain, values, strict=False))
    if opener is None:
        return found
    if once:
        for place, one in enumerate(wanted, start=len(plain)):
            documents = opener.open_each(entity, one.document, [values[place] for values in rows])
            for row, fields in zip(found.values(), documents, strict=True):
                put(row, one, fields)
    else:
        opener.prefetch(blob for values in rows for blob in values[len(plain) :] if blob is not None)
        for values in rows:
            opener.fill(found[values[0]], entity, wanted, values[len(plain) :])
    opener.raise_alarms(session, actor_of(session))
    return found


def report(session: Session, trouble: Trouble) -> None:
    """Raise the alarm about a document that a mapped object could not open.

    Raises:
        DocumentUnreadable: always; it is what a client sees.
    """
    _tell(trouble)
    _write(session, actor_of(session), [_event(trouble)])
    raise DocumentUnreadable(trouble.error.code) from trouble.error


def _tell(trouble: Trouble) -> None:
    metrics.DOCUMENT_TROUBLES.labels(trouble.error.code).inc()
    log.error(
        "sealed document doesn't open",
        code=trouble.error.code,
        entity=trouble.entity,
        record=str(trouble.record),
        key_class=str(trouble.key_class),
    )


def _event(trouble: Trouble) -> Event:
    return Event(
        event_class="detection",
        action="document_unreadable",
        outcome="failure",
        reason=trouble.error.code,
        severity=5,
        object_type=trouble.entity,
        object_ref=trouble.record,
        meta={"key_class": str(trouble.key_class)},
    )


def _write(source: Hot | Session | Connection, actor: Actor, events: list[Event]) -> None:
    """Write events in a transaction of their own, so that they stay when what met the document is rolled back."""
    bind: Any = source.get_bind() if isinstance(source, Session) else source
    engine = bind if isinstance(bind, Engine) else bind.engine
    if isinstance(source, Session) and bind is not engine:
        # The session lives inside somebody else's transaction on one connection.
        write(bind, actor, events)
        return
    with engine.begin() as connection:
        write(connection, actor, events)
