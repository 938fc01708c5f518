"""The sessions of one command, with the keys that open and seal what it reads and writes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session, sessionmaker

    from crm_server.settings import Settings


@contextmanager
def session_maker(
    settings: Settings, *, listen: bool = False, **engine: Any
) -> Iterator[sessionmaker[Session]]:
    """A factory of sessions with keys; engine and keys are closed at the end.

    Args:
        listen: Drop what other processes erase meanwhile; for commands that run for long.
        engine: As for `db.create_app_engine`.

    Raises:
        KeysRefused: the key ring can't be opened; the command ends with exit code 3.
    """
    from crm_server.kernel import db
    from crm_server.kernel.keys import Keys

    made = db.create_app_engine(settings, **engine)
    try:
        keys = Keys.open(settings, made, listen=listen)
        try:
            yield db.session_factory(made, settings, keys)
        finally:
            keys.close()
    finally:
        made.dispose()
