"""Uploads pass through temporary files in clear: these lie in memory, and never on a disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from crm_server.kernel import scratch


def test_temporary_files_lie_in_a_file_system_without_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # ENC-2
    monkeypatch.setattr(tempfile, "tempdir", None)
    scratch.keep_in_memory()
    with tempfile.TemporaryFile() as file:
        kinds = {line.split()[2]: line.split()[0] for line in _mounts()}
        device = os.fstat(file.fileno()).st_dev
        assert kinds[f"{os.major(device)}:{os.minor(device)}"] == "tmpfs"


def test_a_machine_without_one_goes_on_with_its_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "MEMORY", tmp_path)
    scratch.keep_in_memory()
    assert tempfile.tempdir is None


def _mounts() -> list[str]:
    """Kind, place and device number of all mounted file systems."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _dash, after = line.partition(" - ")
        found.append(f"{after.split()[0]} {before.split()[4]} {before.split()[2]}")
    return found
