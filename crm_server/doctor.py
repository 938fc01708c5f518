"""What is wrong with this installation, and what to do about it. `kontor doctor` prints it; tests break things for it.

Each check is a function that yields findings. None changes anything, and none says a value of a record or a secret.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import psycopg2
from cryptography import x509
from sqlalchemy import create_engine, pool, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from compliance.audit.log.reading import LogReader
from crm_server.domain.audit.guard import measure
from crm_server.domain.audit.places import places
from crm_server.domain.keys.health import troubles
from crm_server.migrations import HEAD, manage
from crm_server.search.client import SearchClient, SearchUnavailable
from crm_server.search.places import socket_path
from security.crypto import native
from security.crypto.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from crm_server.settings import Settings

OLDEST_POSTGRES = 150000
WARN_BYTES, STOP_BYTES = 2_000_000_000, 300_000_000
WARN_DAYS = 21
STUCK_MINUTES = 15
SILENT_SECONDS = 60
SKEW_SECONDS = 5.0
LATE_SEARCH = 10.0
SEALING_LATE, SEALING_STUCK = 5.0, 30.0
LEAST_MONTHS = 2
MOST_BACKLOG = 100_000


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check. `remedy` says what to do; it is empty when all is well."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """All findings; checks that need the database are left out when it can't be reached."""
    findings = [*_disk(settings), *_certificates(settings), *_assets(settings), *_search(settings)]
    findings += _native(settings)
    engine = create_engine(
        settings.database_url,
        poolclass=pool.NullPool,
        hide_parameters=True,
        connect_args={"connect_timeout": settings.connect_timeout, "application_name": "kontor-doctor"},
    )
    try:
        with engine.connect() as connection:
            findings += _server(connection)
            at_head = _schema(connection)
            findings.append(at_head)
            if at_head.level is Level.OK:
                for check in (
                    _rights,
                    _jobs,
                    partial(_sealing, settings),
                    _partitions,
                    _siem,
                    partial(_keys, settings),
                ):
                    findings += _safely(check, connection)
                findings += _guard(settings)
    except DBAPIError as error:
        findings.append(
            Finding(
                "database",
                Level.ERROR,
                f"The database can't be reached ({_reason(error)}).",
                "Is PostgreSQL running, and are address, name and password in KONTOR_DATABASE_URL right?",
            )
        )
        return findings
    return findings + _drift(settings)


def _safely(check: Callable[[Connection], Iterator[Finding]], connection: Connection) -> list[Finding]:
    try:
        return list(check(connection))
    except (SQLAlchemyError, psycopg2.Error) as error:
        connection.rollback()
        name = getattr(check, "func", check).__name__.strip("_")
        return [
            Finding(name, Level.ERROR, f"This can't be checked ({_reason(error)}).", "Run: kontor db upgrade")
        ]


def _reason(error: SQLAlchemyError | psycopg2.Error) -> str:
    original = getattr(error, "orig", None)
    return str(getattr(original, "pgcode", None) or type(original or error).__name__)


def _server(connection: Connection) -> Iterator[Finding]:
    version, there = connection.execute(
        text("select current_setting('server_version_num')::int, clock_timestamp()")
    ).one()
    if version < OLDEST_POSTGRES:
        yield Finding(
            "database",
            Level.ERROR,
            f"PostgreSQL {version // 10000} is too old.",
            f"Use PostgreSQL {OLDEST_POSTGRES // 10000} or newer.",
        )
    else:
        yield Finding("database", Level.OK, f"PostgreSQL {version // 10000} answers.")
    skew = abs((datetime.now(UTC) - there).total_seconds())
    if skew > SKEW_SECONDS:
        yield Finding(
            "clock",
            Level.WARNING,
            f"The clocks of this machine and of the database differ by {skew:.0f} seconds.",
            "Let chrony or systemd-timesyncd keep both. Audit events carry the time of this machine.",
        )


def _schema(connection: Connection) -> Finding:
    found = None
    if connection.execute(text("select to_regclass('kontor.schema_version')")).scalar():
        found = connection.execute(text("select version_num from kontor.schema_version")).scalar()
    newest = HEAD
    if found == newest:
        return Finding("schema", Level.OK, f"The schema is at {found}.")
    said = (
        f"The schema is at {found}, this release needs {newest}."
        if found
        else "The database has no schema yet."
    )
    return Finding("schema", Level.ERROR, said, "Run: kontor db upgrade")


def _drift(settings: Settings) -> list[Finding]:
    if not settings.owner_database_url:
        return []
    try:
        found = manage.drift(settings.owner_database_url)
    except SQLAlchemyError as error:
        return [
            Finding(
                "drift",
                Level.WARNING,
                f"The tables can't be compared with the release ({_reason(error)}).",
                "Is the address in KONTOR_OWNER_DATABASE_URL right?",
            )
        ]
    if not found:
        return [Finding("drift", Level.OK, "Tables, indexes and triggers are as this release makes them.")]
    return [
        Finding(
            "drift",
            Level.ERROR,
            f"The database differs from this release in {len(found)} places.",
            "See them with: kontor db check. Somebody changed the schema by hand, or a migration was cut off.",
        )
    ]


_RIGHTS = text("""
select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls as mighty,
       has_table_privilege('audit.event', 'update') or has_table_privilege('audit.event', 'delete')
         or has_table_privilege('audit.event', 'truncate')
         or exists (select from pg_class where relnamespace = to_regnamespace('audit_part') and relkind = 'r'
                      and has_table_privilege(oid, 'update, delete, truncate')) as rewrites,
       has_any_column_privilege('audit.event', 'insert') and has_table_privilege('crm.contact', 'select')
         and has_table_privilege('jobs.procrastinate_jobs', 'insert') as works,
       has_schema_privilege('crm', 'create') or has_schema_privilege('audit', 'create') as builds
  from pg_roles where rolname = current_user
""")


def _rights(connection: Connection) -> Iterator[Finding]:
    row = connection.execute(_RIGHTS).one()
    if row.rewrites:
        yield Finding(
            "rights",
            Level.ERROR,
            "The application's role could rewrite the audit log.",
            "Use the role kontor_app in KONTOR_DATABASE_URL, and run kontor db upgrade to set its rights anew.",
        )
    if row.mighty or row.builds:
        yield Finding(
            "rights",
            Level.ERROR,
            "The application's role may do more than it needs.",
            "Use the role kontor_app in KONTOR_DATABASE_URL, never the owner or a superuser.",
        )
    if not row.works:
        yield Finding(
            "rights",
            Level.ERROR,
            "The application's role lacks rights that it needs.",
            "Run: kontor db upgrade",
        )
    if row.works and not (row.rewrites or row.mighty or row.builds):
        yield Finding(
            "rights", Level.OK, "The application's role has the rights that it needs and no others."
        )


_JOBS = text("""
select count(*) filter (where status = 'failed') as failed,
       count(*) filter (where status = 'todo' and coalesce(scheduled_at, now()) < now() - interval '1 minute')
         as overdue,
       count(*) filter (where status = 'todo' and (
         scheduled_at < now() - make_interval(mins => :minutes)
         or (scheduled_at is null and exists (
           select from jobs.procrastinate_events e
            where e.job_id = j.id and e.at < now() - make_interval(mins => :minutes))))) as stuck
  from jobs.procrastinate_jobs j where status in ('todo', 'failed')
""")
_WORKERS = text(
    "select count(*) from jobs.procrastinate_workers where last_heartbeat > now() - make_interval(secs => :seconds)"
)
_FAILED = text(
    "select task_name, count(*) from jobs.procrastinate_jobs where status = 'failed' group by 1 order by 2 desc limit 5"
)


def _jobs(connection: Connection) -> Iterator[Finding]:
    row = connection.execute(_JOBS, {"minutes": STUCK_MINUTES}).one()
    workers = connection.execute(_WORKERS, {"seconds": SILENT_SECONDS}).scalar() or 0
    if not workers:
        yield Finding(
            "worker",
            Level.ERROR if row.stuck else Level.WARNING,
            "No worker is running; imports and exports wait.",
            "Start it: systemctl start kontor-worker (on a trial: make run).",
        )
    else:
        yield Finding("worker", Level.OK, f"{workers} worker{'s' if workers > 1 else ''} running.")
    if row.stuck:
        yield Finding(
            "jobs",
            Level.ERROR,
            f"{row.stuck} jobs have waited for more than {STUCK_MINUTES} minutes.",
            "Look at the log of the worker; raise KONTOR_WORKER_CONCURRENCY if it is busy all the time.",
        )
    if row.failed:
        names = ", ".join(f"{name} ({number})" for name, number in connection.execute(_FAILED))
        yield Finding(
            "jobs",
            Level.WARNING,
            f"Failed jobs: {names}.",
            "Find the reason in the log of the worker, then run them again: kontor jobs retry --all-failed",
        )
    if not row.stuck and not row.failed:
        yield Finding("jobs", Level.OK, "No job is stuck or failed.")


def _sealing(settings: Settings, connection: Connection) -> Iterator[Finding]:
    """Whether events get their place in the signed log, and whether the log is signed (AUD-12)."""
    where = places(settings)
    raw: Any = connection.connection.dbapi_connection
    found = LogReader(raw, where.mirror, where.keys).status()
    start = (
        "Start the sealer: systemctl start kontor-sealer (on a trial: make run). Its log says what keeps it."
    )
    if found.origin is None:
        yield Finding("sealing", Level.WARNING, "The audit log is not sealed yet; events wait safely.", start)
        return
    if found.lag > SEALING_LATE:
        level = Level.ERROR if found.lag > SEALING_STUCK else Level.WARNING
        said = f"The oldest event that waits for its seal is {found.lag:.0f} seconds old."
        yield Finding("sealing", level, said, start)
    else:
        yield Finding("sealing", Level.OK, f"{found.size:,} events have their place in the signed log.")
    if found.signed_size is None or found.signed_at is None:
        yield Finding(
            "checkpoint",
            Level.WARNING,
            f"The audit log's files in {where.mirror} can't be read.",
            "Let the application's user read them, or name their folder in KONTOR_AUDIT_MIRROR.",
        )
        return
    said = f"The newest checkpoint covers {found.signed_size:,} events, of {found.signed_at:%Y-%m-%d %H:%M:%S} UTC."
    late = found.size - found.signed_size
    if late > 0 and (datetime.now(UTC) - found.signed_at).total_seconds() > SEALING_STUCK:
        remedy = "Is a synchronous standby away, or the disk full? The sealer's log says what keeps it."
        yield Finding("checkpoint", Level.ERROR, f"{said} {late:,} events are not signed.", remedy)
    else:
        yield Finding("checkpoint", Level.OK, said)


def _keys(settings: Settings, connection: Connection) -> Iterator[Finding]:
    """Whether the key ring answers, and what of rotation, destruction and escrow is late."""
    for found in troubles(settings, connection):
        yield Finding("keys", Level(found.level), found.text, found.remedy)


def _guard(settings: Settings) -> Iterator[Finding]:
    """Whether privileged acts are open (AUD-12)."""
    engine = create_engine(settings.database_url, poolclass=pool.NullPool, hide_parameters=True)
    reason = measure(engine, places(settings).mirror).reason
    if reason is None:
        yield Finding("guard", Level.OK, "Privileged acts are open: the audit log can prove them.")
        return
    said = {
        "lag": "events have waited for their seal for more than 30 seconds",
        "space": "less than 5 % of the space for the audit log is left",
        "unknown": "the state of the audit log can't be read",
    }[reason]
    remedy = (
        "Make room for the log." if reason == "space" else "Start the sealer; its log says what keeps it."
    )
    yield Finding("guard", Level.ERROR, f"Privileged acts are closed: {said}.", remedy)


_SINKS = text("""
select k.name, s.error, s.failing_since, s.certificate_until, s.updated_at,
       s.size - case when s.error is null then s.sent else s.position end as backlog
  from audit.sink k left join audit.sink_state s on s.sink_id = k.id where k.enabled order by k.name
""")


def _siem(connection: Connection) -> Iterator[Finding]:
    """Whether audit events reach their receivers, and how long the certificates last (SIEM-1)."""
    for row in connection.execute(_SINKS):
        if row.updated_at is None:
            yield Finding(
                "siem",
                Level.WARNING,
                f"Nothing was sent to the sink {row.name} yet.",
                "Start the forwarder: systemctl start kontor-forwarder (on a trial: make run).",
            )
        elif row.error:
            said = f"Nothing can be delivered to the sink {row.name} since {row.failing_since:%Y-%m-%d %H:%M} UTC; "
            yield Finding(
                "siem",
                Level.WARNING,
                f"{said}{row.backlog:,} events wait. {row.error}",
                f"No event is lost: they are sent when the sink is back. Try it: kontor siem test {quote(row.name)}",
            )
        elif row.backlog > MOST_BACKLOG:
            yield Finding(
                "siem",
                Level.WARNING,
                f"{row.backlog:,} events wait for the sink {row.name}.",
                "It takes them too slowly, or the forwarder does not run; its log says more.",
            )
        else:
            yield Finding("siem", Level.OK, f"The sink {row.name} gets events.")
        left = (row.certificate_until - datetime.now(UTC)).days if row.certificate_until else WARN_DAYS
        if left < WARN_DAYS:
            yield Finding(
                "siem",
                Level.WARNING,
                f"The certificate of the sink {row.name} ends in {left} days.",
                "Ask whoever runs the receiver to renew it.",
            )


_PARTITIONS = text("select months_ahead, misplaced from audit.partitions()")


def _partitions(connection: Connection) -> Iterator[Finding]:
    """Whether the tables of the log have room for the months to come."""
    row = connection.execute(_PARTITIONS).one()
    if row.months_ahead < LEAST_MONTHS or row.misplaced:
        said = f"The tables of the audit log have room for {row.months_ahead} more months"
        said += f"; {row.misplaced:,} events fit no month." if row.misplaced else "."
        yield Finding(
            "partitions",
            Level.WARNING,
            said,
            "Is a worker running? It makes room each night; by hand: kontor audit partitions. Events outside every "
            "month come from a wrong clock.",
        )
    else:
        yield Finding("partitions", Level.OK, f"The audit log has room for {row.months_ahead} more months.")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder: Path = settings.state_dir
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding(
            "disk",
            Level.ERROR,
            f"The state folder {folder} can't be used ({error.strerror}).",
            "Make it, give it to the user that runs Kontor, or name another one in KONTOR_STATE_DIR.",
        )
        return
    level = Level.ERROR if free < STOP_BYTES else Level.WARNING if free < WARN_BYTES else Level.OK
    said = f"{free / 1e9:.1f} GB are free for {folder}."
    yield Finding("disk", level, said, "" if level is Level.OK else "Make room: logs and old backups first.")


def _search(settings: Settings) -> Iterator[Finding]:
    """Whether the service that finds and sorts by sealed fields answers, and how well its memory is kept."""
    path = socket_path(settings)
    client = SearchClient(path)
    try:
        state = client.state()
    except SearchUnavailable:
        yield Finding(
            "search",
            Level.WARNING,
            f"No search service answers at {path}; sealed fields can't be searched or sorted by.",
            "Start it: systemctl start kontor-search (on a trial: make run).",
        )
        return
    finally:
        client.close()
    if not state.complete:
        said = f"The search index is being loaded: {state.percent} %."
        yield Finding(
            "search", Level.WARNING, said, "Wait; the log of the search service tells when it is done."
        )
    elif state.lag > LATE_SEARCH:
        said = f"The search index is {state.lag:.0f} seconds behind."
        yield Finding("search", Level.ERROR, said, "Look at the log of the search service.")
    else:
        yield Finding("search", Level.OK, f"The search index holds {state.total:,} records.")
    if not state.locked and _swaps():
        yield Finding(
            "swap",
            Level.WARNING,
            "The memory of the search index may be written to the swap space.",
            "Set LimitMEMLOCK=infinity for the unit of the search service, or switch swap off.",
        )


def _native(settings: Settings) -> Iterator[Finding]:
    if settings.crypto_profile == Profile.STRICT:
        return  # It uses the libraries alone.
    if native.NATIVE is not None:
        yield Finding("native", Level.OK, f"Sealing uses its native module with {native.NATIVE.library}.")
        return
    yield Finding(
        "native",
        Level.WARNING,
        f"Sealing works, about half as fast, because its native module isn't there ({native.PROBLEM}).",
        "apt-get install gcc python3-dev libssl-dev, then run the command again that installed Kontor.",
    )


def _swaps() -> bool:
    try:
        return len(Path("/proc/swaps").read_text(encoding="ascii").splitlines()) > 1
    except OSError:
        return False


def _certificates(settings: Settings) -> Iterator[Finding]:
    """The certificates that `kontor up` made; a site's own stand at its proxy."""
    for path in sorted((settings.state_dir / "tls").glob("*.pem")):
        try:
            left = (
                x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc - datetime.now(UTC)
            ).days
        except (OSError, ValueError):
            yield Finding(
                "certificate",
                Level.ERROR,
                f"{path.name} can't be read as a certificate.",
                f"Delete {path} and start again: make run",
            )
            continue
        if left >= WARN_DAYS:
            yield Finding("certificate", Level.OK, f"{path.name} is valid for {left} more days.")
        else:
            said = f"{path.name} ends in {left} days." if left >= 0 else f"{path.name} has ended."
            yield Finding(
                "certificate",
                Level.WARNING if left >= 0 else Level.ERROR,
                said,
                "It is renewed at the next start: make stop, then make run",
            )


def _assets(settings: Settings) -> Iterator[Finding]:
    if (settings.assets_dir / "manifest.json").is_file():
        yield Finding("assets", Level.OK, "The front-end assets are built.")
    else:
        yield Finding(
            "assets",
            Level.ERROR,
            f"The front-end assets are missing in {settings.assets_dir}.",
            "In a checkout run make run, which builds them; an installed wheel carries them, so install it again.",
        )
