"""The supervisor with real processes: restarts, graceful and ungraceful ends, one at a time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crm_server.local import supervisor

PROGRAM = """
import json, os, sys
from pathlib import Path
from crm_server.local.supervisor import Process, Supervisor
folder = Path(sys.argv[1])
processes = [Process(name, ["sh", "-c", text], os.environ) for name, text in json.loads(sys.argv[2]).items()]
watcher = Supervisor(processes, folder, folder)
watcher.run({"port": 1}, when_stopped=(folder / "stopped").touch)
"""


@pytest.fixture
def supervise(tmp_path):
    """Start a supervisor of shell programs by name, as a process of its own."""
    started = []

    def _start(**programs):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, tmp_path, json.dumps(programs)],
            cwd=Path(__file__).resolve().parents[3],
        )
        started.append(process)
        _wait(lambda: (supervisor.running(tmp_path) or {}).get("pid") == process.pid)
        return process

    yield _start
    for process in started:
        process.kill()
        process.wait()


def _wait(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_output_goes_to_the_log_of_the_process(supervise, tmp_path):
    supervise(app="echo hello; echo trouble >&2; exec sleep 60")
    _wait(lambda: (tmp_path / "app.log").read_text() == "hello\ntrouble\n")


def test_a_process_that_ends_is_started_again_after_a_pause(supervise, tmp_path):
    began = time.monotonic()
    supervise(app=f"echo x >> {tmp_path}/starts; exit 3")
    _wait(lambda: (tmp_path / "starts").exists() and len((tmp_path / "starts").read_text().split()) == 3)
    assert time.monotonic() - began > 2.5, "the pauses are one and two seconds"


def test_stop_ends_all_processes_gracefully_and_then_what_they_stood_on(supervise, tmp_path):
    words = f"trap 'echo bye > {tmp_path}/bye; exit 0' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
    process = supervise(app=words)
    _wait((tmp_path / "pid").exists)
    assert supervisor.stop(tmp_path) is True
    assert process.wait(90) == 0
    assert (tmp_path / "bye").exists()
    assert (tmp_path / "stopped").exists()
    assert supervisor.running(tmp_path) is None
    assert supervisor.stop(tmp_path) is False


def test_no_process_survives_a_killed_supervisor(supervise, tmp_path):
    process = supervise(app=f"echo $$ > {tmp_path}/pid; exec sleep 60")
    _wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    assert _lives(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait(lambda: not _lives(pid))
    assert supervisor.running(tmp_path) is None


def test_a_second_supervisor_of_the_same_folder_is_refused(supervise, tmp_path):
    supervise(app="exec sleep 60")
    second = supervisor.Supervisor([], tmp_path, tmp_path)
    with pytest.raises(supervisor.AlreadyRunningError):
        second.run({}, when_stopped=lambda: None)


def test_secrets_of_the_environment_stay_out_of_the_representation():
    process = supervisor.Process("app", ["true"], {"KONTOR_DATABASE_URL": "postgresql://a:secret@b/c"})
    assert "secret" not in repr(process)
    assert os.environ.get("PATH", "none") not in repr(process)
