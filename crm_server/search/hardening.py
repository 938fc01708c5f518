"""The memory of a process: no core dump, nobody who reads along, no swap if it may, and nothing kept for nothing."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def harden() -> bool:
    """Protect the memory of this process; says whether it is kept out of swap.

    Locking needs an unlimited RLIMIT_MEMLOCK (in a systemd unit: LimitMEMLOCK=infinity) or root. With a smaller limit
    nothing is tried: an allocation beyond it would fail in the middle of work.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard != resource.RLIM_INFINITY and os.geteuid() != 0:
        return False
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def give_back() -> None:
    """Give the system back what was needed for a while and is free now; where the C library can (that of GNU)."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
