"""What the routes below /api/v1 lead to: the entity of a collection, and for parts the record that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from uuid import UUID

from compliance.datamap import EntityKind
from compliance.datamap.text import _
from crm_server.kernel.errors import BadQuery, NotFound
from crm_server.permissions import EntityContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyramid.request import Request

    from compliance.datamap import DataMap, EntityDef

MAX_PARAMETERS = 100
UUID_PATTERN = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


@dataclass(frozen=True, slots=True)
class PartContext(EntityContext):
    """A sub-collection: `entity` is the record's, `part` what hangs on it, `link` the field that ties them."""

    part: EntityDef
    link: str


# Parts that belong to one record by declaration, but are looked at from others as well.
_MORE = (
    ("account", "contact_role", "account_id"),
    ("opportunity", "contact_role", "opportunity_id"),
    ("product", "price", "product_id"),
)


def known_parts(datamap: DataMap) -> dict[tuple[str, str], tuple[EntityDef, str]]:
    """(collection, sub-collection) to the part and the field that leads to the record."""
    found: dict[tuple[str, str], tuple[EntityDef, str]] = {}
    for part in datamap:
        parent = part.policy.parent
        if part.policy.kind is not EntityKind.PART or parent is None:
            continue
        owner = datamap[part.fields[parent].policy.target or ""]
        if owner.exposed:
            found[owner.policy.collection, part.policy.collection] = (part, parent)
    for owner_name, part_name, link in _MORE:
        part = datamap[part_name]
        found[datamap[owner_name].policy.collection, part.policy.collection] = (part, link)
    return found


def collection_context(request: Request) -> EntityContext:
    """The route factory of collections and records."""
    entity: EntityDef | None = request.registry.datamap.by_collection(request.matchdict["collection"])
    if entity is None or not entity.exposed:
        raise NotFound(_("There is no such address."))
    return EntityContext(entity)


def part_context(request: Request) -> PartContext:
    """The route factory of sub-collections."""
    words = request.matchdict
    known: tuple[EntityDef, str] | None = request.registry.api_parts.get((words["collection"], words["part"]))
    if known is None:
        raise NotFound(_("There is no such address."))
    owner: EntityDef = request.registry.datamap.by_collection(words["collection"])
    return PartContext(owner, *known)


def key_of(request: Request, name: str = "id") -> UUID:
    """The key in the address; the route has checked its form."""
    return UUID(request.matchdict[name])


def pairs(request: Request) -> list[tuple[str, str]]:
    """The parameters of the address, in order.

    Raises:
        BadQuery: not UTF-8, or too many.
    """
    text: str = request.environ.get("QUERY_STRING", "")
    if not text:
        return []
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise BadQuery(
            "?", _("At most ${n} parameters in UTF-8 are accepted.", mapping={"n": MAX_PARAMETERS})
        ) from None


def named(request: Request, allowed: Iterable[str]) -> dict[str, str]:
    """The parameters of an address that takes only these, each once."""
    found: dict[str, str] = {}
    for name, value in pairs(request):
        if name not in allowed:
            raise BadQuery(name[:100], _("There is no such parameter."))
        if name in found:
            raise BadQuery(name, _("This parameter may stand once."))
        found[name] = value
    return found


def words(text: str | None) -> tuple[str, ...] | None:
    """A list divided by commas, or None."""
    return None if text is None else tuple(dict.fromkeys(part for part in text.split(",") if part))


def flag(given: dict[str, Any], name: str) -> bool:
    """A parameter that is true or false."""
    found = {"true": True, "false": False, None: False}.get(given.get(name))
    if found is None:
        raise BadQuery(name, _("true or false is expected here."))
    return found
