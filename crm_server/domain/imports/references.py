"""From the text of a reference to the key of a record: an account by name, a user by name or mail, a stage
by name.

Called by the import run, one batch at a time: all texts of a batch are looked up in one query per kind.
Accounts that are missing are made where the mapping says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, String, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from compliance.datamap import DataMap, EntityDef
from crm_server.domain.imports.bulk import Bulk
from crm_server.importing.errors import _
from crm_server.importing.mapping import FieldProblem, ReferenceText
from crm_server.importing.values.places import fold
from crm_server.kernel.opening import read_rows

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.kernel.actor import Actor

__all__ = ["Resolver", "by_index"]

_SMALL = frozenset({"user", "team", "territory", "stage", "pipeline", "price_list"})
"""Tables that are read once and matched without regard to case."""
_ALSO = {"user": ("email", "login")}
_CACHE = 200_000
_SCAN = 5_000

_MISSING = _("There is no such record to refer to. Import it first, or let the import make it.")
_BLANKED = _("There is no such record to refer to; the field was left blank.")
_SEVERAL = _("Several records have this name; the oldest was taken.")


@contextmanager
def by_index(connection: Connection) -> Iterator[None]:
    """Looks up a thousand keys by the index that there is for them.

    In a table that grows while it is read, the planner's figures are old, and it would read the whole of it
    instead.
    """
    connection.exec_driver_sql("set local enable_seqscan = off")
    yield
    connection.exec_driver_sql("set local enable_seqscan = on")


class Resolver:
    """Keys of referenced records, cached for the run. ``dry`` makes nothing and pretends."""

    def __init__(
        self, session: Session, datamap: DataMap, actor: Actor, import_id: UUID, *, dry: bool
    ) -> None:
        self.use(session)
        self._datamap = datamap
        self._actor = actor
        self._import_id = import_id
        self._dry = dry
        self._known: dict[tuple[str, str], dict[str, tuple[UUID | None, bool]]] = {}
        self._scanned: dict[tuple[str, str], tuple[UUID, dict[str, list[UUID]]]] = {}
        self.created = 0

    def use(self, session: Session) -> None:
        """Goes on in another transaction; what was made in one that failed is forgotten by ``forget``."""
        self._session, self._connection = session, session.connection()

    def forget(self) -> None:
        """Drops the cache, after a rollback."""
        self._known.clear()
        self._scanned.clear()

    def prepare(self, wanted: Iterable[tuple[EntityDef, ReferenceText]]) -> None:
        """Looks up all texts of a batch, and makes what is missing and may be made."""
        groups: dict[tuple[str, str], dict[str, ReferenceText]] = {}
        for target, reference in wanted:
            known = self._known.setdefault((target.name, reference.match), {})
            if self._key(target, reference.text) not in known:
                groups.setdefault((target.name, reference.match), {})[reference.text] = reference
        for (name, match), texts in groups.items():
            target = self._datamap[name]
            known = self._known[name, match]
            if len(known) > _CACHE:
                known.clear()
            known.update(self._look_up(target, match, list(texts)))
            missing = [text for text in texts if self._key(target, text) not in known]
            make = [text for text in missing if texts[text].missing == "create"]
            known.update(self._make(target, match, make))
            known.update(
                {self._key(target, text): (None, False) for text in missing if text not in set(make)}
            )

    def resolve(
        self, field: str, target: EntityDef, reference: ReferenceText, columns: tuple[str, ...]
    ) -> tuple[UUID | None, FieldProblem | None]:
        """The key of one reference, and what is to be said about it."""
        found, several = self._known[target.name, reference.match][self._key(target, reference.text)]
        if found is None:
            warning = reference.missing == "blank"
            text = _BLANKED if warning else _MISSING
            return None, FieldProblem(field, "reference.missing", text, columns, warning=warning)
        if several:
            return found, FieldProblem(field, "reference.several", _SEVERAL, columns, warning=True)
        return found, None

    def _key(self, target: EntityDef, text: str) -> str:
        return fold(text) if target.name in _SMALL else text

    def _look_up(
        self, target: EntityDef, match: str, texts: Sequence[str]
    ) -> dict[str, tuple[UUID | None, bool]]:
        if target.name in _SMALL:
            return self._small(target, match)
        table = target.table
        # Without a column of that name nothing can match; the mapping check has said so already.
        if match not in target.fields:
            return {}
        if target.fields[match].sealed:
            return self._sealed(target, match, texts)
        column = func.lower(table.c[match]) if match == "email" else table.c[match].cast(String)
        wanted = [text.lower() if match == "email" else text for text in texts]
        query = select(table.c.id, column).where(
            column == any_(bindparam("wanted", wanted, type_=ARRAY(String)))
        )
        if match not in {"email", "id"}:
            query = select(table.c.id, table.c[match]).where(
                table.c[match] == any_(bindparam("wanted", wanted, type_=ARRAY(String)))
            )
        if "deleted_at" in target.fields:
            query = query.where(table.c.deleted_at.is_(None))
        hits: dict[str, list[UUID]] = {}
        with by_index(self._connection):
            rows = self._connection.execute(query.order_by(table.c.id)).all()
        for key, value in rows:
            hits.setdefault(value, []).append(key)
        found: dict[str, tuple[UUID | None, bool]] = {}
        for text in texts:
            keys = hits.get(text.lower() if match == "email" else text)
            if keys:
                found[text] = (keys[0], len(keys) > 1)
        return found

    def _sealed(
        self, target: EntityDef, match: str, texts: Sequence[str]
    ) -> dict[str, tuple[UUID | None, bool]]:
        """By a sealed field: all live records are opened once a run, and those that were made since."""
        seen, hits = self._scanned.setdefault((target.name, match), (UUID(int=0), {}))
        table = target.table
        while True:
            query = select(table.c.id).where(table.c.id > seen).order_by(table.c.id).limit(_SCAN)
            if "deleted_at" in target.fields:
                query = query.where(table.c.deleted_at.is_(None))
            keys = list(self._session.execute(query).scalars())
            for key, row in sorted(read_rows(self._session, target, (match,), keys).items()):
                if row[match] is not None:
                    hits.setdefault(fold(row[match]), []).append(key)
            if not keys:
                break
            seen = keys[-1]
        self._scanned[target.name, match] = (seen, hits)
        found: dict[str, tuple[UUID | None, bool]] = {}
        for text in texts:
            if same := hits.get(fold(text)):
                found[text] = (same[0], len(same) > 1)
        return found

    def _small(self, target: EntityDef, match: str) -> dict[str, tuple[UUID | None, bool]]:
        table = target.table
        names = [name for name in (match, *_ALSO.get(target.name, ())) if name in target.fields]
        query = select(table.c.id, *(table.c[name] for name in names))
        if target.name == "stage":
            # Of stages with one name the default pipeline's comes first.
            pipeline = self._datamap["pipeline"].table
            query = query.join(pipeline, pipeline.c.id == table.c.pipeline_id).order_by(
                pipeline.c.is_default.desc()
            )
        query = query.order_by(table.c.id)
        if "deleted_at" in target.fields:
            query = query.where(table.c.deleted_at.is_(None))
        found: dict[str, tuple[UUID | None, bool]] = {}
        for key, *texts in self._connection.execute(query):
            for text in filter(None, texts):
                found.setdefault(fold(str(text)), (key, False))
        return found

    def _make(
        self, target: EntityDef, match: str, texts: Sequence[str]
    ) -> dict[str, tuple[UUID | None, bool]]:
        """New records that have nothing but their name; the person sees them under the import."""
        if not texts:
            return {}
        self.created += len(texts)
        if self._dry:
            # A dry run needs some key; this one never reaches the database.
            return {text: (UUID(int=0), False) for text in texts}
        records: list[dict[str, Any]] = [self._fresh(target, match, text) for text in texts]
        keys = Bulk(self._session, self._datamap, target, self._actor).insert(records, self._import_id)
        return dict(zip(texts, ((key, False) for key in keys), strict=True))

    def _fresh(self, target: EntityDef, match: str, text: str) -> dict[str, Any]:
        limit = target.fields["name"].policy.max_length or 200
        record: dict[str, Any] = {"name": text[:limit], match: text}
        if "owner_id" in target.fields and self._actor.id.int:
            record["owner_id"] = self._actor.id
        return record
