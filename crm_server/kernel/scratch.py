"""Temporary files in memory: uploads and workbooks pass through them in clear, and no disk may keep that (ENC-2).

The server's library puts larger request bodies into temporary files, and a workbook is put together from some. They go
to the memory file system that Linux has at /dev/shm; processes run without swap, so they stay in memory.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger("kontor.scratch")

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the memory file system itself; files in it get random names


def keep_in_memory() -> None:
    """Let all temporary files of this process lie in memory; where that isn't there, say so and go on."""
    if os.access(MEMORY, os.W_OK | os.X_OK) and os.path.ismount(MEMORY):
        tempfile.tempdir = str(MEMORY)
    else:
        log.warning("temporary files lie on disk", reason="no memory file system at /dev/shm")
