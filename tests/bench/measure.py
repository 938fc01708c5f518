"""Tools of the benchmarks: CPU time of processes as the operating system counts it, wrk and pgbench as load."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> set[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = set(), [root]
    while queue:
        pid = queue.pop()
        found.add(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree, with what its ended children used."""
    total = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[place]) for place in (11, 12, 13, 14))
    return total / TICKS


def resident_megabytes(pids: Iterable[int]) -> float:
    """The largest resident set among some processes."""
    largest = 0.0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        largest = max(largest, int(found[1]) / 1024 if found else 0)
    return largest


def proportional_megabytes(pids: Iterable[int]) -> float:
    """The largest proportional set among some processes: a page that n of them share counts an n-th for each."""
    largest = 0.0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        found = re.search(r"(?m)^Pss:\s+(\d+) kB", rollup)
        largest = max(largest, int(found[1]) / 1024 if found else 0)
    return largest


@dataclass(frozen=True, slots=True)
class Load:
    """What a load run showed."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int


def wrk(url: str, script: Path, *, clients: int = 16, seconds: int = 6, token: str = "") -> Load:
    """Run wrk with a Lua script that makes the requests."""
    done = subprocess.run(
        [
            "wrk",
            "--threads=1",
            f"--connections={clients}",
            f"--duration={seconds}s",
            "--latency",
            "--timeout=20s",
            f"--script={script}",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TOKEN": token},
    ).stdout
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", done)))
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    return Load(
        per_second=float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1]),  # type: ignore[index]
        p50_ms=_milliseconds(re.search(r"(?m)^\s+50%\s+(\S+)", done)[1]),  # type: ignore[index]
        p99_ms=_milliseconds(re.search(r"(?m)^\s+99%\s+(\S+)", done)[1]),  # type: ignore[index]
        requests=int(re.search(r"(\d+) requests in", done)[1]),  # type: ignore[index]
        errors=errors + (int(wrong[1]) if wrong else 0),
    )


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1), ("s", 1000), ("m", 60_000)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)


def pgbench(
    binaries: Path, address: dict[str, str], script: Path, *, clients: int = 16, seconds: int = 6
) -> float:
    """Transactions a second of a pgbench script with prepared statements."""
    done = subprocess.run(
        [
            binaries / "pgbench",
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={clients}",
            "--jobs=1",
            f"--time={seconds}",
            f"--file={script}",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **address},
    )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if found is None or "aborted" in done.stderr:
        raise RuntimeError(f"pgbench: {done.stderr.strip()[-500:]}")
    return float(found[1])
