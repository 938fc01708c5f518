"""How pages read records: through the listing layer alone, so that row and field rules and the audit log hold.

Small functions around `crm_server.kernel.listing` for what views ask for all the time.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from compliance.datamap.text import Text
from crm_server.kernel.errors import NotFound
from crm_server.kernel.listing import (
    Condition,
    Gathered,
    Group,
    ListQuery,
    Page,
    Sort,
    fetch,
    includable,
    read_one,
)
from crm_server.kernel.listing.scope import no_custom
from crm_server.kernel.presenter import Presentation, presentation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyramid.request import Request

    from compliance.datamap import EntityDef, FieldDef
    from crm_server.kernel.listing import Filter


def custom_columns(request: Request) -> Any:
    """Where the listing layer learns of custom fields; with labels in the language of the page."""
    plain = getattr(request.registry, "custom_columns", no_custom)
    if request.ui.locale == "en":
        return plain

    def translated(entity: EntityDef) -> Any:
        known: dict[str, Any] = request.environ.setdefault("kontor.web.custom", {})
        if entity.name not in known:
            known[entity.name] = _translated(request, entity, plain(entity))
        return known[entity.name]

    return translated


def _translated(request: Request, entity: EntityDef, columns: Any) -> dict[str, Any]:
    from crm_server.domain.custom_fields.services import CustomFieldService
    from crm_server.web.acting import service

    if not columns:
        return {}
    locale = request.ui.locale
    labels = {one.name: one for one in service(request, CustomFieldService).visible(entity.name)}
    found = {}
    for name, column in columns.items():
        one = labels.get(name)
        policy = column.policy
        if one is not None:
            choices = {
                key: Text(words.get(locale) or words["en"]) for key, words in (one.choices or {}).items()
            }
            policy = replace(policy, label=Text(one.label(locale)), choices=choices)
        found[name] = replace(column, policy=policy)
    return found


def shown(request: Request, entity: EntityDef) -> Presentation:
    """What the person sees of an entity."""
    return presentation(entity, request.actor)


def short(name: str) -> str:
    """Under which name a row carries the record that a reference field leads to."""
    return name.removesuffix("_id")


def includes(request: Request, entity: EntityDef, names: Iterable[str]) -> tuple[str, ...]:
    """The references among `names` whose titles can be shown."""
    known = set(includable(request.registry.datamap, entity, request.actor))
    return tuple(short(name) for name in names if name.endswith("_id") and short(name) in known)


_GATHERED = "kontor.web.gathered"


@contextmanager
def in_one_event(request: Request, page: str) -> Iterator[None]:
    """Tell the audit log once what all lists of a page return that are read within (AUD-10).

    Args:
        request: The request.
        page: A stable word for the page.
    """
    gathered = request.environ[_GATHERED] = Gathered()
    try:
        yield
    finally:
        del request.environ[_GATHERED]
    gathered.tell(request.registry.hot, request.actor, page)


def page_of(request: Request, entity: EntityDef, query: ListQuery) -> Page:
    """A page of a list."""
    return fetch(
        request.registry.hot,
        request.registry.datamap,
        entity,
        query,
        request.actor,
        custom=custom_columns(request),
        gathered=request.environ.get(_GATHERED),
    )


def one(request: Request, entity: EntityDef, record_id: UUID, *, deleted: bool = False) -> dict[str, Any]:
    """A record with the titles of what it refers to.

    Raises:
        NotFound: no such record, or none that the person may see.
    """
    return read_one(
        request.registry.hot,
        request.registry.datamap,
        entity,
        record_id,
        request.actor,
        includes=includes(request, entity, entity.fields),
        deleted=deleted,
        custom=custom_columns(request),
    )


def rows_where(
    request: Request,
    entity: EntityDef,
    *conditions: Filter,
    sort: Sort | None = None,
    limit: int = 50,
    fields: tuple[str, ...] | None = None,
    count: bool = False,
    q: str | None = None,
    partial: bool = False,
) -> Page:
    """The rows for which all conditions hold, with titles of references; `partial` as in `ListQuery`."""
    names = fields or tuple(shown(request, entity).fields)
    tree = None if not conditions else conditions[0] if len(conditions) == 1 else Group("and", conditions)
    query = ListQuery(
        filter=tree,
        q=q,
        sort=sort,
        fields=fields,
        includes=includes(request, entity, names),
        limit=limit,
        count="exact" if count else "none",
        partial=partial,
    )
    return page_of(request, entity, query)


def may_list(request: Request, entity: EntityDef) -> bool:
    """Whether the person may see records of an entity at all."""
    return not entity.exposed or request.actor.may(f"crm:{entity.name}:read")


def options(request: Request, entity: EntityDef) -> list[tuple[str, str]]:
    """Key and title of all records of a small entity, in their natural order."""
    title = entity.policy.title
    if not may_list(request, entity):
        return []
    sort = Sort("position") if "position" in entity.fields else Sort(title)
    found = page_of(request, entity, ListQuery(sort=sort, fields=(title,), limit=200))
    return [(str(row["id"]), str(row[title])) for row in found.rows]


def titles(request: Request, entity: EntityDef, keys: Iterable[Any]) -> dict[str, str]:
    """Titles of records by their key as text; those that are not there are missing."""
    wanted = sorted({str(key) for key in keys if key})
    if not wanted or not may_list(request, entity):
        return {}
    title = entity.policy.title
    query = ListQuery(filter=Condition("id", "in", wanted[:200]), fields=(title,), limit=200)
    return {str(row["id"]): str(row.get(title) or "") for row in page_of(request, entity, query).rows}


def user_names(request: Request, keys: Iterable[Any]) -> dict[str, str]:
    """Names of users by their key as text."""
    return titles(request, request.registry.datamap["user"], keys)


def title_of(request: Request, entity: EntityDef, record_id: Any) -> str:
    """The title of one record, or "" when it is not there."""
    try:
        return titles(request, entity, [UUID(str(record_id))]).get(str(record_id), "")
    except (ValueError, NotFound):
        return ""


GIVEN = frozenset({"pipeline", "stage"})
"""Kinds of records of which some are there from the first start, with names that are translated."""


def given(ui: Any, target: str | None, name: Any) -> str:
    """The title of a record that another one refers to, in the reader's language if it came with the product."""
    return str(ui.given(str(name))) if target in GIVEN else str(name)


def reference_title(row: dict[str, Any], item: FieldDef) -> str:
    """The title of what a reference field of a row leads to, or ""."""
    embedded = row.get(short(item.name))
    return str(embedded["name"] or "") if isinstance(embedded, dict) else ""


def without_page(query: ListQuery) -> ListQuery:
    """The same list from its beginning."""
    return replace(query, cursor=None)
