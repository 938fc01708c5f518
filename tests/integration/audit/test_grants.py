"""What the database roles can do to the log. # AUD-2"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit.log.note import Signer
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.sealer import Sealer, SealerConfig

from .conftest import ORIGIN, Cluster, as_role, insert_events


@pytest.mark.parametrize("table", ["event", "leaf", "log", "checkpoint"])
@pytest.mark.parametrize("statement", ["delete from {}", "truncate {}", "update {} set ctid = ctid"])
def test_the_application_cannot_rewrite_the_log(
    cluster: Cluster, guarded: str, table: str, statement: str
) -> None:
    connection = as_role(cluster, guarded, "kontor_app")
    with connection.cursor() as sql, pytest.raises(psycopg2.Error) as caught:
        sql.execute(statement.format(f"audit.{table}").replace("ctid = ctid", COLUMN[table]))
    connection.close()
    assert isinstance(caught.value, psycopg2.errors.InsufficientPrivilege)


@pytest.mark.parametrize("parent", ["event", "event_payload"])
@pytest.mark.parametrize(
    "statement",
    [
        "delete from {}",
        "truncate {}",
        "update {} set event_id = event_id",
        "select * from {}",
        "drop table {}",
    ],
)
def test_the_application_only_appends_to_a_month(
    cluster: Cluster, guarded: str, parent: str, statement: str
) -> None:
    connection = as_role(cluster, guarded, "kontor_app")
    with connection.cursor() as sql, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql.execute(statement.format(f"audit_part.{parent}_{datetime.now(UTC):%Y_%m}"))
    connection.close()


def test_the_application_cannot_choose_in_a_month_when_an_event_is_sealed(
    cluster: Cluster, guarded: str
) -> None:
    connection = as_role(cluster, guarded, "kontor_app")
    with connection.cursor() as sql, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql.execute(f"insert into audit_part.event_{datetime.now(UTC):%Y_%m} (xid) values ('3')")
    connection.close()


COLUMN = {"event": "action = 'x'", "leaf": "index = 1", "log": "size = 1", "checkpoint": "note = 'x'"}


def test_the_application_appends_events_and_cannot_choose_when_they_are_sealed(
    cluster: Cluster, guarded: str
) -> None:
    connection = as_role(cluster, guarded, "kontor_app")
    insert_events(connection, 2)
    connection.commit()
    with connection.cursor() as sql, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql.execute(
            "insert into audit.event (event_id, occurred_at, event_class, action, outcome, actor_ref, origin, xid) "
            "values (gen_random_uuid(), now(), 'x', 'x', 'x', gen_random_uuid(), 'web', '3')"
        )
    connection.close()


def test_the_sealers_role_is_enough_for_the_sealer_and_for_nothing_else(
    cluster: Cluster, guarded: str, tmp_path: Path
) -> None:
    connection = as_role(cluster, guarded, "kontor_app")
    insert_events(connection, 5)
    connection.commit()
    connection.close()
    source = PostgresSource(lambda: as_role(cluster, guarded, "kontor_sealer"), "t1")
    signer = Signer(ORIGIN, Ed25519PrivateKey.generate())
    with Sealer(source, signer, SealerConfig(tmp_path / "m", tmp_path / "s")) as sealer:
        assert sealer.run_once().count == 5
    source.file_subjects()
    source.close()
    connection = as_role(cluster, guarded, "kontor_sealer")
    for statement in (
        "delete from audit.leaf",
        "update audit.event set action = 'x'",
        "select * from audit.event_payload",
        "select audit.make_partitions(24)",
    ):
        with connection.cursor() as sql, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            sql.execute(statement)
        connection.rollback()
    connection.close()
