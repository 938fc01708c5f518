"""Policy as view options. A view that does not say its permission stops the start; `PUBLIC` must be said as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyramid.exceptions import ConfigurationError
from pyramid.viewderivers import INGRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator


def declared_view(view: Callable[..., Any], info: Any) -> Callable[..., Any]:
    """Refuse a view without a permission; error pages answer those who have none, so they need none."""
    if info.options.get("permission") is None and not info.exception_only:
        raise ConfigurationError(
            f"{info.original_view!r}: a view must say its permission (crm_server/permissions.py), "
            "or permission=PUBLIC"
        )
    return view


def includeme(config: Configurator) -> None:
    """Add the view deriver."""
    config.add_view_deriver(declared_view, "declared_view", under=INGRESS, over="secured_view")
