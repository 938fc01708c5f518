"""What every piece of work on keys is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crm_server.kernel.actor import Actor
    from crm_server.kernel.keys import Keys
    from crm_server.settings import Settings

Progress = Callable[[int, int], None]
"""Told of work as (done, all)."""


def silent(_done: int, _all: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class KeyWork:
    """The keys, the database and who acts. Long work commits in steps, outside of a request's transaction."""

    keys: Keys
    engine: Engine
    settings: Settings
    actor: Actor
