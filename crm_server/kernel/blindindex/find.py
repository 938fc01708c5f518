"""Records by the exact value of a sealed field, without the search service: tokens give candidates, opening decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from compliance.datamap.text import _
from crm_server.kernel.blindindex.plan import indexable
from crm_server.kernel.blindindex.tokens import EntityTokens, normal_form
from crm_server.kernel.errors import Unavailable
from crm_server.kernel.keys import keys_of
from crm_server.kernel.opening import read_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef

MOST_OPENED: Final = 20_000
"""Documents that one search may open: less than half a second of work."""
_CHUNK: Final = 2_000


class NotIndexed(Unavailable):
    """Too many records would have to be opened to find one: the field has no blind index, or a coarse one."""

    code = "not_indexed"
    title = _("This field can only be searched while the search service is running.")


def find_exact(
    session: Session, entity: EntityDef, name: str, values: Iterable[str]
) -> dict[str, list[UUID]]:
    """Keys of the live records that have one of the values in a sealed field, oldest first, by value as it was given.

    Values are compared in the normal form of the field: a mail address without regard to case, a number as E.164.

    Raises:
        NotIndexed: too many records would have to be opened; the search service can tell.
    """
    transform = next(item.transform for item in indexable(entity.model) if item.name == name)
    asked: dict[str, list[str]] = {}
    found: dict[str, list[UUID]] = {}
    for value in values:
        found[value] = []
        if (normal := normal_form(transform, value)) is not None:
            asked.setdefault(normal, []).append(value)
    keys = candidates(session, entity, name, asked) if asked else []
    for start in range(0, len(keys), _CHUNK):
        for key, row in read_rows(session, entity, (name,), keys[start : start + _CHUNK]).items():
            stored = row[name]
            if stored is not None and (normal := normal_form(transform, stored, stored=True)) is not None:
                for value in asked.get(normal, ()):
                    found[value].append(key)
    for same in found.values():
        same.sort()
    return found


def candidates(
    session: Session, entity: EntityDef, name: str, normals: Collection[str], *, limit: int = MOST_OPENED
) -> list[UUID]:
    """Live records that may have one of the values; all of them where the table has no index of the field.

    Raises:
        NotIndexed: there are more than `limit`.
    """
    tokens = EntityTokens(keys_of(session).keys, session.connection(), entity.model)
    table = entity.table
    query: Any = select(table.c.id).limit(limit + 1)
    if "deleted_at" in entity.fields:
        query = query.where(table.c.deleted_at.is_(None))
    found: list[UUID] = []
    if tokens.indexed(name):
        hits = tokens.hits(name, normals)
        for start in range(0, len(hits), _CHUNK):
            part = bindparam("part", hits[start : start + _CHUNK], type_=ARRAY(Uuid))
            found += session.execute(query.where(table.c.id == any_(part))).scalars()
    else:
        found += session.execute(query).scalars()
    if len(found) > limit:
        raise NotIndexed
    return found
