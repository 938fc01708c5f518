"""Records by the exact value of a sealed field, without the search service: tokens give candidates, opening decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from crm_server.kernel.blindindex.plan import NotIndexed, transform_of
from crm_server.kernel.blindindex.tokens import EntityTokens, normal_form
from crm_server.kernel.keys import keys_of
from crm_server.kernel.opening import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef

MOST_OPENED: Final = 20_000
"""Documents that one search may open: a quarter of a second of work."""
_CHUNK: Final = 2_000


def find_exact(
    session: Session, entity: EntityDef, name: str, values: Iterable[str]
) -> dict[str, list[UUID]]:
    """Keys of the live records that have one of the values in a sealed field, oldest first, by value as it was given.

    Values are compared in the normal form of the field: a mail address without regard to case, a number as E.164.

    Raises:
        NotIndexed: the field has no blind index, or one so coarse that too many records would have to be opened.
    """
    item = entity.fields[name]
    transform = transform_of(item)
    asked: dict[str, list[str]] = {}
    found: dict[str, list[UUID]] = {}
    for value in values:
        found[value] = []
        if (normal := normal_form(transform, value)) is not None:
            asked.setdefault(normal, []).append(value)
    if not asked:
        return found
    for key, fields in opened(session, entity, candidates(session, entity, name, asked), (item,)):
        stored = fields.get(item.number)
        if stored is not None and (normal := normal_form(transform, stored, stored=True)) is not None:
            for value in asked.get(normal, ()):
                found[value].append(key)
    for keys in found.values():
        keys.sort()
    return found


def candidates(session: Session, entity: EntityDef, name: str, normals: Iterable[str]) -> list[UUID]:
    """Live records that may have one of the values; all of them where a small table has no index of the field.

    Raises:
        NotIndexed: there would be too many.
    """
    number = entity.fields[name].number
    tokens = EntityTokens(keys_of(session).keys, session.connection(), entity)
    table = entity.table
    query: Any = select(table.c.id).limit(MOST_OPENED + 1)
    if "deleted_at" in entity.fields:
        query = query.where(table.c.deleted_at.is_(None))
    if not tokens.indexed(number):
        found = list(session.execute(query).scalars())
    else:
        found = []
        for part in _parts(tokens.hits(number, list(normals))):
            known = table.c.id == any_(bindparam("keys", part, type_=ARRAY(Uuid)))
            found += session.execute(query.where(known)).scalars()
    if len(found) > MOST_OPENED:
        raise NotIndexed
    return found


def _parts(keys: list[UUID]) -> Iterator[list[UUID]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
