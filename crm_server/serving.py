"""The web server: granian, with the application read before its workers are forked (`python -m crm_server.serving`).

Takes granian's own arguments. The modules of the application, and the declarations made of them, are the same in each
worker, so the main process reads them once and the workers share their memory. They are frozen for the collector,
whose marks would copy them all. Connections, keys and threads belong to a worker and are made there.
"""

from __future__ import annotations

import gc
import sys

from granian.cli import entrypoint
from sqlalchemy.orm import configure_mappers

import crm_server.app  # noqa: F401 - the workers find it read
from crm_server.models import datamap


def main(application: str = "crm_server.app:from_environment") -> None:
    """Serve until a signal ends it.

    Args:
        application: Module and function that makes the WSGI application in each worker.
    """
    configure_mappers()
    datamap()
    gc.collect()
    gc.freeze()
    # A worker that is told to end before it has begun doesn't hear it, so there is a time after which it is killed.
    sys.argv[1:1] = (
        "--interface",
        "wsgi",
        "--no-ws",
        "--workers-kill-timeout",
        "10",
        "--factory",
        application,
    )
    entrypoint()


if __name__ == "__main__":
    main()
