# ruff: noqa: S608 - statements are put together from names of the data map; values go as parameters.
"""Opens the sealed documents of rows that a statement read without the ORM: lists, timelines, the bin, exports.

The statement gives each document together with its place and its data key as one string of bytes (`packed`), or their
digits (`written`): one subselect a document, which needs no second round trip and tells the state of the key as the
database has it. An `Opener` unwraps the keys that the cache doesn't have and opens what a shown field needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Text, any_, bindparam, literal_column, select
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
    from security.crypto.document import DocumentKey, SealedColumn
    from security.crypto.wrap import KeyWrapper

log = structlog.get_logger("kontor.documents")

ERASED: Final = "erased"
"""Stands in a row, as true, when the key of one of its documents was erased: those fields are gone for good."""
UNREADABLE: Final = "unreadable"
"""Stands in a row of a list, with a code, when a document doesn't open; an alarm was raised."""

_NOBODY: Final = bytes(16)
_HAS_KEY, _ERASED_KEY = ord("a"), ord("e")
# A packed document begins with record, subject and version; the state of the key stands at 40. With a key follow its
# subject, generation and epoch, check value, class and the wrapped key, then the document, which names the key after
# two bytes. Without one the document begins at 41.
_place = Struct(">16s16sQ").unpack_from
_key_parts = Struct(">16s8s8s12s40s2x16s").unpack_from
_BODY = 125
# The same places among hexadecimal digits: the id of the key, and the state.
_KID, _STATE, _WITH_KEY = slice(254, 286), slice(80, 82), f"{_HAS_KEY:02x}"
_NOTHING: Final[tuple[None, None, str]] = (None, None, "")
_MOST_REMEMBERED: Final = 4096
"""Digits of a document that a key remembers: a contact has a thousand, which is 10 MB for a full cache."""
_FIXED: Final = frozenset((str, int, bool, type(None), bytes, float, Decimal, date, datetime, UUID))
_KEY_PARTS: Final = (
    "'a'::bytea || uuid_send(k.subject) || int4send(k.generation::integer) || int4send(k.epoch) || k.kcv "
    "|| bpcharsend(k.class::character(12)) || k.wrapped"
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


def written(entity: EntityDef, document: DocumentDef, alias: str) -> str:
    """SQL: what `packed` gives, in hexadecimal digits, which the driver need not read; for `Opener.open_all`."""
    return f"encode({packed(entity, document, alias)}, 'hex')"


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
        troubles: Documents that did not open; `raise_alarms` tells of them.
    """

    keys: Keys
    troubles: list[Trouble] = field(default_factory=list)
    _mark: int = 0
    _wrapped_by: dict[tuple[bytes, bytes], tuple[KeyWrapper, KeyContext]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._mark = self.keys.cache.mark()

    def open_all(
        self, entity: EntityDef, document: DocumentDef, texts: Sequence[str | None]
    ) -> list[Mapping[int, Any] | str]:
        """The fields of documents by number, whose keys are got together: from the cache, else unwrapped.

        A key remembers what it opened here last, because people open the same lists again and again: the same text at
        the same place holds the same fields. The text also tells whether the key was erased meanwhile.

        Args:
            texts: What `written` gave.

        Returns:
            For each its fields; or `ERASED`; or, when it doesn't open, the code of the reason.
        """
        column = self.keys.column(entity.number, document.key_class)
        kids = [None if text is None else bytes.fromhex(text[_KID]) for text in texts]
        keys = self._keys_of(kids, texts)
        answers: list[Mapping[int, Any] | str] = []
        for kid, text in zip(kids, texts, strict=True):
            key = None if kid is None else keys.get(kid)
            answer: Mapping[int, Any] | str
            known, same, answer = _NOTHING if key is None else key.shown
            if same != text or known is not column:
                blob = None if text is None else bytes.fromhex(text)
                answer = self._open(entity, document, column, blob, key)
                if key is not None and text is not None:
                    _remember(key, column, text, answer)
            answers.append(answer)
        return answers

    def open_each(
        self, entity: EntityDef, document: DocumentDef, blobs: Iterable[bytes | None]
    ) -> Iterator[Mapping[int, Any] | str]:
        """What `open_all` gives, one by one, for many documents of which nearly each has a key of its own.

        No key is kept: whoever reads everything would drive out of the cache all that others need again.
        """
        self.keys.listen()
        column = self.keys.column(entity.number, document.key_class)
        return (self._open(entity, document, column, blob, None) for blob in blobs)

    def _open(
        self,
        entity: EntityDef,
        document: DocumentDef,
        column: SealedColumn,
        blob: bytes | None,
        key: DocumentKey | None,
    ) -> Mapping[int, Any] | str:
        """Open one packed document; without a key at hand its own is unwrapped."""
        if blob is None:
            return {}
        if (state := blob[40]) == _ERASED_KEY:
            return ERASED
        try:
            if state != _HAS_KEY:
                raise KeyMissing(blob[43:59])
            record, subject, version = _place(blob)
            owner = subject if subject != _NOBODY else column.tenant
            return column.open(key or self._unwrap(blob), blob[_BODY:], record, owner, version)
        except CryptoError as error:
            self.troubles.append(Trouble(entity.number, UUID(bytes=blob[:16]), document.key_class, error))
            return error.code

    def _keys_of(self, kids: Sequence[bytes | None], texts: Sequence[str | None]) -> dict[bytes, DocumentKey]:
        """The keys of documents by their ids, without those that are erased or don't unwrap."""
        found = self.keys.cache.get_many(filter(None, kids))
        if len(found) == len(kids):
            return found
        absent = {
            kid: text
            for kid, text in zip(kids, texts, strict=True)
            if kid is not None and text is not None and kid not in found and text[_STATE] == _WITH_KEY
        }
        if absent:
            self.keys.listen()
            fresh = {}
            for kid, text in absent.items():
                with suppress(CryptoError):  # Opening will say it.
                    fresh[kid] = self._unwrap(bytes.fromhex(text))
            self.keys.cache.put_many(fresh, self._mark)
            found |= fresh
        return found

    def _unwrap(self, blob: bytes) -> DocumentKey:
        """The key of a packed document. Raises KeyCorrupt."""
        subject, numbers, check, key_class, wrapped, kid = _key_parts(blob, 41)
        wrapper, context = self._wrapped_by.get((numbers, key_class)) or self._wrapping(numbers, key_class)
        return wrapper.open(wrapped, context, subject, kid, check)

    def _wrapping(self, numbers: bytes, key_class: bytes) -> tuple[KeyWrapper, KeyContext]:
        """What unwraps the keys of a generation (4 bytes), an epoch (4 bytes) and a class."""
        generation, epoch = int.from_bytes(numbers[:4], "big"), int.from_bytes(numbers[4:], "big")
        word = key_class.decode("ascii").rstrip()
        found = self.keys.wrapper(epoch), KeyContext(self.keys.tenant.bytes, word, generation)
        self._wrapped_by[numbers, key_class] = found
        return found

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


def _remember(key: DocumentKey, column: SealedColumn, text: str, answer: Mapping[int, Any] | str) -> None:
    """Let a key remember the fields of a document, where they are small and nobody who gets them can alter them."""
    if (
        len(text) <= _MOST_REMEMBERED
        and isinstance(answer, dict)
        and _FIXED.issuperset(map(type, answer.values()))
    ):
        key.shown = column, text, MappingProxyType(answer)


@dataclass(frozen=True, slots=True, eq=False)
class WantedFields:
    """What an answer needs of one document: fields by number, with their names in the row."""

    document: DocumentDef
    fields: tuple[tuple[int, str], ...]


Wanted = Sequence[WantedFields]


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
        WantedFields(entity.documents[key_class], tuple(fields))
        for key_class, fields in found.items()
        if fields
    )


def fill(row: dict[str, Any], one: WantedFields, fields: Mapping[int, Any] | str) -> None:
    """Put the wanted fields of an opened document into a row; None and the reason where it didn't open."""
    if isinstance(fields, str):
        row[ERASED if fields == ERASED else UNREADABLE] = True if fields == ERASED else fields
        fields = {}
    value_of = fields.get
    for number, name in one.fields:
        row[name] = value_of(number)


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
        once: Each key is needed for this answer alone and isn't put into the cache; see `Opener.open_each`.
    """
    chosen, keys = tuple(dict.fromkeys(("id", *names))), list(record_ids)
    if not keys:
        return {}
    wanted = wanted_documents(entity, chosen, more)
    plain = [name for name in chosen if not entity.fields[name].sealed]
    table = entity.table
    alias = f'"{table.schema}"."{table.name}"'
    documents = [literal_column(written(entity, one.document, alias), Text()) for one in wanted]
    opener = Opener(keys_for(session)) if wanted else None
    query = select(*(table.c[name] for name in plain), *documents).where(
        table.c.id == any_(bindparam("keys", keys, type_=ARRAY(SqlUuid)))
    )
    rows = session.execute(query).all()
    found = [dict(zip(plain, values, strict=False)) for values in rows]
    if opener is not None:
        for place, one in enumerate(wanted, len(plain)):
            texts = [values[place] for values in rows]
            if once:
                blobs = (None if text is None else bytes.fromhex(text) for text in texts)
                opened: Iterable[Mapping[int, Any] | str] = opener.open_each(entity, one.document, blobs)
            else:
                opened = opener.open_all(entity, one.document, texts)
            for row, fields in zip(found, opened, strict=True):
                fill(row, one, fields)
        opener.raise_alarms(session, actor_of(session))
    return {row["id"]: row for row in found}


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
