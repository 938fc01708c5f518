"""`kontor jobs`: see the queue, and run failed jobs again."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import text

from crm_server.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

# Arguments are left out: they hold keys of records.
_LIST = text("""
select j.id, j.task_name as task, j.status::text as state, j.attempts, max(e.at) as since
  from jobs.procrastinate_jobs j left join jobs.procrastinate_events e on e.job_id = j.id
 where cast(:state as text) is null and j.status in ('todo', 'doing', 'failed') or j.status::text = :state
 group by j.id order by j.id desc limit :limit
""")
_RETRY = text("select jobs.procrastinate_retry_job_v2(:id, now(), null, null, null)")
_FAILED = text("select id from jobs.procrastinate_jobs where status = 'failed' order by id")
_IS_FAILED = text("select 1 from jobs.procrastinate_jobs where status = 'failed' and id = :id for update")


@click.group()
def jobs() -> None:
    """See the queue of background jobs, and run failed ones again."""


@contextmanager
def _connection() -> Iterator[Connection]:
    from crm_server.kernel.db import create_app_engine

    engine = create_app_engine(load(), pool_size=1)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@jobs.command("list")
@click.option("--state", type=click.Choice(["todo", "doing", "failed", "succeeded"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def list_jobs(*, state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first; without --state those that wait, run or have failed."""
    rows: list[dict[str, Any]] = []
    with _connection() as connection:
        rows = [dict(row) for row in connection.execute(_LIST, {"state": state, "limit": limit}).mappings()]
    if as_json:
        click.echo(json.dumps([row | {"since": row["since"] and row["since"].isoformat()} for row in rows]))
        return
    for row in rows:
        since = row["since"].strftime("%Y-%m-%d %H:%M:%S UTC") if row["since"] else ""
        click.echo(f"{row['id']:>8}  {row['state']:<9}  {row['attempts']} tries  {since}  {row['task']}")
    if not rows:
        click.echo("No such jobs.")


@jobs.command()
@click.argument("job_id", type=int, required=False)
@click.option("--all-failed", is_flag=True, help="All jobs that have failed.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def retry(*, job_id: int | None, all_failed: bool, as_json: bool) -> None:
    """Run a failed job again, or all of them. Remove the reason first: see the log of the worker."""
    if (job_id is None) is not all_failed:
        raise click.UsageError("Name one job, or say --all-failed.")
    keys: list[int] = []
    with _connection() as connection:
        if all_failed:
            keys = list(connection.scalars(_FAILED))
        elif connection.scalar(_IS_FAILED, {"id": job_id}) is None:
            raise click.ClickException(f"There is no failed job {job_id}.")
        else:
            keys = [int(job_id or 0)]
        for key in keys:
            connection.execute(_RETRY, {"id": key})
    click.echo(json.dumps({"again": keys}) if as_json else f"{len(keys)} jobs run again.")
