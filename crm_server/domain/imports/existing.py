"""Records that rows of a file mean: found by the key of the mapping, with the values that rows may change.

Called by ``batch``, once for each batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, String, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from compliance.datamap import EntityDef, Semantic
from crm_server.domain.imports.bulk import Change
from crm_server.domain.imports.custom import custom_fields, load_values
from crm_server.domain.imports.references import by_index

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["Existing", "Finder", "Key"]

Key = tuple[str, ...]

_BOOKKEEPING = frozenset({"id", "version", "import_id", "name", "given_name", "family_name", "language"})
_TEXTS = frozenset({Semantic.TEXT, Semantic.LONG_TEXT, Semantic.PHONE, Semantic.URL, Semantic.CHOICE})


@dataclass(slots=True)
class Existing:
    """A record that has the key: as stored, or made by this very batch."""

    record_id: UUID | None
    version: int
    values: dict[str, Any]
    subject: UUID | None
    ours: bool
    pending: dict[str, Any] | None = None
    change: Change | None = None


class Finder:
    """Finds records by ``key`` (names of fields) and reads those of their fields that are in ``compared``."""

    def __init__(
        self, entity: EntityDef, key: tuple[str, ...], compared: Iterable[str], import_id: UUID
    ) -> None:
        self._entity = entity
        self._key = key
        self._import_id = import_id
        wanted = {*compared, *_BOOKKEEPING, *key, entity.policy.subject or ""}
        custom = custom_fields(entity)
        self._names = [name for name in entity.fields if name in wanted and name not in custom]
        self._custom = [name for name in custom if name in wanted]

    def normal(self, name: str, value: Any) -> str:
        """A value as it counts in a key."""
        return str(value).lower() if self._entity.fields[name].semantic is Semantic.EMAIL else str(value)

    def find(self, connection: Connection, keys: set[Key]) -> dict[Key, Existing]:
        """Records that have one of the keys; of several with the same key the oldest counts."""
        if not keys:
            return {}
        table = self._entity.table
        first = self._key[0]
        column = table.c[first]
        semantic = self._entity.fields[first].semantic
        condition: Any = func.lower(column) if semantic is Semantic.EMAIL else column
        if semantic not in _TEXTS and semantic is not Semantic.EMAIL:
            condition = column.cast(String)
        query = select(*(table.c[name] for name in self._names)).where(
            condition == any_(bindparam("wanted", [key[0] for key in keys], type_=ARRAY(String)))
        )
        if "deleted_at" in self._entity.fields:
            query = query.where(table.c.deleted_at.is_(None))
        with by_index(connection):
            rows = connection.execute(query.order_by(table.c.id)).mappings().all()
            custom = load_values(connection, self._entity, [row["id"] for row in rows], self._custom)
        subject = self._entity.policy.subject or ""
        found: dict[Key, Existing] = {}
        for row in rows:
            values = dict(row) | custom.get(row["id"], {})
            key = tuple(self.normal(name, row[name]) for name in self._key)
            ours = row.get("import_id") == self._import_id
            found.setdefault(key, Existing(row["id"], row["version"], values, row.get(subject), ours))
        return found
