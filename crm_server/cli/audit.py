"""`kontor audit`: exports the log for auditors, verifies an export, and says how far the log is."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@click.group()
def audit() -> None:
    """Export, verify and look at the audit log."""


@contextmanager
def _reading() -> Iterator[tuple[Session, Any]]:
    """A session that acts for the command line, and the reader of the log on its connection."""
    from crm_server.domain.audit.services import reader
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.settings import load

    settings = load()
    engine = db.create_app_engine(settings)
    try:
        with db.open_session(db.session_factory(engine, settings), system_actor(Origin.CLI)) as session:
            yield session, reader(session, settings)
    finally:
        engine.dispose()


@audit.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; it must not exist yet."
)
@JSON
def export(out: Path, as_json: bool) -> None:
    """Write the signed log as a bundle that anyone can verify without Kontor.

    The bundle holds no personal data. The export itself becomes an event of the log.
    """
    from compliance.audit.log.reading import NotSealedError
    from compliance.audit.log.tiles import MirrorDamaged
    from crm_server.domain.audit import events
    from crm_server.kernel import db

    with _reading() as (session, log):
        try:
            with click.progressbar(
                length=max(1, log.status().signed_size or 0), label="Events", file=sys.stderr
            ) as bar:
                count = log.export(out, lambda done: bar.update(done - bar.pos))
        except NotSealedError:
            raise click.ClickException(
                "Nothing is signed yet. Is the sealer running? kontor doctor"
            ) from None
        except FileExistsError:
            raise click.ClickException(f"{out} exists already. Name a folder that does not.") from None
        except MirrorDamaged as error:
            raise click.ClickException(f"{error}. Start the sealer again; it mends its files.") from error
        except OSError as error:
            raise click.ClickException(f"{out} can't be written: {error.strerror}.") from error
        events.record(session, events.exported(count))
        db.commit(session)
    if as_json:
        click.echo(json.dumps({"folder": str(out), "events": count}))
    else:
        click.echo(f"{count:,} events written to {out}. Verify them: kontor audit verify {out}")


@audit.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--key", "keys", multiple=True, help="Verifier key to trust, published by other means; repeatable."
)
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoint that was kept elsewhere; repeatable.",
)
@JSON
def verify(folder: Path, keys: tuple[str, ...], checkpoints: tuple[Path, ...], as_json: bool) -> None:
    """Verify the bundle in FOLDER with this product's own copy of the verifier, in a process of its own.

    Exit code 0: verified. 1: damaged, each finding names the event. 2: not a bundle.
    """
    from compliance.audit import verify as verifier

    command = [sys.executable, "-I", str(Path(verifier.__file__)), str(folder)]
    command += [word for key in keys for word in ("--key", key)]
    command += [word for path in checkpoints for word in ("--checkpoint", str(path))]
    sys.exit(subprocess.run([*command, *(["--json"] if as_json else [])], check=False).returncode)


@audit.command()
@JSON
def status(as_json: bool) -> None:
    """Say how far the log is: size, root, newest checkpoint, lag."""
    with _reading() as (_session, log):
        found = log.status()
    if as_json:
        values = asdict(found)
        values["signed_at"] = found.signed_at.isoformat() if found.signed_at else None
        click.echo(json.dumps(values))
        return
    if found.origin is None:
        click.echo("No log is open yet; the first start of the sealer opens it.")
        return
    click.echo(f"log      {found.origin}\nsize     {found.size:,} events\nroot     {found.root}")
    signed = "none that can be read here" if found.signed_size is None else f"{found.signed_size:,} events"
    at = f", {found.signed_at:%Y-%m-%d %H:%M:%S} UTC" if found.signed_at else ""
    click.echo(f"signed   {signed}{at}\nlag      {found.lag:.1f} s")
