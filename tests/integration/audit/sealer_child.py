"""Run as a process of its own by the tests: seals until there is nothing left, or dies at the step it was
told.

Arguments: port, database, folder, hexadecimal private key, step to die at (or "-"), how often to pass it
first.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psycopg2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit.log.note import Signer
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.sealer import Sealer, SealerConfig

ORIGIN = "kontor.example/audit"


def main(port: str, database: str, folder: str, key: str, fatal: str, passes: str) -> None:
    """Seal everything in batches of 100."""
    left = int(passes)

    def on_step(name: str) -> None:
        nonlocal left
        if name == fatal:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    source = PostgresSource(
        lambda: psycopg2.connect(host="127.0.0.1", port=int(port), user="kontor", dbname=database), "tenant-1"
    )
    signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)))
    config = SealerConfig(Path(folder) / "mirror", Path(folder) / "state.json", batch=100)
    with Sealer(source, signer, config, on_step=on_step) as sealer:
        while sealer.run_once().count:
            pass
    source.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
