"""The way through the product, at most three levels deep: sections, pages, and tabs within a page.

A page appears when its route exists and the person may use it, so parts that add pages only need their line here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyramid.interfaces import IRoutesMapper

from compliance.datamap.text import _
from crm_server.domain.approvals import queries as approvals
from crm_server.domain.identity import emergency_queries as emergencies
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    count: int = 0
    """How much waits there for the person."""


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
_BOARD = _Page("pipeline", "crm:opportunity:read", _("Pipeline board"), "layout-kanban", "b")
_MORE = (
    _Page("imports", "import", _("Import"), "database-import", "i"),
    _Page("tag_list", "crm:tag:read", _("Tags"), "tag"),
    _Page("approvals", str(Permission.LOGGED_IN), _("Approvals"), "checkbox"),
    _Page("emergency", "emergency", _("Emergency access"), "alert-triangle"),
    _Page("bin", str(Permission.LOGGED_IN), _("Bin"), "trash"),
)
_ADMIN = (
    _Page("users", Permission.USERS_MANAGE, _("Users"), "users"),
    _Page("roles", Permission.ROLES_MANAGE, _("Roles"), "shield"),
    _Page("explain", Permission.ACCESS_EXPLAIN, _("Access explained"), "info-circle"),
    _Page("teams", Permission.USERS_MANAGE, _("Teams"), "users-group"),
    _Page("territories", Permission.USERS_MANAGE, _("Territories"), "map"),
    _Page("directories", Permission.USERS_MANAGE, _("Directories"), "sitemap"),
    _Page("sso_providers", Permission.USERS_MANAGE, _("Single sign-on"), "login"),
    _Page("custom_fields", Permission.CUSTOM_FIELDS_MANAGE, _("Custom fields"), "forms"),
    _Page("keys", Permission.KEYS_READ, _("Encryption keys"), "key"),
    _Page("audit", Permission.AUDIT_READ, _("Audit log"), "list-details"),
    _Page("audit_alerts", Permission.AUDIT_READ, _("Security alerts"), "alert-triangle"),
    _Page("audit_sinks", Permission.AUDIT_MANAGE, _("SIEM sinks"), "upload"),
    _Page("audit_retention", Permission.AUDIT_MANAGE, _("Audit retention"), "archive"),
    _Page("pipeline_list", "crm:pipeline:update", _("Pipelines"), "git-branch"),
)


_COUNTS: dict[str, Callable[[Any], int]] = {
    "approvals": approvals.waiting,
    "emergency": emergencies.unreviewed,
}
"""What waits for the person, by page."""


def build(request: Request) -> list[Section]:
    """The sections that the person may use; empty for those who are not logged in."""
    if request.ui.actor is None:
        return []
    found = [Section(None, (Link("/", _("Home"), "home", request.path == "/", "h"),))]
    found += [Section(label, tuple(_entities(request, names))) for label, names in _ENTITIES]
    for heading, pages in ((_("More"), _MORE), (_("Administration"), _ADMIN)):
        found.append(
            Section(heading, tuple(_link(request, page) for page in pages if _allowed(request, page)))
        )
    # The longest path that fits is where the person is: /opportunities/board is not the list of opportunities.
    best = max((link.path for one in found for link in one.links if link.current), key=len, default=None)
    return [
        Section(one.label, tuple(replace(link, current=link.path == best) for link in one.links))
        for one in found
        if one.links
    ]


def _allowed(request: Request, page: _Page) -> bool:
    if request.registry.getUtility(IRoutesMapper).get_route(page.route) is None:
        return False
    actor = request.ui.actor
    if page.permission == "import":
        return any(actor.may(f"crm:{item.name}:import") for item in request.registry.datamap.records())
    if page.permission == "emergency":
        return any(actor.may(one) for one in (Permission.EMERGENCY_USE, Permission.EMERGENCY_REVIEW))
    return bool(actor.may(str(page.permission)))


def _here(request: Request, path: str) -> bool:
    return bool(request.path == path or request.path.startswith(f"{path}/"))


def _link(request: Request, page: _Page) -> Link:
    path = request.route_path(page.route)
    # An error page stands outside of the request's transaction and counts nothing.
    count = 0
    if page.route in _COUNTS and getattr(request, "exception", None) is None:
        count = _COUNTS[page.route](request.db)
    return Link(path, page.label, page.icon, _here(request, path), page.key, count)


def _entities(request: Request, names: tuple[str, ...]) -> Iterator[Link]:
    for name in names:
        policy = request.registry.datamap[name].policy
        if request.ui.can("read", name):
            path = f"/{policy.collection}"
            yield Link(path, policy.label_plural, policy.icon, _here(request, path), _KEYS.get(name))
        if name == "opportunity" and _allowed(request, _BOARD):
            yield _link(request, _BOARD)
