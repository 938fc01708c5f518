"""Another process that stops in the middle of a rotation or a destruction, so that it can be killed there."""

from __future__ import annotations

import sys
import time
from typing import Any

from crm_server.domain.keys import destruction, rotation
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys
from crm_server.settings import load


def hang(*_arguments: Any) -> None:
    print("here", flush=True)
    time.sleep(60)


def main(what: str, number: str) -> None:
    settings = load()
    engine = db.create_app_engine(settings)
    work = KeyWork(Keys.open(settings, engine, listen=False), engine, settings, system_actor())
    if what == "rotate":
        rotation._BATCH = int(number)
        rotation.rotate(work, hang)
    else:
        work.keys.ring.destroy = hang  # type: ignore[method-assign]
        destruction.destroy(work, int(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
