"""Another process of the installation: it hangs in the middle of a transaction, or watches a key until it is erased."""

from __future__ import annotations

import sys
import time
from uuid import UUID, uuid4

from compliance.datamap import KeyClass
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys, keys_of
from crm_server.settings import load
from security.crypto.document import document_kid


def main(what: str, *arguments: str) -> None:
    settings = load()
    engine = db.create_app_engine(settings)
    keys = Keys.open(settings, engine)
    with db.open_session(db.session_factory(engine, settings, keys), system_actor()) as session:
        bound = keys_of(session)
        if what == "hang":
            bound.for_sealing(uuid4(), KeyClass.IDENTITY)
            print("made", flush=True)
            time.sleep(60)
            return
        subject, blob = UUID(arguments[0]), bytes.fromhex(arguments[1])
        assert keys._listener is not None
        assert keys._listener.heard.wait(90)
        bound.column(2, KeyClass.IDENTITY).open(
            bound.by_id(document_kid(blob)), blob, subject.bytes, subject.bytes, 1
        )
        session.rollback()
        print("cached" if len(keys.cache) == 1 else "not cached", flush=True)
        while len(keys.cache):
            time.sleep(0.005)
        print("dropped", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
