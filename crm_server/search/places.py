"""Where the service is asked: known to the service, its clients and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from crm_server.settings import Settings


def socket_path(settings: Settings) -> Path:
    """Where the service is asked."""
    found: Path = settings.search_socket or settings.state_dir.absolute() / "search.sock"
    return found
