"""Records that rows of a file mean: found by the key of the mapping, with the values that rows may change.

Called by ``batch``, once for each batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from compliance.datamap import EntityDef, Semantic
from crm_server.domain.imports.bulk import Change
from crm_server.domain.imports.custom import custom_fields, has_rows, load_values
from crm_server.domain.imports.references import by_index
from crm_server.domain.imports.sealedkeys import SealedKeys, normal_of
from crm_server.kernel.opening import ERASED, read_rows

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

__all__ = ["Existing", "Finder", "Key"]

Key = tuple[str, ...]

_BOOKKEEPING = frozenset(
    {"id", "version", "import_id", "deleted_at", "name", "given_name", "family_name", "language"}
)
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
        self._names = [name for name, item in entity.fields.items() if name in wanted and not has_rows(item)]
        self._custom = [
            name for name, item in custom_fields(entity).items() if name in wanted and has_rows(item)
        ]
        first = key[0] if key else None
        sealed = first is not None and entity.fields[first].sealed
        self._seals = SealedKeys(entity, first, import_id) if first is not None and sealed else None

    def normal(self, name: str, value: Any) -> str:
        """A value as it counts in a key."""
        if self._entity.fields[name].sealed:
            return normal_of(self._entity, name, value) or str(value)
        return str(value).lower() if self._entity.fields[name].semantic is Semantic.EMAIL else str(value)

    def find(self, session: Session, keys: set[Key]) -> dict[Key, Existing]:
        """Records that have one of the keys; of several with the same key the oldest counts."""
        if not keys:
            return {}
        first = {key[0] for key in keys}
        with by_index(session.connection()):
            seals = self._seals
            records = self._by_column(session, first) if seals is None else seals.find(session, first)
            rows = read_rows(session, self._entity, self._names, records)
            custom = load_values(session, self._entity, records, self._custom)
        subject = self._entity.policy.subject or ""
        found: dict[Key, Existing] = {}
        for record in sorted(rows):
            values = rows[record] | custom.get(record, {})
            if (
                ERASED in values
                or values.get("deleted_at")
                or any(values[name] is None for name in self._key)
            ):
                continue
            key = tuple(self.normal(name, values[name]) for name in self._key)
            ours = values.get("import_id") == self._import_id
            found.setdefault(key, Existing(record, values["version"], values, values.get(subject), ours))
        return found

    def _by_column(self, session: Session, wanted: set[str]) -> list[UUID]:
        """Live records whose column has one of the values."""
        item = self._entity.fields[self._key[0]]
        column, semantic = item.stored, item.semantic
        condition: Any = func.lower(column) if semantic is Semantic.EMAIL else column
        if semantic not in _TEXTS and semantic is not Semantic.EMAIL:
            condition = column.cast(String)
        given = bindparam("wanted", list(wanted), type_=ARRAY(String))
        query = select(self._entity.table.c.id).where(condition == any_(given))
        return list(session.execute(self._live(query)).scalars())

    def unchanged(self, session: Session, versions: Mapping[UUID, int]) -> set[UUID]:
        """Records that still have the version with which they were read."""
        table = self._entity.table
        query = select(table.c.id, table.c.version).where(
            table.c.id == any_(bindparam("keys", list(versions), type_=ARRAY(Uuid)))
        )
        rows = session.execute(query) if versions else ()
        return {record for record, version in rows if versions[record] == version}

    def made(self, session: Session, records: Sequence[tuple[UUID, Key]]) -> None:
        """Told of new records and of what they are recognised by, so that nobody need open them."""
        if self._seals is not None:
            self._seals.made(session, ((record, key[0]) for record, key in records))

    def forget(self) -> None:
        """Takes back what was made by a batch that was rolled back."""
        if self._seals is not None:
            self._seals.forget()

    def _live(self, query: Any) -> Any:
        if "deleted_at" in self._entity.fields:
            return query.where(self._entity.table.c.deleted_at.is_(None))
        return query
