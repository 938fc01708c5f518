"""`kontor tokens`: the blind indexes of sealed fields."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session, sessionmaker


@click.group()
def tokens() -> None:
    """See and rebuild the blind indexes, by which sealed records are found without the search service."""


@contextmanager
def _sessions() -> Iterator[sessionmaker[Session]]:
    from crm_server.cli.opened import session_maker
    from crm_server.settings import load

    with session_maker(load()) as factory:
        yield factory


@tokens.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def status(*, as_json: bool) -> None:
    """Check each index against the bit budget. Exit code 4 when one is broken or to be built anew."""
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.blindindex import upkeep
    from crm_server.models import datamap

    with _sessions() as factory, db.open_session(factory, system_actor(Origin.CLI)) as session:
        states = [upkeep.check(session, entity) for entity in upkeep.indexed_entities(datamap())]
        db.commit(session)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(state) for state in states]))
    else:
        for state in states:
            listed = ", ".join(f"{name} {bits} bits (epoch {epoch})" for name, bits, epoch in state.indexes)
            click.echo(f"{state.entity}: {state.rows:,} records, {state.bits} bits: {listed or 'no index'}")
            if state.problem:
                click.echo(f"  {state.problem}")
            if state.overfull:
                click.echo(f"  {state.overfull} tokens cover over 5 % of a field: one value dominates.")
            if state.stale:
                click.echo(f"  To be built anew: kontor tokens rebuild --entity {state.entity}")
    if any(state.problem or state.overfull or state.stale for state in states):
        sys.exit(4)


@tokens.command()
@click.option("--entity", help="Only this kind of record.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def rebuild(*, entity: str | None, as_json: bool) -> None:
    """Build the indexes anew, for a table that has grown or after a rotation of keys. May be run again after a kill."""
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.blindindex import upkeep
    from crm_server.models import datamap

    known = {item.name: item for item in upkeep.indexed_entities(datamap())}
    if entity is not None and entity not in known:
        raise click.UsageError(f"--entity {entity}: there is no such index. There are: {', '.join(known)}")
    done: dict[str, int] = {}
    with _sessions() as factory:
        for name, item in known.items():
            if entity is not None and name != entity:
                continue
            with click.progressbar(length=1, label=name, file=sys.stderr, show_pos=True) as bar:

                def report(count: int, total: int, bar: object = bar) -> None:
                    bar.length = total  # type: ignore[attr-defined]
                    bar.update(count - bar.pos)  # type: ignore[attr-defined]

                done[name] = upkeep.rebuild(factory, system_actor(Origin.CLI), item, progress=report)
    if as_json:
        click.echo(json.dumps(done))
    else:
        for name, count in done.items():
            click.echo(f"{count:>9,} {name}")
