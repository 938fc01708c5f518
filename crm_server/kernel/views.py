"""Policy as view options. A view that does not say its permission stops the start; `PUBLIC` must be said as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.exceptions import ConfigurationError
from pyramid.viewderivers import INGRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator
    from pyramid.registry import Registry


def declared_view(view: Callable[..., Any], info: Any) -> Callable[..., Any]:
    """Refuse a view without a permission; error pages answer those who have none, so they need none."""
    if info.options.get("permission") is None and not info.exception_only:
        raise ConfigurationError(
            f"{info.original_view!r}: a view must say its permission (crm_server/permissions.py), "
            "or permission=PUBLIC"
        )
    return view


def allowed_methods(registry: Registry) -> dict[str, tuple[str, ...]]:
    """The methods that each route takes, as its views were declared (RFC 9110 §10.2.1, Allow)."""
    found: dict[str, tuple[str, ...]] | None = getattr(registry, "allowed_methods", None)
    if found is None:
        collected: dict[str, set[str]] = {}
        for item in registry.introspector.get_category("views") or ():
            view = item["introspectable"]
            if view["route_name"] and view["request_methods"]:
                methods = view["request_methods"]
                names = {methods} if isinstance(methods, str) else set(methods)
                collected.setdefault(view["route_name"], set()).update(
                    names | ({"HEAD"} if "GET" in names else set())
                )
        found = registry.allowed_methods = {name: tuple(sorted(names)) for name, names in collected.items()}
    return found


def includeme(config: Configurator) -> None:
    """Add the view deriver."""
    config.add_view_deriver(declared_view, "declared_view", under=INGRESS, over="secured_view")
