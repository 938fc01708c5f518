"""`kontor up`, `stop` and `logs` as a person meets them: the whole CRM starts, answers, and stops."""

import http.client
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from crm_server.cli import up
from crm_server.local import account, trial

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def program():
    """The command `kontor`; for root the one that `make run` installs for the trial's user."""
    if os.geteuid() != 0:
        yield Path(sys.executable).with_name("kontor")
        return
    with tempfile.TemporaryDirectory(prefix="kontor-installed-") as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / "state"
        subprocess.run(
            [ROOT / "bin" / "setup", "run"], check=True, env=os.environ | {"KONTOR_STATE_DIR": str(state)}
        )
        state.chmod(0o755)
        yield state / "app" / ".venv" / "bin" / "kontor"


@pytest.fixture
def kontor(program):
    """Run `kontor` with a state folder of its own, as an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="kontor-up-", ignore_cleanup_errors=True) as folder:
        state = Path(folder)
        account.give(state)
        environment = {name: text for name, text in os.environ.items() if not name.startswith("KONTOR_")}
        environment |= {"KONTOR_STATE_DIR": str(state), "HOME": str(state)}

        def _run(*command, calling=(program,), **variables):
            # Files and no pipes: the processes in the background would keep a pipe open.
            with (state / "said").open("w") as said:
                done = subprocess.run(
                    [*calling, *command],
                    check=False,
                    cwd="/",
                    env=environment | variables,
                    stdout=said,
                    stderr=said,
                    timeout=120,
                    **account.drop_arguments(),
                )
            return done.returncode, (state / "said").read_text()

        _run.state = state
        yield _run
        _run("stop")


def _status(state, path):
    """Status of a request that trusts the authority of this trial."""
    port = json.loads((state / "run" / "up.json").read_text())["port"]
    context = ssl.create_default_context(cafile=str(state / "tls" / "ca.pem"))
    with closing(http.client.HTTPSConnection("localhost", port, timeout=10, context=context)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@pytest.mark.slow
def test_it_comes_up_stays_up_and_goes_down(kontor, program):
    code, said = kontor("up", "--detach", "--no-demo")
    assert code == 0, said
    assert "Kontor answers at https://localhost:" in said
    assert _status(kontor.state, "/readyz") == 200

    first = json.loads((kontor.state / "run" / "up.json").read_text())
    code, said = kontor("up", "--detach", "--no-demo")
    assert code == 0, said
    assert json.loads((kontor.state / "run" / "up.json").read_text()) == first, "it was left running"

    here = (program.with_name("python"), "-P", "-m", "crm_server.cli.here")  # what bin/kontor calls
    assert kontor("db", "check", calling=here) == (0, "The schema fits.\n")
    assert stat.S_IMODE((kontor.state / "run" / "up.json").stat().st_mode) == 0o600

    assert kontor("logs", "app")[0] == 0
    code, said = kontor("stop")
    assert (code, said) == (0, "Kontor has stopped; its data stays.\n")
    assert kontor("stop")[1] == "Kontor was not running.\n"
    assert kontor("db", "check", calling=here) == (
        3,
        "kontor: Kontor does not run here.\n  Start it: make run\n",
    )


def test_what_runs_is_left_alone_unless_other_code_or_another_setting_is_asked_for(monkeypatch):
    running = {"fingerprint": "1", "settings": {"KONTOR_PORT": "8443", "KONTOR_LOG_LEVEL": "info"}}
    for name in [name for name in os.environ if name.startswith("KONTOR_")]:
        monkeypatch.delenv(name)
    assert up.is_what_is_asked(running, {"fingerprint": "1"})
    assert not up.is_what_is_asked(running, {"fingerprint": "2"})
    monkeypatch.setenv("KONTOR_PORT", "8443")
    assert up.is_what_is_asked(running, {"fingerprint": "1"})
    monkeypatch.setenv("KONTOR_LOG_LEVEL", "debug")
    assert not up.is_what_is_asked(running, {"fingerprint": "1"})


def test_a_port_that_is_in_use_is_named_before_anything_starts(kontor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = kontor("up", "--detach", "--no-demo", KONTOR_PORT=str(port))
    assert code == 3
    assert f"Port {port} can't be used: another program listens on it" in said
    assert "KONTOR_PORT" in said
    assert not (kontor.state / "postgres").exists()


def test_a_mistyped_setting_is_named_before_anything_starts(kontor):
    code, said = kontor("up", "--detach", KONTOR_HTTPS_PORT="8443")
    assert code == 3
    assert "KONTOR_HTTPS_PORT: no such setting" in said
    assert not (kontor.state / "postgres").exists()


def test_a_database_that_does_not_answer_is_named(kontor):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"postgresql://someone:hidden@127.0.0.1:{free.getsockname()[1]}/postgres"
        code, said = kontor("up", "--detach", DATABASE_URL=address)
    assert code == 3
    assert "The database of DATABASE_URL could not be prepared" in said
    assert "hidden" not in said


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs a copy of the code")
def test_a_second_set_up_leaves_what_it_built(program):
    state = program.parents[3]
    dist = state / "app" / "crm_server" / "web" / "assets" / "dist"
    built = (dist / "manifest.json").stat().st_mtime_ns
    subprocess.run([ROOT / "bin/setup", "run"], check=True, env=os.environ | {"KONTOR_STATE_DIR": str(state)})
    assert (dist / "manifest.json").stat().st_mtime_ns == built


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as root")
def test_root_is_sent_to_make_run(program):
    done = subprocess.run([program, "up"], check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert "make run" in done.stderr


def test_a_disk_that_is_nearly_full_is_refused():
    with pytest.raises(trial.LocalError, match="MB left"):
        trial.need_room(Path("/"), megabytes=10**9)


@pytest.mark.parametrize("wanted", ["http", "0", "70000", "-1"])
def test_what_is_no_port_is_refused(wanted):
    with pytest.raises(trial.LocalError, match="is not a port"):
        trial.choose_port("KONTOR_PORT", wanted, 8443)
