"""The way through the product, at most three levels deep: sections, pages, and tabs within a page.

A page appears when its route exists and the person may use it, so parts that add pages only need their line here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyramid.interfaces import IRoutesMapper

from compliance.datamap.text import _
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from pyramid.request import Request

    from compliance.datamap.text import Text


@dataclass(frozen=True, slots=True)
class Link:
    """One page in the navigation. `key` is the second key of its shortcut "g …"."""

    path: str
    label: Text
    icon: str
    current: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A group of pages."""

    label: Text | None
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class _Page:
    """A page that is not the list of an entity: its route, permission and label."""

    route: str
    permission: str
    label: Text
    icon: str
    key: str | None = None


_ENTITIES = (
    (_("Sales"), ("account", "contact", "lead", "opportunity")),
    (_("Service"), ("case", "activity")),
    (_("Catalogue"), ("product", "price_list")),
)
_KEYS = {
    "account": "a", "contact": "c", "lead": "l", "opportunity": "o", "case": "s", "activity": "t",
    "product": "p",
}  # fmt: skip
_BOARD = _Page("pipeline", "crm:opportunity:read", _("Pipeline"), "layout-kanban", "b")
_MORE = (
    _Page("imports", "import", _("Import"), "database-import", "i"),
    _Page("tag_list", "crm:tag:read", _("Tags"), "tag"),
    _Page("bin", str(Permission.LOGGED_IN), _("Bin"), "trash"),
)
_ADMIN = (
    _Page("users", Permission.USERS_MANAGE, _("Users"), "users"),
    _Page("roles", Permission.ROLES_MANAGE, _("Roles"), "shield"),
    _Page("teams", Permission.USERS_MANAGE, _("Teams"), "users-group"),
    _Page("territories", Permission.USERS_MANAGE, _("Territories"), "map"),
    _Page("directories", Permission.USERS_MANAGE, _("Directories"), "sitemap"),
    _Page("custom_fields", Permission.CUSTOM_FIELDS_MANAGE, _("Custom fields"), "forms"),
    _Page("pipeline_list", "crm:pipeline:update", _("Pipelines"), "git-branch"),
)


def build(request: Request) -> list[Section]:
    """The sections that the person may use; empty for those who are not logged in."""
    actor = request.ui.actor
    if actor is None:
        return []
    here = request.path
    datamap = request.registry.datamap
    mapper = request.registry.getUtility(IRoutesMapper)

    def allowed(page: _Page) -> bool:
        if mapper.get_route(page.route) is None:
            return False
        if page.permission == "import":
            return any(actor.may(f"crm:{item.name}:import") for item in datamap.records())
        return bool(actor.may(str(page.permission)))

    def link(page: _Page) -> Link:
        path = request.route_path(page.route)
        return Link(path, page.label, page.icon, here == path or here.startswith(f"{path}/"), page.key)

    sections = [Section(None, (Link("/", _("Home"), "home", here == "/", "h"),))]
    for label, names in _ENTITIES:
        links = []
        for name in names:
            policy = datamap[name].policy
            if actor.may(f"crm:{name}:read"):
                path = f"/{policy.collection}"
                current = here == path or here.startswith(f"{path}/")
                links.append(Link(path, policy.label_plural, policy.icon, current, _KEYS.get(name)))
            if name == "opportunity" and allowed(_BOARD):
                links.append(link(_BOARD))
        if links:
            sections.append(Section(label, tuple(links)))
    for heading, pages in ((_("More"), _MORE), (_("Administration"), _ADMIN)):
        shown = tuple(link(page) for page in pages if allowed(page))
        if shown:
            sections.append(Section(heading, shown))
    # The longest path that fits is where the person is: /opportunities/board is not the list of opportunities.
    best = max((link.path for one in sections for link in one.links if link.current), key=len, default=None)
    return [Section(one.label, tuple(replace(link, current=link.path == best) for link in one.links)) for one in sections]
