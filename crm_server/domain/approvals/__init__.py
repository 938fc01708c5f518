"""Two-person release: acts that nobody may do alone, as one mechanism for every domain.

`services` asks, releases and carries out; `kinds` is what domains register; `queries` reads for the inbox;
`jobs` lets time pass; `views` are the pages and the addresses below /api/v1/approvals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyramid.config import Configurator


def includeme(config: Configurator) -> None:
    """Add the pages. The kinds of all domains are registered first."""
    import crm_server.approvals  # noqa: F401 - registers by being imported
    from compliance.datamap.text import _
    from crm_server.web import flash

    flash.TEXTS.update(
        {
            "approval_asked": ("success", _("A second person has been asked. You find the request here.")),
            "approval_released": ("success", _("Released.")),
            "approval_seconded": ("success", _("Noted. One more person has to release this.")),
            "approval_failed": (
                "warning",
                _("Released, but it could not be carried out. The page says why."),
            ),
            "approval_vetoed": ("success", _("Refused. Nothing is done.")),
            "approval_withdrawn": ("success", _("Withdrawn.")),
        }
    )
    config.add_route("approvals", "/approvals")
    config.add_route("approval", "/approvals/{id}")
    config.add_route("approval_act", "/approvals/{id}/{act:release|veto|withdraw}")
    config.scan("crm_server.domain.approvals.views")
