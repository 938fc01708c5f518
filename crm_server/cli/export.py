"""`kontor export ENTITY`: a list as CSV, XLSX or vCard, to a file or to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("entity")
@click.option(
    "--format", "kind", type=click.Choice(["csv", "xlsx", "vcard"]), default="csv", show_default=True
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File; standard output if left out.",
)
@click.option(
    "--filter", "filters", multiple=True, metavar="FIELD[:OPERATOR]=VALUE", help="As in lists; repeatable."
)
@click.option("--search", "q", help="Free text, as in the search field of a list.")
@click.option("--fields", help="Names of the fields, divided by commas; all if left out.")
@click.option("--language", type=click.Choice(["en", "zh_Hans"]), default="en", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON; needs --output.")
def export(entity: str, kind: str, output: Path | None, *, as_json: bool, **options: Any) -> None:
    """Export the records of ENTITY, such as contacts or account."""
    from crm_server.cli.opened import session_maker
    from crm_server.kernel import db, scratch
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.clock import now
    from crm_server.models import datamap
    from crm_server.settings import load

    if as_json and output is None:
        raise click.UsageError("--json needs --output.")
    entities = datamap()
    found = entities.by_collection(entity) or entities.entities.get(entity)
    if found is None or not found.exposed:
        names = ", ".join(item.policy.collection for item in entities.records())
        raise click.UsageError(f"There is no list of that name. There are: {names}")
    from compliance.audit.events import write
    from crm_server.domain.imports.custom import listed
    from crm_server.domain.imports.exporting import Export
    from crm_server.importing.texts import translator

    scratch.keep_in_memory()
    actor = system_actor(Origin.CLI)
    settings = load()
    with session_maker(settings, listen=True) as factory, db.open_session(factory, actor) as session:
        made = Export(
            session,
            entities,
            found,
            _query(options),
            actor,
            translate=translator(options["language"]),
            custom=listed(session, entities),
        )
        file = made.file(kind, now().date())
        write(session.connection(), actor, [made.event(kind, done=False)])
        if output is None:
            for block in file.blocks:
                sys.stdout.buffer.write(block)
        else:
            with output.open("wb") as out:
                out.writelines(file.blocks)
        write(session.connection(), actor, [made.event(kind, done=True)])
        db.commit(session)
    if as_json:
        click.echo(json.dumps({"file": str(output), "rows": made.count, "format": kind}))
    elif output is not None:
        click.echo(f"{made.count:,} rows written to {output}.", err=True)
    sys.stdout.flush()


def _query(options: dict[str, Any]) -> Any:
    """The list as the address of a page would say it."""
    from crm_server.kernel.listing import parse_parameters

    pairs = []
    for text in options["filters"]:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--filter {text}: write it as FIELD=VALUE or FIELD:OPERATOR=VALUE.")
        field, _colon, operator = name.partition(":")
        pairs.append((f"filter[{field}][{operator}]" if operator else f"filter[{field}]", value))
    if options["q"]:
        pairs.append(("q", options["q"]))
    if options["fields"]:
        pairs.append(("fields", options["fields"]))
    return parse_parameters(pairs)
