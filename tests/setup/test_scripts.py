"""The scripts of bin/ say in a sentence what is wrong and what to do."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = shutil.which("python3", path="/usr/bin") or shutil.which("python3")


@pytest.fixture
def checkout(tmp_path):
    """The files that the scripts need, at a place of their own."""
    folder = tmp_path / "kontor"
    for name in ("bin", "deploy", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def run(checkout, tmp_path):
    """Run a script of the checkout; `wrapper` comes before it."""

    def _run(*command, wrapper=(), **variables):
        inherited = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path)}
        environment = inherited | {"KONTOR_STATE_DIR": str(tmp_path / "state")} | variables
        return subprocess.run(
            [*wrapper, *command],
            check=False,
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return _run


def _program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_missing_python3_venv_is_named_with_the_package_to_install(run, tmp_path):
    python = _program(tmp_path / "python3", f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec {PYTHON} "$@"')
    done = run("bin/setup", "dev", KONTOR_PYTHON=python)
    assert done.returncode == 1
    assert "can't make virtual environments" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


def test_a_python_that_is_too_old_is_not_taken(run, tmp_path):
    old = _program(tmp_path / "python3", "exit 1")
    done = run("bin/setup", "dev", KONTOR_PYTHON=old)
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_state_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").touch()
    done = run("bin/setup", "dev", KONTOR_STATE_DIR=str(tmp_path / "file" / "state"))
    assert done.returncode == 1
    assert "can't be written" in done.stderr
    assert "chown" in done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_without_room_is_reported_before_anything_is_installed(run, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=20m none {disk} && exec bin/setup dev"
    done = run("sh", "-c", mount, wrapper=("unshare", "--mount"), KONTOR_STATE_DIR=str(disk / "state"))
    assert done.returncode == 1
    assert "MB left; Kontor needs 1500 MB" in done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="switching to another user needs root")
def test_an_ordinary_user_gets_the_one_line_that_installs_missing_packages(run, checkout):
    with (checkout / "deploy" / "debian-packages.txt").open("a", encoding="utf-8") as file:
        file.write("\nno-such-package-one\nno-such-package-two?\n")
    checkout.parent.chmod(0o755)
    nobody = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
    reachable = subprocess.run([*nobody, "test", "-r", checkout / "Makefile"], check=False).returncode == 0
    if not reachable:
        for folder in checkout.parents:
            if folder != Path("/tmp") and Path("/tmp") in folder.parents:
                folder.chmod(0o755)
    done = run("bin/debian-packages", wrapper=nobody)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "apt-get install" in line]
    assert line.strip().startswith("Install them: sudo apt-get install --no-install-recommends ")
    assert "no-such-package-one" in line
    assert "no-such-package-two" not in line


def test_a_second_set_up_waits_for_the_first(run, tmp_path):
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True)
    with subprocess.Popen(["flock", state / "setup.lock", "sleep", "4"]):
        time.sleep(0.3)
        began = time.monotonic()
        # A broken index makes the set-up end right after the wait.
        done = run(
            "bin/setup",
            "dev",
            PIP_INDEX_URL="http://127.0.0.1:9/simple",
            PIP_RETRIES="0",
            PIP_CONFIG_FILE="/dev/null",
        )
        assert time.monotonic() - began > 0.5
    assert "Another set-up is running" in done.stderr


@pytest.mark.slow
def test_without_a_network_the_set_up_says_so_and_can_be_repeated(run):
    offline = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    for _attempt in range(2):
        done = run("bin/setup", "dev", **offline)
        assert done.returncode == 1
        assert "couldn't be downloaded" in done.stderr
        assert "run the same command again" in done.stderr


def test_make_alone_lists_every_target(run, checkout):
    done = run("make")
    phony = next(
        line for line in (checkout / "Makefile").read_text(encoding="utf-8").splitlines() if ".PHONY" in line
    )
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()] == phony.split()[1:]


def test_a_reset_without_a_terminal_deletes_nothing(run, tmp_path):
    (tmp_path / "state" / "postgres").mkdir(parents=True)
    done = run("bin/reset")
    assert done.returncode == 1
    assert "bin/reset --yes" in done.stderr
    assert (tmp_path / "state" / "postgres").exists()


def test_the_locks_belong_to_the_declared_dependencies():
    done = subprocess.run(["bin/lock", "--check"], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tests_run_without_the_modules_of_elsewhere(run, checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    _program(checkout / ".venv" / "bin" / "python", 'echo "modules of ${PYTHONPATH-nowhere else}"')
    done = run("bin/test", "--part", "tests", PYTHONPATH="/stray")
    assert "modules of nowhere else" in done.stdout
