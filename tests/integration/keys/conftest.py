"""A database and a key ring of their own: these tests commit, erase, rotate and destroy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from crm_server.kernel import db
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.keys import Keys
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.settings import Settings, load
from tests.conftest import copy_database


@dataclass
class Site:
    """An installation with its ring."""

    settings: Settings
    engine: Engine
    keys: Keys
    factory: sessionmaker[Session]

    def session(self) -> Session:
        return db.open_session(self.factory, system_actor(Origin.CLI))

    def open(self, *, listen: bool = False, restored: bool = False, **settings: object) -> Keys:
        """The keys of another process of the same installation."""
        chosen = Settings({**self.settings.values, **settings})
        return Keys.open(chosen, self.engine, listen=listen, restored=restored)


def settings_of(cluster: Cluster, name: str, state: Path, **more: str) -> Settings:
    return load(
        {
            "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, name),
            "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, name),
            "KONTOR_LOG_FORMAT": "text",
            "KONTOR_STATE_DIR": str(state),
            **more,
        }
    )


@pytest.fixture
def site(cluster: Cluster, template: str, tmp_path: Path) -> Iterator[Site]:
    copy_database(cluster, template, "kontor_keys")
    settings = settings_of(cluster, "kontor_keys", tmp_path)
    engine = db.create_app_engine(settings)
    keys = Keys.open(settings, engine, listen=False)
    yield Site(settings, engine, keys, db.session_factory(engine, settings, keys))
    keys.close()
    engine.dispose()
