"""The processes of a trial machine: which there are, on which port, and whether they answer. `kontor up` is
the caller; `supervisor` keeps them running.
"""

import hashlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from crm_server.local import certificate
from crm_server.local.errors import LocalError
from crm_server.local.supervisor import Process

HOST = "127.0.0.1"
FIRST_PORT = 8443
FIRST_METRICS_PORT = 9464
_PORTS_TRIED = 20
_SLOW_SECONDS = 6.0
_WORKERS = 2
_THREADS = 4  # per worker; a request waits for the database most of its time

# Only the sealer may know the address of its role.
SEALER_URL = "KONTOR_SEALER_DATABASE_URL"

_ROOT = Path(__file__).resolve().parent.parent.parent
_CODE = ("crm_server", "compliance", "security", "monitoring")


def processes(port: int, tls: certificate.Certificate, environment: Mapping[str, str]) -> list[Process]:
    """What runs beside the database: application, worker, search service, sealer, forwarder, metrics."""
    sealers = environment
    environment = {name: value for name, value in environment.items() if name != SEALER_URL}
    programs = Path(sys.executable).parent
    kontor = str(programs / "kontor")
    # HTTP/1.1 alone: over HTTP/2 the server resets a stream whose body was refused, so that the reason never arrives.
    application = [
        *(sys.executable, "-m", "crm_server.serving"),
        *("--host", HOST, "--port", str(port)),
        *("--workers", str(_WORKERS), "--blocking-threads", str(_THREADS)),
        *("--ssl-certificate", str(tls.chain), "--ssl-keyfile", str(tls.key), "--ssl-protocol-min", "tls1.2"),
        *("--http", "1", "--respawn-failed-workers"),
    ]
    found = [
        Process("app", application, environment),
        Process("worker", [kontor, "worker"], environment),
        Process("search", [kontor, "search", "serve"], environment),
        Process("metrics", [kontor, "metrics"], environment),
        Process("forwarder", [kontor, "siem", "forward"], environment),
    ]
    if sealers.get(SEALER_URL):
        found.append(Process("sealer", [kontor, "sealer"], sealers))
    return found


def choose_port(variable: str, wanted: str | None, first: int) -> int:
    """The port that the person asked for in the environment `variable`, else the first free one from `first`.

    Raises:
        LocalError: the port asked for is taken or no port, or none is free.
    """
    if wanted:
        if not (wanted.isdigit() and 0 < int(wanted) < 65536):
            raise LocalError(f"{variable}={wanted} is not a port.", "Choose a number from 1024 to 65535.")
        if not _is_free(int(wanted)):
            raise LocalError(
                f"Port {wanted} can't be used: another program listens on it, or it is reserved.",
                f"End that program, choose another {variable}, or unset it and let Kontor find a free one.",
            )
        return int(wanted)
    for port in range(first, first + _PORTS_TRIED):
        if _is_free(port):
            return port
    raise LocalError(
        f"No port from {first} to {first + _PORTS_TRIED - 1} is free.",
        f"Name a free one: {variable}={first + 1000} make run",
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def fingerprint() -> str:
    """Changes whenever a file of the running code does, so that a second start knows whether to restart."""
    digest = hashlib.sha256()
    for package in _CODE:
        for folder, folders, files in os.walk(_ROOT / package):
            folders[:] = sorted(set(folders) - {"__pycache__", "src"})
            for name in sorted(files):
                path = Path(folder) / name
                stat = path.stat()
                digest.update(f"{path}:{stat.st_mtime_ns}:{stat.st_size}\n".encode())
    return digest.hexdigest()[:16]


def answers(port: int, authority: Path) -> bool:
    """Whether the application says at /readyz that it can serve."""
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_ready(
    port: int, authority: Path, log_dir: Path, environment: Mapping[str, str], *, seconds: float = 60
) -> None:
    """Return as soon as the application can serve.

    Raises:
        LocalError: it can't be built, which is looked into when it takes long, or it does not answer in time.
    """
    began = time.monotonic()
    suspicious = True
    while not answers(port, authority):
        waited = time.monotonic() - began
        if waited > seconds:
            log = (log_dir / "app.log").read_text(encoding="utf-8", errors="replace")
            raise LocalError(
                "\n".join([f"It did not answer within {seconds:.0f} seconds.", *log.splitlines()[-12:]]),
                "Everything that it wrote: make logs. To end it: make stop",
            )
        if suspicious and waited > _SLOW_SECONDS:
            suspicious = False
            _check_that_it_can_be_built(environment)
        time.sleep(0.15)


def _check_that_it_can_be_built(environment: Mapping[str, str]) -> None:
    program = "import crm_server.app; crm_server.app.main()"
    built = subprocess.run(
        [sys.executable, "-c", program], env=dict(environment), check=False, capture_output=True, text=True
    )
    if built.returncode != 0:
        raise LocalError(
            "\n".join(["The application can't start:", *built.stderr.strip().splitlines()[-12:]]),
            "Mend what the last lines name, then run the same command again. To end the attempts: make stop",
        )


def need_room(folder: Path, megabytes: int = 500) -> None:
    """Refuse to start on a disk that is about to be full: PostgreSQL would stop in the middle of work.

    Raises:
        LocalError: less than `megabytes` are free.
    """
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < megabytes:
        raise LocalError(
            f"The disk of {folder} has {free} MB left; Kontor needs {megabytes} MB to work.",
            "Make room, or name a folder on another disk in KONTOR_STATE_DIR.",
        )
