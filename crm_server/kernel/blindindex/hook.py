"""Writes the tokens of what a session flushes, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event

from compliance.datamap.documents import sealed_changes
from crm_server.kernel.blindindex.plan import indexable
from crm_server.kernel.blindindex.tokens import EntityTokens

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_PENDING: Final = "kontor.blindindex.pending"


def install(session_class: type[Session]) -> None:
    """Attach the hook to a session class, behind that which seals documents and ahead of audit capture."""
    if getattr(session_class, "_kontor_indexed", False):
        return
    session_class._kontor_indexed = True  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark
    event.listen(session_class, "before_flush", _before_flush)
    event.listen(session_class, "after_flush", _after_flush)


def _before_flush(session: Session, _context: Any, _instances: Any) -> None:
    pending: list[tuple[Any, bool]] = session.info.setdefault(_PENDING, [])
    for fresh, instances in ((True, session.new), (False, session.dirty)):
        for instance in instances:
            fields = indexable(type(instance))
            if fields and not sealed_changes(instance).keys().isdisjoint(item.number for item in fields):
                pending.append((instance, fresh))


def _after_flush(session: Session, _context: Any) -> None:
    from crm_server.kernel.keys import (
        keys_of,
    )  # the module of sessions installs this hook, and keys need sessions

    pending: list[tuple[Any, bool]] = session.info.pop(_PENDING, [])
    groups: dict[type[Any], list[tuple[Any, bool]]] = {}
    for instance, fresh in pending:
        groups.setdefault(type(instance), []).append((instance, fresh))
    for model, members in groups.items():
        tokens = EntityTokens(keys_of(session).keys, session.connection(), model)
        names = [item.name for item in indexable(model)]
        new = _values(names, [one for one, fresh in members if fresh])
        tokens.write((record.bytes, values) for record, values in new)
        tokens.replace(_values(names, [one for one, fresh in members if not fresh]))


def _values(names: list[str], instances: list[Any]) -> list[tuple[Any, dict[str, Any]]]:
    return [(one.id, {name: getattr(one, name) for name in names}) for one in instances]
