"""The ordinary user as whom servers run when root starts them.

PostgreSQL refuses to run as root, for good reason. `bin/setup` makes the same user before it drops root;
the functions here serve callers that stay root, which are mostly tests.
"""

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

from crm_server.local.errors import LocalError

NAME = "kontor-trial"


def drop_arguments() -> dict[str, Any]:
    """Arguments for `subprocess` that run a command as an ordinary user: none unless the caller is root.

    Raises:
        LocalError: the system user is missing and can't be made.
    """
    if os.geteuid() != 0:
        return {}
    entry = _entry()
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give(path: Path) -> None:
    """Make the ordinary user the owner of one file or folder; nothing unless the caller is root."""
    if os.geteuid() == 0:
        entry = _entry()
        os.chown(path, entry.pw_uid, entry.pw_gid)


def may_use(path: Path) -> bool:
    """Whether the ordinary user can run or enter `path`, all its parent folders included."""
    return subprocess.run(["test", "-x", path], check=False, cwd="/", **drop_arguments()).returncode == 0


def _entry() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            f"/var/lib/{NAME}",
        ]
        made = subprocess.run(
            [*command, "--shell", "/usr/sbin/nologin", NAME], check=False, capture_output=True, text=True
        )
        if made.returncode not in {0, 9}:  # 9: another process was faster
            raise LocalError(
                f"The user {NAME}, as whom PostgreSQL runs, can't be made: {made.stderr.strip()}",
                "Run as an ordinary user instead of root.",
            ) from None
        return pwd.getpwnam(NAME)
