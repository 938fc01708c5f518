"""What the commands of `kontor keys` share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crm_server.domain.keys.work import KeyWork

JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@contextmanager
def key_work(*, restored: bool = False) -> Iterator[KeyWork]:
    """The keys for one command, as the system."""
    import crm_server.models  # noqa: F401 - maps all tables: requests name people
    from crm_server.domain.keys.work import KeyWork
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.keys import Keys
    from crm_server.settings import load
    from security.crypto.errors import CryptoError

    settings = load()
    engine = db.create_app_engine(settings, pool_size=3)
    try:
        keys = Keys.open(settings, engine, listen=False, restored=restored)
        yield KeyWork(keys, engine, settings, system_actor(Origin.CLI))
    except CryptoError as error:
        raise click.ClickException(str(error)) from error
    finally:
        engine.dispose()


@contextmanager
def progress_bar(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, so that --json stays clean."""
    with click.progressbar(
        length=1, label=label, file=sys.stderr, hidden=quiet or not sys.stderr.isatty(), show_pos=True
    ) as bar:

        def tell(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield tell


def say(as_json: bool, data: dict[str, Any], text: str) -> None:
    """Show the outcome as text, or as JSON."""
    click.echo(json.dumps(data, default=str) if as_json else text)
