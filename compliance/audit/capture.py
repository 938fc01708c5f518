"""Capture of changes by construction: no unit of work can be flushed without its events (AUD-1).

Each row carries `event_id`, the event of its last change. The flush hook gives every new or changed object a fresh
one and writes the event with old and new values in the same flush. Statements that go past the hook (bulk, Core,
raw SQL) leave `event_id` as it was; a database trigger sees exactly that and writes the event itself. So there is
no list of places to remember, and no statement to forget.

A data subject has nothing to tell but that it is there. Where it begins with a record, in one flush, the event of the
record tells of both: it names the subject, says `person: new`, and both rows carry its id.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from compliance.audit.events import Event, Principal, write
from compliance.datamap.documents import take_changes
from compliance.datamap.field import POLICY
from compliance.datamap.vocabulary import Audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy.orm import InstanceState, Mapper

    from compliance.datamap.policy import EntityPolicy, FieldPolicy

_PENDING = "kontor.audit.pending"
_BESIDE = "_kontor_changes_beside"
_BOOKKEEPING = frozenset({"event_id", "version", "updated_at", "updated_by", "created_at", "created_by"})


class NoActorError(Exception):
    """A session without an actor tried to write. Open sessions with an actor."""


def install(session_class: type[Session], actor_of: Callable[[Session], Principal]) -> None:
    """Attach the capture hooks to a session class.

    Args:
        session_class: Sessions of this class and its subclasses are captured.
        actor_of: Gives the actor of a session; raises KeyError when there is none.
    """
    if getattr(session_class, "_kontor_captured", False):
        return
    session_class._kontor_captured = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark

    def before_flush(session: Session, _context: Any, _instances: Any) -> None:
        pending = session.info.setdefault(_PENDING, [])
        _note_new(pending, list(session.new))
        for instance in session.dirty:
            if session.is_modified(instance):
                _note(pending, instance, "update")

    def after_flush(session: Session, _context: Any) -> None:
        pending = session.info.pop(_PENDING, [])
        if not pending:
            return
        try:
            actor = actor_of(session)
        except KeyError:
            raise NoActorError("this session has no actor; a change without an actor is refused") from None
        write(session.connection(), actor, pending)

    event.listen(session_class, "before_flush", before_flush)
    event.listen(session_class, "after_flush", after_flush)


def add_changes(instance: Any, changes: Mapping[int, tuple[Any, Any]], facts: Iterable[int] = ()) -> None:
    """Tell the instance's next event of changes that are not columns of its row: values of custom fields.

    Args:
        instance: A mapped object that the same flush writes.
        changes: Field number to (old, new).
        facts: Numbers of fields whose change is told without values.
    """
    told: dict[int, tuple[Any, Any] | None] = instance.__dict__.setdefault(_BESIDE, {})
    told.update(changes)
    told.update(dict.fromkeys(facts))


def _note_new(pending: list[Event], new: Iterable[Any]) -> None:
    """Note the events of new objects; who begins with a record needs none of their own."""
    bare: dict[UUID, Any] = {}
    telling = []
    for instance in new:
        if _BESIDE not in instance.__dict__ and _is_bare(instance.__mapper__):
            instance.id = instance.id or uuid7()
            bare[instance.id] = instance
        else:
            telling.append(instance)
    for instance in telling:
        told = _note(pending, instance, "create")
        begun = bare.pop(told.subjects[0], None) if told is not None and told.subjects else None
        if begun is not None and told is not None:
            begun.event_id = told.event_id
            told.meta["person"] = "new"
    for instance in bare.values():
        _note(pending, instance, "create")


@cache
def _is_bare(mapper: Mapper[Any]) -> bool:
    """Whether nothing can be told of a new row but that it is there."""
    model = mapper.class_
    return hasattr(model, "event_id") and not hasattr(model, "__layout__") and not _audited(mapper)


def _note(pending: list[Event], instance: Any, action: str) -> Event | None:
    if not hasattr(type(instance), "event_id") or not getattr(instance, "__audited__", True):
        return None
    state = cast("InstanceState[Any]", inspect(instance))
    entity: EntityPolicy = instance.__entity__
    if instance.id is None:
        instance.id = uuid7()
    numbers: list[int] = []
    changes: dict[str, list[Any]] = {}
    for number, policy, old, new in _changed(instance, state, action):
        numbers.append(number)
        if policy.handling.audit is Audit.VALUE:
            changes[str(number)] = [plain(old), plain(new)]
    for number, pair in instance.__dict__.pop(_BESIDE, {}).items():
        numbers.append(number)
        if pair is not None:
            changes[str(number)] = [plain(pair[0]), plain(pair[1])]
    if not numbers and action == "update":
        return None
    instance.event_id = uuid7()
    subject = getattr(instance, entity.subject, None) if entity.subject else None
    told = Event(
        event_class="change",
        action=_meaning(action, instance, state),
        object_type=entity.number,
        object_ref=instance.id,
        subjects=(subject,) if isinstance(subject, UUID) else (),
        meta={"fields": sorted(numbers), "version": (instance.version or 0) + 1}
        if hasattr(instance, "version")
        else {"fields": sorted(numbers)},
        payload={"changes": changes} if changes else None,
        event_id=instance.event_id,
    )
    pending.append(told)
    return told


def _changed(
    instance: Any, state: InstanceState[Any], action: str
) -> Iterator[tuple[int, FieldPolicy, Any, Any]]:
    """(number, policy, old, new) of each declared field that this flush changes: columns, then sealed fields."""
    values = instance.__dict__
    audited = _audited(state.mapper)
    # A new row has no history, and only what was touched can have changed: this runs for each change there is.
    for name in tuple(values if action == "create" else state.committed_state):
        policy = audited.get(name)
        if policy is None:
            continue
        if action == "create":
            old, new = None, values[name]
        else:
            history = state.attrs[name].history
            old = history.deleted[0] if history.deleted else None
            new = history.added[0] if history.added else None
        if old != new:
            yield policy.number, policy, old, new
    if hasattr(type(instance), "__layout__"):
        for number, policy, old, new in take_changes(instance):
            if policy.handling.audit is not Audit.OFF:
                yield number, policy, old, new


@cache
def _audited(mapper: Mapper[Any]) -> dict[str, FieldPolicy]:
    """The attributes of a class whose changes are told, with their policies."""
    found = {
        item.key: item.columns[0].info[POLICY] for item in mapper.column_attrs if item.key not in _BOOKKEEPING
    }
    return {name: policy for name, policy in found.items() if policy.handling.audit is not Audit.OFF}


def _meaning(action: str, instance: Any, state: InstanceState[Any]) -> str:
    """A soft delete and a restore are told as what they mean and not as an update."""
    if action == "update" and "deleted_at" in state.attrs and state.attrs["deleted_at"].history.has_changes():
        return "delete" if instance.deleted_at is not None else "restore"
    return action


def plain(value: Any) -> Any:
    """A value as it stands in canonical JSON."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID | date):
        return str(value)
    if isinstance(value, bytes):
        return None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
