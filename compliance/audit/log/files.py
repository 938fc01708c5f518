"""Durable files: what the log writes is on the disk, whole, under its name, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_FLUSHERS = 8


def sync_directory(directory: Path) -> None:
    """Flush a directory, so that names made in it survive a power loss."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directories(directory: Path) -> None:
    """Create a directory with its parents, each one flushed into its parent."""
    if directory.is_dir():
        return
    make_directories(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`: temporary file, fsync, rename, fsync of the directory. Raises `OSError`.

    After an error (disk full, for one) the old file is as it was and no temporary file stays behind.
    """
    write_all({path: content}, mode=mode)


def write_all(files: Mapping[Path, bytes], *, mode: int = 0o644) -> None:
    """Write many files, each whole or not at all; all are durable when this returns. Raises `OSError`.

    They are flushed side by side, so that the disk's journal takes them together, and each folder once.
    """
    folders = dict.fromkeys(path.parent for path in files)
    for folder in folders:
        make_directories(folder)
    temporaries = {path: path.with_name(f".{path.name}.new") for path in files}
    try:
        if len(files) < _FLUSHERS:
            for path, content in files.items():
                _write(temporaries[path], content, mode)
        else:
            with ThreadPoolExecutor(_FLUSHERS) as pool:
                list(pool.map(lambda path: _write(temporaries[path], files[path], mode), files))
        for path, temporary in temporaries.items():
            temporary.replace(path)
    except OSError:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise
    for folder in folders:
        sync_directory(folder)


def _write(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
