"""`kontor keys erase`, `hold`, `end-hold`, `restore`: what is done with the keys of persons, most of it by two others.

What is asked for here is released on the page of approvals by two persons; who typed it counts for none.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from crm_server.cli.key_tools import JSON, key_work, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from sqlalchemy.orm import Session

    from crm_server.domain.approvals.services import Approval

_SUBJECT = click.argument("subject", type=click.UUID)
_CLASSES = click.option(
    "--class", "classes", multiple=True, help="Key class such as identity; all if left out. Repeatable."
)
_REASON = click.option("--request", "reason", metavar="REASON", help="Ask two persons for it.")


@contextmanager
def _session() -> Iterator[Session]:
    from crm_server.kernel import db
    from crm_server.kernel.errors import AppError

    with key_work() as work:
        factory = db.session_factory(work.engine, work.settings, work.keys)
        try:
            with db.open_session(factory, work.actor) as session:
                yield session
                db.commit(session)
        except AppError as error:
            places = [one.message.interpolate() for one in getattr(error, "errors", ())]
            raise click.ClickException(
                " ".join(places) or (error.detail or error.title).interpolate()
            ) from error


def _asked(as_json: bool, ask: Callable[[Session], Approval]) -> None:
    with _session() as session:
        made = ask(session)
        key, ends = made.id, made.expires_at
    say(
        as_json,
        {"request": str(key), "expires_at": ends},
        f"Asked for. Two persons release it on the page of approvals until {ends:%Y-%m-%d %H:%M} UTC: {key}",
    )


@click.command()
@_SUBJECT
@_CLASSES
@click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
@_REASON
@JSON
def erase(
    *, subject: UUID, classes: tuple[str, ...], dry_run: bool, reason: str | None, as_json: bool
) -> None:
    """Erase the keys of the data subject SUBJECT: what they sealed is unreadable at once and for good.

    It is done when two persons have released it.
    """
    from crm_server.domain.keys import releasing, services

    if reason is not None and not dry_run:
        _asked(as_json, lambda session: releasing.ask_to_erase(session, subject, classes or None, reason))
        return
    if not dry_run:
        raise click.UsageError("--request REASON or --dry-run is needed: an erasure takes two persons.")
    with _session() as session:
        found = services.preview(session, subject, classes or None)
    counted = ", ".join(f"{number} {name}" for name, number in sorted(found.classes.items())) or "none"
    say(
        as_json,
        {"subject": str(subject), "keys": found.classes, "held": found.held, "epochs": list(found.epochs)},
        f"{found.number} keys would be erased: {counted}. "
        f"In backups when epochs {', '.join(map(str, found.epochs)) or '-'} are destroyed.",
    )


@click.command()
@_SUBJECT
@_CLASSES
@JSON
def hold(*, subject: UUID, classes: tuple[str, ...], as_json: bool) -> None:
    """Put the keys of SUBJECT under a legal hold: in use as before, and not erasable."""
    from crm_server.domain.keys import services

    with _session() as session:
        number = services.hold(session, subject, classes or None)
    if not number:
        raise click.ClickException("This person has no keys of these classes that aren't held already.")
    say(as_json, {"subject": str(subject), "held": number}, f"{number} keys are under a legal hold.")


@click.command("end-hold")
@_SUBJECT
@_CLASSES
@click.option("--request", "reason", metavar="REASON", required=True, help="Ask two persons for it.")
@JSON
def end_hold(*, subject: UUID, classes: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Ask for the end of a legal hold of SUBJECT. It ends when two persons have released it."""
    from crm_server.domain.keys import releasing

    _asked(as_json, lambda session: releasing.ask_to_end_hold(session, subject, classes or None, reason))


@click.command()
@click.argument("backup")
@_REASON
@JSON
def restore(*, backup: str, reason: str | None, as_json: bool) -> None:
    """Begin a restore from BACKUP, over a database that is alive: ask with --request, then run it without.

    Without it the release is used up and the quarantine begins: no process opens keys until `kontor keys replay`. Where
    the database is lost, begin with `kontor keys quarantine`.
    """
    from crm_server.domain.keys import releasing
    from crm_server.kernel.keyledger import Ledger
    from crm_server.kernel.keyring import folder_of
    from crm_server.settings import load

    if reason is not None:
        _asked(as_json, lambda session: releasing.ask_to_restore(session, backup, reason))
        return
    with _session() as session:
        release = releasing.begin_restore(session, backup)
    Ledger(folder_of(load())).quarantine(f"restore of {release.parameters['backup']}")
    say(
        as_json,
        {"release": str(release.id), "backup": release.parameters["backup"]},
        "In quarantine. Stop Kontor, put the database back, then: kontor keys replay --escrow FILE",
    )
