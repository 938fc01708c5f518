"""`kontor siem`: set up where audit events are sent, try it, deliver, and write the content pack."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from crm_server.domain.audit.sinks import SinkService
    from crm_server.settings import Settings

JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def siem() -> None:
    """Send audit events to a SIEM."""


@contextmanager
def _service() -> Iterator[tuple[Session, SinkService, Settings]]:
    """Commits at the end; a refusal says each problem in a sentence."""
    from crm_server.domain.audit.sinks import SinkService
    from crm_server.kernel import db
    from crm_server.kernel.actor import Origin, system_actor
    from crm_server.kernel.errors import ValidationFailed
    from crm_server.kernel.keys import Keys
    from crm_server.settings import load

    settings = load()
    engine = db.create_app_engine(settings)
    keys = Keys.open(settings, engine, listen=False)
    factory = db.session_factory(engine, settings, keys=keys)
    try:
        with db.open_session(factory, system_actor(Origin.CLI)) as session:
            try:
                yield session, SinkService(session, settings), settings
            except ValidationFailed as refused:
                problems = "\n  ".join(
                    f"{item.pointer.strip('/')}: {item.message.interpolate()}" for item in refused.errors
                )
                raise click.ClickException(f"Nothing was changed.\n  {problems}") from None
            db.commit(session)
    finally:
        keys.close()
        engine.dispose()


@siem.command()
def forward() -> None:
    """Deliver to all enabled sinks until stopped. SIGTERM ends the connections in order."""
    from crm_server.domain.audit.forwarding import forward as run
    from crm_server.settings import load
    from monitoring import logs, metrics

    settings = load()
    logs.configure(settings.log_level, settings.log_format)
    if settings.metrics_port and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        metrics.serve(settings.metrics_port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    run(settings, stop)


@siem.command("list")
@JSON
def list_(*, as_json: bool) -> None:
    """List the sinks with their backlog and what keeps them."""
    with _service() as (_session, service, _settings):
        rows = [view.plain() for view in service.listed()]
    if as_json:
        click.echo(json.dumps(rows, default=str))
        return
    for row in rows:
        state = "enabled" if row["enabled"] else "not enabled"
        click.echo(f"{row['name']}  {row['transport']} {row['address']}  {row['format']}  {state}")
        click.echo(f"  {row['backlog'] if row['backlog'] is not None else '?'} events wait")
        if row["error"]:
            click.echo(f"  fails since {row['failing_since']:%Y-%m-%d %H:%M} UTC: {row['error']}")


@siem.command("set")
@click.argument("name")
@click.option("--transport", type=click.Choice(["tls", "https", "hec", "file", "tcp", "udp"]))
@click.option("--address", help="host:port, https://…, or the name of a file.")
@click.option("--server-name", help="Name in the sink's certificate, if it isn't the host.")
@click.option(
    "--format", "form", type=click.Choice(["rfc5424", "rfc5424+json", "cef", "leef", "ocsf", "ecs"])
)
@click.option(
    "--policy", type=click.Choice(["pseudonym", "minimal", "full"]), help="How much the sink is told."
)
@click.option("--message-limit", type=int, help="Longest message in bytes.")
@click.option("--enterprise", type=int, help="Your private enterprise number, for structured data.")
@click.option("--authorities", type=FILE, help="PEM file of the sink's authority.")
@click.option("--certificate", type=FILE, help="PEM file of our certificate with its chain.")
@click.option("--key", type=FILE, help="PEM file of its private key; it is stored sealed.")
@click.option(
    "--token-file", type=FILE, help="File with the token of an HTTP collector; it is stored sealed."
)
@click.option(
    "--from-now", is_flag=True, help="A new sink gets events from now on, instead of the whole log."
)
@JSON
def set_(*, name: str, as_json: bool, **options: Any) -> None:
    """Set up the sink NAME, or change it. It gets events after `kontor siem enable NAME`."""
    from crm_server.domain.audit.services import reader
    from crm_server.domain.audit.sinks import UNSAFE
    from crm_server.kernel.errors import NotFound

    values = {key: value for key, value in options.items() if value is not None}
    if "form" in values:
        values["format"] = values.pop("form")
    for option, field in (("authorities", "authorities"), ("certificate", "certificate"), ("key", "key"),
                          ("token_file", "token")):  # fmt: skip
        if option in values:
            values[field] = values.pop(option).read_text("utf-8")
    with _service() as (session, service, settings):
        try:
            sink = service.named(name).sink
        except NotFound:
            sink = None
        saved = service.save(
            values | {"name": name}, sink, size=reader(session, settings).status().signed_size or 0
        )
        key, warning = saved.id, UNSAFE.get(saved.transport)
    if warning is not None:
        click.echo(f"Warning: {warning.interpolate()}", err=True)
    _say(
        {"id": str(key), "name": name}, f"{name} is set up. Try it: kontor siem test {name}", as_json=as_json
    )


@siem.command()
@click.argument("name")
@JSON
def test(*, name: str, as_json: bool) -> None:
    """Send a test event to the sink NAME; shows the line and whom it reached. Exit code 1: it was not taken."""
    from compliance.audit.siem.transport import DeliveryError

    with _service() as (_session, service, _settings):
        try:
            line, peer = service.try_out(service.named(name).sink)
        except DeliveryError as error:
            raise click.ClickException(f"It was not taken. {error}") from error
    _say({"line": line, "peer": peer}, f"{peer}\n{line}", as_json=as_json)


@siem.command()
@click.argument("name")
@JSON
def enable(*, name: str, as_json: bool) -> None:
    """Begin to deliver to the sink NAME."""
    with _service() as (_session, service, _settings):
        service.enable(service.named(name).sink)
    _say({"name": name, "enabled": True}, f"{name} is enabled.", as_json=as_json)


REASON = click.option("--reason", default="", help="Why; whoever releases it reads this.")


@siem.command()
@click.argument("name")
@REASON
@JSON
def disable(*, name: str, reason: str, as_json: bool) -> None:
    """Ask two persons to let the sink NAME get nothing more; its cursor stays."""
    _stop(name, reason, remove=False, as_json=as_json)


@siem.command()
@click.argument("name")
@REASON
@JSON
def remove(*, name: str, reason: str, as_json: bool) -> None:
    """Forget the sink NAME with its secrets and its cursor; while it is enabled, ask two persons for that."""
    _stop(name, reason, remove=True, as_json=as_json)


@siem.command()
@click.argument("name")
@click.option("--from", "index", type=int, required=True, help="Index of the first event to send again.")
@JSON
def resend(*, name: str, index: int, as_json: bool) -> None:
    """Deliver again from an index on, to a sink that accepted events and lost them."""
    with _service() as (_session, service, _settings):
        service.resend(service.named(name).sink, index)
    _say({"name": name, "from": index}, f"{name} gets the events from {index} on again.", as_json=as_json)


@siem.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; it must not exist yet."
)
@JSON
def pack(*, out: Path, as_json: bool) -> None:
    """Write the content pack: fields, schemas, samples, rules, and queries that find missing indexes."""
    from importlib.metadata import version

    from compliance.audit.siem.catalog import write_pack

    try:
        write_pack(out, version("kontor"))
    except FileExistsError:
        raise click.ClickException(f"{out} exists already. Name a folder that does not.") from None
    _say({"folder": str(out)}, f"The content pack is in {out}.", as_json=as_json)


def _stop(name: str, reason: str, *, remove: bool, as_json: bool) -> None:
    import crm_server.approvals  # noqa: F401 - the kinds of release
    from crm_server.domain.approvals.services import ApprovalRequired
    from crm_server.domain.audit.releasing import ask_for

    asked = None
    with _service() as (session, service, _settings):
        try:
            service.stop(service.named(name).sink, remove=remove)
        except ApprovalRequired as needed:
            asked = ask_for(session, needed, reason)
    done = f"{name} is removed." if remove else f"{name} is not enabled."
    said = f"Asked for; it is done when it is released: kontor approvals, or the page Approvals ({asked})."
    _say({"name": name, "asked": str(asked) if asked else None}, said if asked else done, as_json=as_json)


def _say(data: dict[str, Any], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(data) if as_json else text)
