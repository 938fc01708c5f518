"""The sealed documents of mapped objects: opened when a field is first read, sealed again by the flush.

A document is bound to tenant, entity, record, data subject, key class, data key and version, so what was moved or put
back doesn't open (ENC-3). The hook that seals runs before audit capture, which tells of sealed fields as of columns.
How keys are found is the application's affair: it hands in a `Vault`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from uuid import UUID

from sqlalchemy import event, inspect, select
from sqlalchemy.orm import Session, object_session
from sqlalchemy.orm.attributes import flag_dirty
from sqlalchemy.orm.base import NEVER_SET, NO_VALUE
from uuid_utils.compat import uuid7

from security.crypto.document import document_kid
from security.crypto.errors import CryptoError, KeyErased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy.orm import InstanceState

    from compliance.datamap.policy import FieldPolicy
    from security.crypto.document import DocumentKey, SealedColumn

_STATE: Final = "_kontor_documents"
_UNKNOWN: Final = (NO_VALUE, NEVER_SET)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where a mapped class keeps its sealed fields; `__layout__` of the class.

    Attributes:
        number: Of the entity.
        subject: The attribute with the data subject. Rows of nobody are sealed under the tenant's own key.
        version: The attribute with the version of the row's documents.
        documents: The attribute of each key class's document.
        fields: Name and policy of the sealed fields by number.
    """

    number: int
    subject: str
    version: str
    documents: Mapping[str, str]
    fields: Mapping[int, tuple[str, FieldPolicy]]


class Vault(Protocol):
    """Where a session's keys come from."""

    @property
    def tenant(self) -> UUID:
        """The installation; bound into every document."""

    def column(self, table: int, key_class: str) -> SealedColumn:
        """The place of the documents of one entity and key class."""

    def by_id(self, kid: bytes) -> DocumentKey:
        """The key of a document. Raises KeyMissing, KeyErased, KeyCorrupt."""

    def for_sealing(self, subject: UUID, key_class: str) -> DocumentKey:
        """The key to seal with, made on first use in the session's transaction (ENC-7). Raises KeyErased."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A document that doesn't open though nobody erased its key: somebody must look at it."""

    entity: int
    record: UUID
    key_class: str
    error: CryptoError


class DetachedDocumentError(RuntimeError):
    """A sealed field of an object without a session was read; its document can't be opened any more."""


class UnfitValueError(ValueError):
    """A sealed field breaks its declaration; names the field, never the value."""


@dataclass(slots=True)
class _Doors:
    vault_of: Callable[[Session], Vault] | None = None
    on_trouble: Callable[[Session, Trouble], None] | None = None


_doors: Final = _Doors()


class _Documents:
    """What is known of one object's documents.

    Attributes:
        opened: The document (bytes) and its fields, by key class.
        changes: New values by key class and number, not sealed yet.
        told: Old and new value by number, of the sealing that the audit has not been told of.
        erased: Key classes whose key was erased.
    """

    __slots__ = ("changes", "erased", "opened", "told")

    def __init__(self) -> None:
        self.opened: dict[str, tuple[bytes | None, dict[int, Any]]] = {}
        self.changes: dict[str, dict[int, Any]] = {}
        self.told: dict[int, tuple[Any, Any]] = {}
        self.erased: set[str] = set()

    def contents(self, instance: Any, key_class: str) -> dict[int, Any]:
        """The sealed fields of a class by number, without unsealed changes."""
        layout: Layout = instance.__layout__
        blob: bytes | None = getattr(instance, layout.documents[key_class])
        kept = self.opened.get(key_class)
        if kept is not None and kept[0] == blob:
            return kept[1]
        self.erased.discard(key_class)
        values = {} if blob is None else self._open(instance, layout, key_class, blob)
        self.opened[key_class] = (blob, values)
        return values

    def _open(self, instance: Any, layout: Layout, key_class: str, blob: bytes) -> dict[int, Any]:
        session = object_session(instance)
        if session is None:
            raise DetachedDocumentError(f"{instance!r} has left its session; read sealed fields within it")
        vault = vault_of(session)
        try:
            subject = sealed_for(instance, layout, session) or vault.tenant
            return vault.column(layout.number, key_class).open(
                vault.by_id(document_kid(blob)),
                blob,
                instance.id.bytes,
                subject.bytes,
                getattr(instance, layout.version),
            )
        except KeyErased:
            self.erased.add(key_class)
            return {}
        except CryptoError as error:
            report(session, Trouble(layout.number, instance.id, key_class, error))
            raise

    def forget(self) -> None:
        """Drop all that was opened or changed: the row is read anew."""
        self.opened.clear()
        self.changes.clear()
        self.told.clear()
        self.erased.clear()


def _of(instance: Any) -> _Documents:
    state: _Documents | None = instance.__dict__.get(_STATE)
    if state is None:
        state = instance.__dict__[_STATE] = _Documents()
    return state


def vault_of(session: Session) -> Vault:
    """The keys of a session, as the application gave them at `install`."""
    if _doors.vault_of is None:
        raise RuntimeError("no keys: documents.install was not called")
    return _doors.vault_of(session)


def report(session: Session, trouble: Trouble) -> None:
    """Raise the alarm about a document."""
    if _doors.on_trouble is not None:
        _doors.on_trouble(session, trouble)


def read(instance: Any, key_class: str, number: int) -> Any:
    """The value of a sealed field, or None.

    Raises:
        CryptoError: the document doesn't open. An erased key is no error: its fields are None.
        DetachedDocumentError: the object has left its session.
    """
    state = _of(instance)
    changes = state.changes.get(key_class)
    if changes is not None and number in changes:
        return changes[number]
    return state.contents(instance, key_class).get(number)


def write(instance: Any, key_class: str, number: int, value: Any) -> None:
    """Set a sealed field; the next flush seals it. Setting what is there already changes nothing."""
    state = _of(instance)
    old = state.contents(instance, key_class).get(number)
    changes = state.changes.setdefault(key_class, {})
    if old == value:
        changes.pop(number, None)
        if not changes:
            del state.changes[key_class]
        return
    changes[number] = value
    # The session must see the object in its next flush; objects without a row are there anyway.
    if _instance_state(instance).key is not None:
        flag_dirty(instance)


def erased(instance: Any) -> bool:
    """Whether the key of one of the object's documents was erased: its fields are gone for good."""
    layout: Layout | None = getattr(type(instance), "__layout__", None)
    if layout is None:
        return False
    state = _of(instance)
    for key_class in layout.documents:
        state.contents(instance, key_class)
    return bool(state.erased)


def sealed_changes(instance: Any) -> Mapping[int, tuple[Any, Any]]:
    """Old and new value by number of what the flush under way has sealed; for hooks between sealing and audit."""
    state: _Documents | None = instance.__dict__.get(_STATE)
    return {} if state is None else state.told


def take_changes(instance: Any) -> Iterator[tuple[int, FieldPolicy, Any, Any]]:
    """(number, policy, old, new) of declared fields that the flush under way has sealed, told once."""
    layout: Layout = instance.__layout__
    state = _of(instance)
    told, state.told = state.told, {}
    for number, (old, new) in told.items():
        found = layout.fields.get(number)
        if found is not None:
            yield number, found[1], old, new


def install(
    session_class: type[Session],
    vault: Callable[[Session], Vault],
    on_trouble: Callable[[Session, Trouble], None],
) -> None:
    """Attach the hook that seals, ahead of audit capture; call it once, before capture is installed."""
    _doors.vault_of, _doors.on_trouble = vault, on_trouble
    if getattr(session_class, "_kontor_sealed", False):
        return
    session_class._kontor_sealed = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark
    event.listen(session_class, "before_flush", _before_flush)


def watch(class_: type[Any]) -> None:
    """Forget what is known of an object's documents when its row is expired or read anew."""
    columns = frozenset({*class_.__layout__.documents.values(), class_.__layout__.version})

    def stale(instance: Any, names: Any) -> None:
        state = instance.__dict__.get(_STATE)
        if state is not None and (names is None or not columns.isdisjoint(names)):
            state.forget()

    event.listen(class_, "expire", stale)
    event.listen(class_, "refresh", lambda instance, _context, names: stale(instance, names))


def _before_flush(session: Session, _context: Any, _instances: Any) -> None:
    for instance in session.new:
        if hasattr(type(instance), "__layout__"):
            _seal(session, instance, fresh=True)
    for instance in session.dirty:
        if hasattr(type(instance), "__layout__") and (_of(instance).changes or _changed_hands(instance)):
            _seal(session, instance, fresh=False)


def _seal(session: Session, instance: Any, *, fresh: bool) -> None:
    """Seal all documents of an object under its next version: they share it."""
    layout: Layout = instance.__layout__
    state = _of(instance)
    if instance.id is None:
        instance.id = uuid7()
    fields: dict[str, dict[int, Any]] = {}
    told: dict[int, tuple[Any, Any]] = {}
    for key_class in layout.documents:
        before = state.contents(instance, key_class)
        changes = state.changes.get(key_class, {})
        after = {number: value for number, value in (before | changes).items() if value is not None}
        fields[key_class] = after
        for number in after if fresh else changes:
            told[number] = (None if fresh else before.get(number), after.get(number))
    _fit(layout, fields, told)
    version = (getattr(instance, layout.version) or 0) + 1
    for key_class, name in layout.documents.items():
        if key_class in state.erased and not state.changes.get(key_class):
            continue
        values, blob = fields[key_class], None
        if values:
            # Asked for only where there is something to seal: the rest must work while the keys are away.
            vault = vault_of(session)
            subject: UUID = getattr(instance, layout.subject) or vault.tenant
            key = vault.for_sealing(subject, key_class)
            blob = vault.column(layout.number, key_class).seal(
                key, values, instance.id.bytes, subject.bytes, version
            )
        setattr(instance, name, blob)
        state.opened[key_class] = (blob, values)
    setattr(instance, layout.version, version)
    state.changes.clear()
    state.told = told


def _fit(layout: Layout, fields: Mapping[str, Mapping[int, Any]], told: Mapping[int, Any]) -> None:
    """Refuse what a column's constraints would have refused; nothing that was not touched is looked at."""
    for number in told:
        found = layout.fields.get(number)
        if found is None:
            continue
        name, policy = found
        value = fields[str(policy.handling.key_class)].get(number)
        longest = policy.max_length
        if longest is not None and isinstance(value, str) and len(value) > longest:
            raise UnfitValueError(f"{name}: at most {longest} characters fit")
        if policy.choices and value is not None and value not in policy.choices:
            raise UnfitValueError(f"{name}: not one of its choices")
        if policy.required and value is None:
            raise UnfitValueError(f"{name}: must be filled in")


def _instance_state(instance: Any) -> InstanceState[Any]:
    return cast("InstanceState[Any]", inspect(instance))


def sealed_for(instance: Any, layout: Layout, session: Session) -> UUID | None:
    """The data subject that the stored documents were sealed for: the one of the row, and not a new one."""
    committed = _instance_state(instance).committed_state
    found = committed.get(layout.subject, _UNKNOWN[1])
    if layout.subject not in committed:
        found = getattr(instance, layout.subject)
    elif found in _UNKNOWN:
        # It was set without having been read.
        class_ = type(instance)
        with session.no_autoflush:
            found = session.scalar(select(getattr(class_, layout.subject)).where(class_.id == instance.id))
    return cast("UUID | None", found)


def _changed_hands(instance: Any) -> bool:
    """Whether the data subject changes with this flush: another person, other keys."""
    layout: Layout = instance.__layout__
    if layout.subject not in _instance_state(instance).committed_state:
        return False
    session = object_session(instance)
    return session is not None and sealed_for(instance, layout, session) != getattr(instance, layout.subject)
