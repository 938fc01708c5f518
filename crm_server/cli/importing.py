"""`kontor import FILE --entity contact`: the same import as on the pages, from the shell.

It runs in this process, batch by batch, and needs no worker; a run that was broken off goes on with
`--resume`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from compliance.datamap import DataMap
    from crm_server.domain.imports.queries import ImportState
    from crm_server.domain.imports.services import ImportService
    from crm_server.importing.mapping import ImportMapping
    from crm_server.kernel.actor import Actor

_ENTITIES = ("contact", "account", "lead", "opportunity")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Tools:
    factory: sessionmaker[Session]
    datamap: DataMap
    actor: Actor
    limit: int
    country: str
    currency: str

    @contextmanager
    def service(self) -> Iterator[tuple[ImportService, Session]]:
        from crm_server.domain.imports.services import ImportLimits, ImportService
        from crm_server.importing.texts import translate
        from crm_server.kernel import db

        with db.open_session(self.factory, self.actor) as session:
            limits = ImportLimits(self.limit, self.country, self.currency)
            # This process does the work itself, so nothing is put into the queue.
            service = ImportService(
                session, self.datamap, limits, lambda _session, _key: None, translate=translate
            )
            yield service, session
            db.commit(session)

    def state(self, import_id: UUID) -> ImportState:
        from crm_server.domain.imports import queries
        from crm_server.kernel import db

        with db.open_session(self.factory, self.actor) as session:
            return queries.one_import(session, self.actor, import_id)


@contextmanager
def _tools(country: str | None = None, currency: str | None = None) -> Iterator[_Tools]:
    from crm_server.importing.errors import ImportFileError
    from crm_server.importing.values.convert import Options
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.keys import Keys
    from crm_server.models import datamap
    from crm_server.settings import load

    settings = load()
    country = (country or settings.default_country).upper()
    currency = (currency or settings.default_currency).upper()
    try:
        Options(country=country, currency=currency).check()
    except ImportFileError as error:
        raise click.UsageError(str(error)) from None
    engine = db.create_app_engine(settings)
    try:
        yield _Tools(
            db.session_factory(engine, settings, Keys.open(settings, engine)),
            datamap(),
            system_actor(Origin.CLI),
            settings.upload_limit,
            country,
            currency,
        )
    finally:
        engine.dispose()


@click.command("import")
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
)
@click.option(
    "--entity", type=click.Choice(_ENTITIES), default="contact", show_default=True, help="What the rows are."
)
@click.option("--mapping", help="A mapping file (JSON), or the name of a mapping saved on the import page.")
@click.option("--preset", help="A ready mapping, such as salesforce-contacts; found by itself if left out.")
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@click.option("--encoding", help="Encoding of the text, if it is not found rightly: utf-8, gb18030, cp1252 …")
@click.option("--delimiter", help="Delimiter of the columns, if it is not found rightly; \\t for a tab.")
@click.option("--sheet", help="Sheet of a workbook; the first with a list if left out.")
@click.option("--country", help="Country of phone numbers without a country code (ISO 3166).")
@click.option("--currency", help="Currency of sums without a sign (ISO 4217).")
@click.option("--key", multiple=True, help="Field by which existing records are recognised; repeatable.")
@click.option(
    "--duplicates", type=click.Choice(["update", "skip", "create"]), help="What becomes of known records."
)
@click.option(
    "--errors", type=click.Path(dir_okay=False, path_type=Path), help="Write rows that failed to this CSV."
)
@click.option(
    "--show-mapping",
    is_flag=True,
    help="Print the mapping as JSON and stop; it can be edited and used again.",
)
@click.option("--resume", type=click.UUID, metavar="ID", help="Go on with a run that was broken off.")
@click.option("--undo", type=click.UUID, metavar="ID", help="Take an import back.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def import_command(file: Path | None, **options: Any) -> None:
    """Import FILE: CSV, XLSX or vCard, also as other CRMs export them.

    Exit code 0: all rows imported; 4: some rows were not, see --errors; 1: nothing was done.
    """
    with _tools(options["country"], options["currency"]) as tools:
        if options["undo"]:
            _undo(tools, options["undo"], as_json=options["as_json"])
            return
        if options["resume"]:
            import_id = _resume(tools, options["resume"])
        elif file is None:
            raise click.UsageError("Name a FILE, or an import with --resume or --undo.")
        else:
            import_id = _upload(tools, file, options)
        if options["show_mapping"]:
            _print_mapping(tools, import_id)
            return
        _run(tools, import_id, options)


def _upload(tools: _Tools, file: Path, options: dict[str, Any]) -> UUID:
    from crm_server.importing.errors import ImportFileError

    delimiter = options["delimiter"]
    reading = {
        "encoding": options["encoding"],
        "delimiter": "\t" if delimiter == "\\t" else delimiter,
        "sheet": options["sheet"],
    }
    try:
        with tools.service() as (service, _session), file.open("rb") as content:
            job = service.upload(
                content,
                file.name,
                options["entity"],
                preset=options["preset"],
                mapping=_mapping(service, options["mapping"], options["entity"]),
                **{name: value for name, value in reading.items() if value},
            )
            _adjust(service, job.id, options)
            return job.id
    except ImportFileError as error:
        raise click.ClickException(str(error)) from error


def _mapping(service: ImportService, given: str | None, entity: str) -> ImportMapping | None:
    from crm_server.importing.mapping import ImportMapping

    if given is None:
        return None
    path = Path(given)
    if not path.is_file():
        return service.saved_mapping(entity, given)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.ClickException(f"{path} is not JSON. Make one with --show-mapping.") from error
    return ImportMapping.from_json(data)


def _adjust(service: ImportService, import_id: UUID, options: dict[str, Any]) -> None:
    """Lets the options of the command line win over the mapping."""
    from dataclasses import replace

    from crm_server.importing.mapping import ImportMapping

    job = service.get(import_id)
    mapping = ImportMapping.from_json(job.mapping)
    if options["key"]:
        mapping = replace(mapping, key=tuple(options["key"]))
    if options["duplicates"]:
        mapping = replace(mapping, duplicates=options["duplicates"])
    named = {name: options[name].upper() for name in ("country", "currency") if options[name]}
    mapping = replace(mapping, options=replace(mapping.options, **named))
    problems = service.set_mapping(import_id, mapping)
    if problems and not options["show_mapping"]:
        told = "\n".join(f"  {problem.field or 'import'}: {problem.message}" for problem in problems)
        raise click.ClickException(
            f"The file can't be imported like this:\n{told}\nSee --show-mapping and --mapping."
        )


def _resume(tools: _Tools, import_id: UUID) -> UUID:
    with tools.service() as (service, _session):
        job = service.get(import_id)
        if job.state != "working":
            service.resume(import_id)
    return import_id


def _print_mapping(tools: _Tools, import_id: UUID) -> None:
    state = tools.state(import_id)
    click.echo(json.dumps(state.mapping.to_json(), ensure_ascii=False, indent=2))
    with tools.service() as (service, _session):
        service.delete(import_id)


def _run(tools: _Tools, import_id: UUID, options: dict[str, Any]) -> None:
    from sqlalchemy.exc import OperationalError

    from crm_server.domain.imports.run import Runner
    from crm_server.importing.errors import ImportFileError
    from crm_server.importing.texts import translate
    from crm_server.kernel import db

    if options["resume"] is None:
        with tools.service() as (service, _session):
            service.check(import_id) if options["dry_run"] else service.start(import_id)
    runner = Runner(tools.factory, tools.datamap, tools.actor, translate=translate)
    quiet = options["as_json"] or not sys.stderr.isatty()
    try:
        with click.progressbar(length=1, label="Checking" if options["dry_run"] else "Importing", file=sys.stderr,
                               hidden=quiet, show_pos=True) as bar:  # fmt: skip

            def report(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            runner.run(import_id, report)
    except ImportFileError as error:
        raise click.ClickException(f"{error} The import is {import_id}.") from error
    except OperationalError as error:
        if not db.is_full(error):
            raise
        raise click.ClickException(
            "The disk of the database is full. What was imported so far is kept. Make room, then go on with: "
            f"kontor import --resume {import_id}"
        ) from None
    state = tools.state(import_id)
    _tell(tools, state, options)
    sys.exit(4 if state.count("failed") else 0)


def _tell(tools: _Tools, state: ImportState, options: dict[str, Any]) -> None:
    from crm_server.domain.imports import queries
    from crm_server.importing.texts import translator
    from crm_server.kernel import db

    plain = translator("en")
    with db.open_session(tools.factory, tools.actor) as session:
        if options["errors"] and state.count("failed"):
            with options["errors"].open("wb") as out:
                out.writelines(queries.error_file(session, state, plain))
        if options["as_json"]:
            click.echo(json.dumps(state.to_json(), ensure_ascii=False))
            return
        failed = queries.problem_rows(session, state, plain, limit=_SHOWN)
    if options["dry_run"]:
        click.echo("Checked, and nothing was written. An import would give:")
    for name, text in _COUNTS:
        if state.count(name):
            click.echo(f"{state.count(name):>9,} {text}")
    for row in failed:
        told = "; ".join(f"{field}: {reason}" if field else reason for field, reason in row.reasons)
        click.echo(f"  line {row.line}: {told}")
    if state.count("failed") > len(failed):
        click.echo(f"  … and {state.count('failed') - len(failed):,} more; all of them with --errors FILE")
    if not options["dry_run"]:
        click.echo(f"Import {state.id}; take it back with: kontor import --undo {state.id}")


_COUNTS = (
    ("created", "created"),
    ("updated", "changed"),
    ("unchanged", "were the same already"),
    ("merged", "stood in the file more than once"),
    ("skipped", "left as they were"),
    ("failed", "not imported"),
    ("referenced", "made because rows refer to them"),
)


def _undo(tools: _Tools, import_id: UUID, *, as_json: bool) -> None:
    from crm_server.domain.imports.undo import Undo

    with tools.service() as (service, _session):
        service.undo(import_id)
    counts = Undo(tools.factory, tools.datamap, tools.actor).run(import_id)
    told = {name: counts[f"undo_{name}"] for name in ("deleted", "restored", "kept")}
    if as_json:
        click.echo(json.dumps({"id": str(import_id), **told}))
    else:
        click.echo(f"{told['deleted']:,} put into the bin, {told['restored']:,} restored, {told['kept']:,} left because"
                   " they were changed since or are in use.")  # fmt: skip
    sys.exit(4 if told["kept"] else 0)
