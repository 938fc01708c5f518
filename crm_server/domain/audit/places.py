"""Where the log's files are, from the settings. The sealer, exports, pages and `kontor doctor` ask here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions
from sqlalchemy import make_url

if TYPE_CHECKING:
    from crm_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of the log.

    Attributes:
        key: The sealer's signing key.
        state: The sealer's memory of what it signed, beside the key.
        mirror: The public folder of the log: tiles, checkpoints and verifier keys.
    """

    key: Path
    state: Path
    mirror: Path

    @property
    def keys(self) -> Path:
        """Verifier keys of all sealers of this log, one a line."""
        return self.mirror / "keys"


def places(settings: Settings) -> Places:
    """The paths that the settings name, or those below the state folder."""
    key = Path(settings.sealer_key or settings.state_dir / "sealer" / "key.pem")
    mirror = Path(settings.audit_mirror or settings.state_dir / "audit")
    return Places(key, key.with_name("state"), mirror)


def connect(url: str, name: str, timeout: int) -> psycopg2.extensions.connection:
    """A connection outside every pool.

    Args:
        url: Address as in the settings.
        name: What PostgreSQL shows as application_name.
        timeout: Seconds that connecting may take.
    """
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg2.connect(
        address,
        application_name=name,
        connect_timeout=timeout,
        tcp_user_timeout=10_000,
        options="-c timezone=UTC",
    )


def log_name(settings: Settings, tenant: str) -> str:
    """The name under which this installation's sealer signs, which is the log's origin."""
    return str(settings.audit_log_name) or f"kontor/{tenant}/audit"
