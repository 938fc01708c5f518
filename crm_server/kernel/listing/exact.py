"""Exact matches on sealed fields while the search service is away: by the blind index, which PostgreSQL holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.blindindex.find import NotIndexed, find_exact
from crm_server.kernel.blindindex.plan import indexable
from crm_server.kernel.hot import Hot
from crm_server.kernel.listing.query import Condition
from crm_server.kernel.opening import keys_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from compliance.datamap import EntityDef
    from crm_server.kernel.listing.query import Filter


def by_blind_index(
    source: Hot | Session | Connection, entity: EntityDef, nodes: Iterable[Filter]
) -> list[list[str]] | None:
    """Ids of the records that fulfil each condition, or None when one is no exact match on an indexed field.

    Row rules are not applied: the statement of the list judges the ids.
    """
    known = {item.name for item in indexable(entity.model)}
    asked: list[tuple[str, list[str]]] = []
    for node in nodes:
        if not isinstance(node, Condition) or node.path not in known or node.operator not in {"eq", "in"}:
            return None
        values = [node.value] if node.operator == "eq" else node.value
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return None
        asked.append((node.path, values))
    if not asked or not isinstance(source, Hot | Session):
        return None
    with _session(source) as session:
        try:
            return [_ids(session, entity, name, values) for name, values in asked]
        except NotIndexed:
            return None


def _ids(session: Session, entity: EntityDef, name: str, values: list[str]) -> list[str]:
    found = find_exact(session, entity, name, values)
    return [str(key) for keys in found.values() for key in keys]


def _session(source: Hot | Session) -> Session:
    """A session of its own that acts as the system, with the keys of the source."""
    bind: Any = source.get_bind() if isinstance(source, Session) else source.engine
    engine = bind if isinstance(bind, Engine) else bind.engine
    made = Session(engine.execution_options(isolation_level="READ COMMITTED"))
    made.info |= {db.KEYS: keys_for(source), db.ACTOR: system_actor()}
    return made
