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
    from uuid import UUID

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


@contextmanager
def _transactions() -> Iterator[Any]:
    """A function that gives transactions of the command line, each committed at its end."""
    from crm_server.cli.opened import session_maker
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.models import datamap
    from crm_server.settings import load

    datamap()
    with session_maker(load()) as factory:

        @contextmanager
        def transaction() -> Iterator[Session]:
            with db.open_session(factory, system_actor(Origin.CLI)) as session:
                yield session
                db.commit(session)

        yield transaction


@audit.command()
@click.argument("event", metavar="ID|INDEX")
@JSON
def show(event: str, *, as_json: bool) -> None:
    """Show one event with its payload: by its id, or by its index in the signed log.

    Reading it is an event itself, written before anything is shown. Values of a person who was erased are gone.
    """
    from crm_server.domain.audit import events, queries
    from crm_server.kernel.serialization import dumps_text
    from crm_server.models import datamap

    with _transactions() as transaction, transaction() as session:
        key = (
            queries.at_index(session, int(event))
            if event.isascii() and event.isdigit() and len(event) < 20
            else _event_id(event)
        )
        found = None if key is None else queries.one(session, datamap(), key)
        if found is None:
            raise click.ClickException(
                f"There is no event {event}. kontor audit status says how many there are."
            )
        events.record(session, events.seen(found.id))
    plain = found.plain()
    if as_json:
        click.echo(dumps_text(plain))
        return
    for name, value in plain.items():
        if value not in (None, {}, []):
            told = value if isinstance(value, str) else dumps_text(value).strip('"')
            click.echo(f"{name:<14} {_visible(told)}")


def _event_id(text: str) -> UUID:
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is neither the id of an event nor an index.") from None


def _visible(text: str) -> str:
    """Without signs that steer a terminal or turn the direction of writing."""
    return "".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in text)


@audit.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@JSON
def prune(*, dry_run: bool, as_json: bool) -> None:
    """Remove the events whose retention has ended; their hashes stay, and the log says which went.

    The sealer has to run: nothing is removed before the log has sealed that it goes.
    """
    from crm_server.domain.audit import retention

    with _transactions() as transaction:
        with transaction() as session:
            found = retention.due(session)
        count = sum(item.count for item in found)
        if dry_run:
            if as_json:
                click.echo(json.dumps({"events": count, "classes": [item.plain() for item in found]}))
                return
            for item in found:
                click.echo(
                    f"{item.event_class:<16} kept {item.months:>3} months: {item.count:,} events are due"
                )
            return
        with click.progressbar(length=max(1, count), label="Events", file=sys.stderr) as bar:
            removed = retention.prune(transaction, progress=lambda done: bar.update(done - bar.pos))
    if as_json:
        click.echo(json.dumps({"removed": removed, "due": count}))
    else:
        click.echo(f"{removed:,} events removed; their hashes stay.")
    if removed < count:
        click.echo("The rest waits for the seal of what goes. Is the sealer running? kontor doctor", err=True)
        sys.exit(4)


@audit.command()
@click.argument("event_class", metavar="CLASS", required=False)
@click.argument("months", type=int, required=False)
@click.option("--reason", default="", help="Why the time is to change; whoever releases it reads this.")
@JSON
def retention(*, event_class: str | None, months: int | None, reason: str, as_json: bool) -> None:
    """Show how long each class of events is kept, or ask for another time: kontor audit retention read 24 --reason ….

    It counts as soon as it was released by those who may: shortening it removes evidence.
    """
    from crm_server.domain.audit import releasing
    from crm_server.domain.audit import retention as rules
    from crm_server.kernel.errors import ValidationFailed

    asked = None
    with _transactions() as transaction, transaction() as session:
        if event_class is not None:
            try:
                asked = releasing.ask(session, {event_class: months or 0}, reason)
            except ValidationFailed as refused:
                raise click.ClickException(str(refused.errors[0].message.interpolate())) from None
        found = rules.months_of(session)
    if as_json:
        click.echo(json.dumps({"months": found, "asked": str(asked) if asked else None}))
        return
    if asked is not None:
        click.echo(
            f"Asked for; it counts when it is released: kontor approvals, or the page Approvals ({asked})."
        )
        return
    for name, kept in found.items():
        click.echo(f"{name:<16} {kept} months")


@audit.command()
@click.option("--ahead", default=3, show_default=True, help="Months beyond the present one.")
@JSON
def partitions(*, ahead: int, as_json: bool) -> None:
    """Make room in the tables of the log for the months to come. A job does so each night."""
    from sqlalchemy import text

    with _transactions() as transaction, transaction() as session:
        made = list(session.scalars(text("select audit.make_partitions(:ahead)"), {"ahead": ahead}))
        row = session.execute(text("select months_ahead, misplaced from audit.partitions()")).one()
    if as_json:
        click.echo(json.dumps({"made": made, "months_ahead": row.months_ahead, "misplaced": row.misplaced}))
    else:
        click.echo(f"Room for {row.months_ahead} more months; {len(made)} partitions made.")


@audit.command()
@click.argument("name")
@click.option(
    "--reason", help="Ask for it: why the log can't be continued. It is sealed, so no personal data."
)
@click.option("--release", type=click.UUID, help="Do it: the request that two persons have released.")
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Newest signed checkpoint of the old log, from a witness for example. Default: that of the mirror.",
)
@JSON
def fork(
    *, name: str, reason: str | None, release: UUID | None, checkpoint: Path | None, as_json: bool
) -> None:
    """Begin a new log NAME after one that can't be continued: its first leaf explains the break.

    Only where the sealer refuses to go on (LogContradiction) and neither database nor mirror can be brought back. First
    ask with --reason, as the application; two persons release it; then run it with --release on the sealer's host, with
    its settings, while no sealer runs.
    """
    if (reason is None) == (release is None):
        raise click.UsageError("Give --reason to ask for it, or --release to do it.")
    if release is None:
        _ask_for_fork(name, reason or "", as_json=as_json)
        return
    from compliance.audit.log.fork import ForkRefusedError
    from compliance.audit.log.note import NoteError
    from compliance.audit.log.source import SourceError
    from compliance.audit.log.state import StateError
    from crm_server.domain.audit import sealing
    from crm_server.settings import load

    try:
        kept = sealing.fork(load(database_url=""), name, release, checkpoint)
    except (ForkRefusedError, SourceError, StateError, NoteError) as error:
        raise click.ClickException(f"Nothing was changed: {error}.") from error
    if as_json:
        click.echo(json.dumps({"log": name, "old_files": str(kept)}))
    else:
        click.echo(f"The log {name} is open. The old log's files are kept in {kept}.")
        click.echo(f"Set KONTOR_AUDIT_LOG_NAME={name}, start the sealer, and tell auditors and witnesses.")


def _ask_for_fork(name: str, reason: str, *, as_json: bool) -> None:
    from crm_server.domain.audit import releasing
    from crm_server.kernel.errors import ValidationFailed

    with _transactions() as transaction, transaction() as session:
        try:
            asked = releasing.ask_for_fork(session, name, reason)
        except ValidationFailed as refused:
            raise click.ClickException(str(refused.errors[0].message.interpolate())) from None
    if as_json:
        click.echo(json.dumps({"asked": str(asked)}))
    else:
        click.echo(
            "Asked for. When two persons have released it (kontor approvals, or the page Approvals), run on the"
        )
        click.echo(f"sealer's host: kontor audit fork {name} --release {asked}")
