"""What every piece of work on keys is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from crm_server.kernel import db
from crm_server.kernel.keys import keys_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

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


def work_of(session: Session, settings: Settings) -> KeyWork:
    """The work of a session's actor, on the session's engine."""
    bind = session.get_bind()
    engine = bind if isinstance(bind, Engine) else bind.engine
    return KeyWork(keys_of(session).keys, engine, settings, db.actor_of(session))
