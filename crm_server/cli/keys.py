"""`kontor keys`: see, rotate, copy and destroy the keys of sealed data.

Exit codes as everywhere: 0 done, 1 failed or refused, 3 settings or key ring don't fit, 4 a part is left over.
Nothing here shows a key.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_server.cli.key_nodes import admit, forget_node, join
from crm_server.cli.key_people import end_hold, erase, hold, restore
from crm_server.cli.key_tools import JSON, key_work, progress_bar, say

if TYPE_CHECKING:
    from crm_server.domain.keys.queries import KeyState

_ROOT = Path(__file__).resolve().parent.parent.parent


@click.group()
def keys() -> None:
    """See, rotate, copy and destroy the keys of sealed data. What to do when: docs/runbooks/keys.md."""


@keys.command()
@JSON
def status(as_json: bool) -> None:
    """Say which epoch is active, how many keys there are, and what waits for what."""
    from crm_server.domain.keys.queries import state_of

    with key_work() as work, work.engine.connect() as connection:
        found = state_of(connection, work.keys, work.settings)
    if as_json:
        click.echo(json.dumps(found.plain(), default=str))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: KeyState) -> Iterator[str]:
    yield f"provider  {found.provider}, profile {found.profile}"
    yield f"          {found.statement}"
    for module in found.modules:
        yield f"          checked: {module}"
    if found.away:
        yield f"          AWAY: {found.away}"
    yield f"keys      {found.live:,} live, {found.held:,} held, {found.erased:,} erased"
    yield f"          {found.share:.1%} of the live ones are under the active epoch"
    yield f"horizon   an erased person is unreadable in every backup after {found.horizon_days} days"
    for epoch in found.epochs:
        due = ""
        if epoch.due is not None:
            due = f", {'rotate' if epoch.state == 'active' else 'destroy'} by {epoch.due:%Y-%m-%d}"
        if epoch.veto_until is not None:
            due += f", destruction asked for, can be refused until {epoch.veto_until:%Y-%m-%d %H:%M} UTC"
        if epoch.approved:
            due += ", destruction released"
        yield f"epoch {epoch.number:<4}{epoch.state}{due}, {epoch.live + epoch.held:,} keys"
        for obstacle in epoch.obstacles:
            yield f"          waits: {obstacle.text.interpolate()}"
        if epoch.pending:
            yield f"          pending: {', '.join(epoch.pending)} haven't attested that it is gone"
    for node in found.nodes:
        held = ", ".join(map(str, node.holds)) or "none"
        yield f"node      {node.name} holds {held}, last seen {node.seen_at:%Y-%m-%d %H:%M} UTC"
    yield from _proofs(found)


def _proofs(found: KeyState) -> Iterator[str]:
    """What shows that erasure works: the newest drill and the newest escrow."""
    if found.drill is None:
        yield "drill     none yet. Run it: kontor keys drill"
    else:
        verdict = "passed" if found.drill.passed else "FAILED"
        yield (
            f"drill     {verdict} at {found.drill.at:%Y-%m-%d %H:%M} UTC on {found.drill.node}, next by "
            f"{found.drill.due:%Y-%m-%d}"
        )
    if found.escrow is None:
        yield "escrow    none. Make one: kontor keys escrow --check"
    else:
        opened = "opened" if found.escrow.opened_at else "never opened"
        at = f"{found.escrow.made_at:%Y-%m-%d %H:%M} UTC"
        yield f"escrow    {at}, epoch {found.escrow.epoch}, {found.escrow.keys:,} keys, {opened}"


@keys.command()
@JSON
def init(as_json: bool) -> None:
    """Make the first epoch of an HSM or TPM ring; with two persons present, see the key ceremony."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from crm_server.kernel import db
    from crm_server.kernel.keyring import open_ring
    from crm_server.settings import load
    from security.crypto.errors import CryptoError

    settings = load()
    engine = db.create_app_engine(settings, pool_size=1)
    try:
        with engine.connect() as connection:
            begun = connection.exec_driver_sql("select exists (select from keys.epoch)").scalar_one()
    except ProgrammingError:
        begun = False  # Not migrated yet.
    except OperationalError as error:
        raise click.ClickException(
            "The database doesn't answer, so it isn't known whether there are keys."
        ) from error
    finally:
        engine.dispose()
    if begun:
        raise click.ClickException(
            "This site has keys already. Take them over to this node: kontor keys join"
        )
    try:
        ring = open_ring(settings)
        if ring.list():
            raise click.ClickException("The key ring has epochs already. The next one: kontor keys rotate")
        info = ring.create_epoch(1)
    except CryptoError as error:
        raise click.ClickException(str(error)) from error
    say(as_json, {"epoch": info.number, "created_at": info.created_at.isoformat()}, "Epoch 1 is made.")


@keys.command()
@click.option("--finish", is_flag=True, help="Only finish a rotation that was broken off; make no new epoch.")
@JSON
def rotate(finish: bool, as_json: bool) -> None:
    """Make a new epoch and wrap every key under it; the application goes on serving.

    A rotation that was broken off goes on where it stopped. Exit code 4: some keys are left, see `kontor keys verify`.
    """
    from crm_server.domain.keys import rotation

    with key_work() as work, progress_bar("Wrapping keys", quiet=as_json) as tell:
        done = rotation.rotate(work, tell, fresh=not finish)
    say(
        as_json,
        done.plain(),
        f"Epoch {done.epoch}: {done.wrapped:,} keys wrapped and verified in {done.seconds:.1f} s, {done.left:,} left.",
    )
    if not done.complete:
        sys.exit(4)


@keys.command()
@JSON
def verify(as_json: bool) -> None:
    """Unwrap every live key and compare its check value. Exit code 1: some are damaged."""
    from crm_server.domain.keys import rotation

    with key_work() as work, progress_bar("Checking keys", quiet=as_json) as tell:
        found = rotation.verify(work, tell)
    say(
        as_json,
        {"keys": found.keys, "corrupt": found.corrupt, "damaged": list(found.damaged)},
        f"{found.keys:,} keys checked, {found.corrupt:,} damaged."
        + "".join(f"\n  {kid}" for kid in found.damaged),
    )
    if found.corrupt:
        sys.exit(1)


@keys.command()
@JSON
def reseal(as_json: bool) -> None:
    """Seal documents anew that don't fit the profile in force, after a change of KONTOR_CRYPTO_PROFILE."""
    from crm_server.domain.keys import reseal as resealing
    from crm_server.models import datamap

    with key_work() as work, progress_bar("Sealing anew", quiet=as_json) as tell:
        done = resealing.reseal(work, datamap(), tell)
    say(
        as_json, done.plain(), f"{done.rows:,} rows sealed anew, {done.erased:,} left: their keys are erased."
    )


@keys.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to write it.")
@click.option("--check", is_flag=True, help="Open it at once in a scratch place and check every key.")
@click.option(
    "--open",
    "opened",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write nothing; open this file in a scratch place.",
)
@JSON
def escrow(folder: Path | None, check: bool, opened: Path | None, as_json: bool) -> None:
    """Write the key table to a file beside the backups, sealed under the active epoch; or open such a file."""
    from crm_server.domain.keys import escrow as escrows

    with key_work() as work:
        if opened is None:
            with progress_bar("Writing the escrow", quiet=as_json) as tell:
                made = escrows.export(work, folder, tell)
        if opened is not None or check:
            made = escrows.open_scratch(work, opened or made.file)
    say(
        as_json,
        {
            "id": str(made.id),
            "epoch": made.epoch,
            "file": str(made.file),
            "keys": made.keys,
            "erased": made.erased,
        },
        f"{made.file}\n{made.keys:,} keys under epoch {made.epoch}, {made.erased:,} of them erased"
        + (
            "; every key opens."
            if opened is not None or check
            else ". Open it once: kontor keys escrow --open FILE"
        ),
    )


@keys.command()
@click.argument("epoch", type=click.IntRange(1))
@click.option(
    "--request",
    "reason",
    metavar="REASON",
    help="Ask for it; begins the two days in which it can be refused.",
)
@click.option("--dry-run", is_flag=True, help="Say what stands against it, and change nothing.")
@click.option("--confirm", help="What would be typed to confirm, for scripts.")
@JSON
def destroy(epoch: int, reason: str | None, dry_run: bool, confirm: str | None, as_json: bool) -> None:
    """Destroy EPOCH for good: nothing that was sealed under it alone opens again, in no backup.

    Ask for it first (--request REASON). Second persons release or refuse it on the page of approvals; without a refusal
    it is released after two days. The worker then does it by itself; without --request it is done here and now.
    """
    from crm_server.domain.keys import destruction
    from crm_server.kernel import db

    with key_work() as work:
        with work.engine.connect() as connection:
            found = destruction.obstacles(connection, epoch)
            live: int = connection.exec_driver_sql(
                "select count(*) from keys.data_key where state <> 'erased' and epoch > %s", (epoch,)
            ).scalar_one()
        if dry_run:
            say(
                as_json,
                {"epoch": epoch, "obstacles": [item.reason for item in found], "stay_readable": live},
                "\n".join(item.text.interpolate() for item in found)
                or f"Nothing stands against it. {live:,} keys stay readable.",
            )
            sys.exit(1 if found else 0)
        if reason is not None:
            factory = db.session_factory(work.engine, work.settings, work.keys)
            with db.open_session(factory, work.actor) as session:
                asked = destruction.request(session, epoch, reason)
                db.commit(session)
            say(
                as_json,
                {"epoch": epoch, "request": str(asked.id), "due_at": asked.due_at},
                f"Asked for. It can be refused on the page of approvals until {asked.due_at:%Y-%m-%d %H:%M} UTC.",
            )
            return
        _typed(destruction.phrase(epoch, live), confirm)
        done = destruction.destroy(work, epoch)
    say(
        as_json,
        done.plain(),
        f"Epoch {epoch} is destroyed ({'proven' if done.proven else 'not proven'}).\n{done.statement}"
        + (f"\nPending: {', '.join(done.pending)}" if done.pending else ""),
    )


def _typed(wanted: str, given: str | None) -> None:
    """Ask for the sentence that says what happens; there is no way back."""
    if given is None:
        given = click.prompt(f"There is no way back. Type: {wanted}\n", prompt_suffix="> ", err=True)
    if given.strip() != wanted:
        raise click.ClickException(f"Nothing was destroyed: that isn't “{wanted}”.")


@keys.command()
@click.option("--reason", default="restored from a backup", show_default=True)
@JSON
def quarantine(reason: str, as_json: bool) -> None:
    """Let no process open keys until the erasures are replayed; a restore calls this before it starts anything."""
    from crm_server.kernel.keyledger import Ledger
    from crm_server.kernel.keyring import folder_of
    from crm_server.settings import load

    Ledger(folder_of(load())).quarantine(reason)
    say(as_json, {"quarantine": reason}, "In quarantine. Next: kontor keys replay --escrow FILE")


@keys.command()
@click.option(
    "--escrow",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The newest escrow; needed when epochs were destroyed after the backup.",
)
@JSON
def replay(file: Path | None, as_json: bool) -> None:
    """After a restore: bring the keys to the state of the escrow, erase again what was erased, end the quarantine."""
    from crm_server.domain.keys.replay import replay as run

    with key_work(restored=True) as work:
        done = run(work, file)
    say(
        as_json,
        done.plain(),
        f"{done.restored:,} keys from the escrow, {done.erased:,} erased again. The quarantine is over.",
    )


@keys.command()
@click.option("--people", type=click.IntRange(2, 100_000), default=200, show_default=True)
@click.option("--erased", type=click.IntRange(1, 50_000), default=20, show_default=True)
@JSON
def drill(people: int, erased: int, as_json: bool) -> None:
    """Prove on a database of its own that erasure survives a restore: back up, erase, rotate, destroy, restore.

    Nothing of the installation is touched. The evidence is kept in `drills` in the state folder, and its result in the
    database. It also runs by itself, every KONTOR_KEY_DRILL_DAYS. Exit code 1: the drill failed.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from crm_server.domain.keys.drill import drill as run
    from crm_server.domain.keys.drill import keep
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.keyring import node_of
    from crm_server.settings import load

    settings = load()
    found = run(
        settings,
        people=people,
        erased=min(erased, people - 1),
        tell=lambda word: None if as_json else click.echo(f"  {word}"),
    )
    engine = db.create_app_engine(settings, pool_size=1)
    try:
        with engine.begin() as connection:
            keep(connection, system_actor(Origin.CLI), node_of(settings), found)
    except SQLAlchemyError:
        click.echo("The database doesn't answer: the evidence is in the state folder alone.", err=True)
    finally:
        engine.dispose()
    say(as_json, found.plain(), "The drill passed." if found.passed else "The drill FAILED.")
    if not found.passed:
        sys.exit(1)


@keys.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File; standard output if left out.",
)
def inventory(output: Path | None) -> None:
    """Write the inventory of algorithms and keys (CycloneDX CBOM), made from the source (ENC-20)."""
    from crm_server.kernel.keyring import open_ring
    from crm_server.settings import load
    from security.crypto.inventory import cbom, scan
    from security.crypto.profile import Profile, modules

    settings = load()
    epochs, used = open_ring(settings).list(), modules(Profile(settings.crypto_profile))
    made = cbom(scan(_ROOT), version=version("kontor"), epochs=epochs, modules=used)
    text = json.dumps(made, indent=1, sort_keys=True)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


for command in (join, admit, forget_node, erase, hold, end_hold, restore):
    keys.add_command(command)
