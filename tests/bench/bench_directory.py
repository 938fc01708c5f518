"""A directory of 5,000 people with a group of 2,500: reading it whole, and comparing it with 2,500 accounts (AUTH-5).

A real slapd on loopback, the product's schema on a private PostgreSQL with durable commits.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from crm_server.domain.identity import services
from crm_server.domain.identity.directory_models import CompanyDirectory
from crm_server.kernel import db
from crm_server.kernel.hot import Hot
from crm_server.kernel.keys import Keys
from tests.bench.bench_audit_overhead import product
from tests.integration.identity.conftest import World
from tests.integration.identity.servers import Authority, running_slapd
from tests.integration.identity.test_directory_size import MEMBERS, PEOPLE_COUNT, accounts_of, large_ldif

AIM = 30.0


def run() -> list[dict[str, Any]]:
    """Seconds of the first comparison, which changes every account, and of one that finds nothing to do."""
    with tempfile.TemporaryDirectory(prefix="kontor-bench-") as folder, product() as settings:
        authority = Authority(Path(folder))
        engine = db.create_app_engine(settings)
        factory = db.session_factory(engine, settings, Keys.open(settings, engine, listen=False))
        hot = Hot(settings)
        world = World(services.make(factory, hot), factory, engine, hot)
        with running_slapd(Path(folder) / "slapd", authority, large_ldif()) as server:
            key = accounts_of(world, server)
            took = []
            for _round in range(2):
                start = time.perf_counter()
                with world.session() as session:
                    row = session.get_one(CompanyDirectory, key)
                    world.services.directories.compare(session, row, apply=True)
                    session.commit()
                took.append(time.perf_counter() - start)
        hot.dispose()
        engine.dispose()
    names = ("first, every account changes", "again, nothing changes")
    return [
        {
            "name": f"directory of {PEOPLE_COUNT:,} with {MEMBERS:,} accounts: {name}",
            "value": seconds,
            "unit": "s",
            "limit": AIM,
            "met": seconds <= AIM,
        }
        for name, seconds in zip(names, took, strict=True)
    ]
