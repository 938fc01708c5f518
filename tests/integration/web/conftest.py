"""A database of its own for the pages, whose requests commit: tests elsewhere find the shared one empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from crm_server.kernel import db
from crm_server.kernel.keys import Keys
from crm_server.local.postgres import Cluster
from crm_server.settings import Settings
from tests.conftest import copy_database, see_everything, settings_of

NAME = "kontor_web"


@pytest.fixture(scope="package")
def settings(cluster: Cluster, template: str) -> Settings:
    """Settings of the application against this database."""
    copy_database(cluster, template, NAME)
    return settings_of(cluster, NAME)


@pytest.fixture(scope="package")
def engine(settings: Settings) -> Iterator[Engine]:
    """What tests look at without an actor, they look at as the system; the application has its own engine."""
    made = see_everything(db.create_app_engine(settings))
    yield made
    made.dispose()


@pytest.fixture(scope="package")
def keys(settings: Settings, engine: Engine) -> Iterator[Keys]:
    """The keys of this database; what other processes erase isn't heard."""
    made = Keys.open(settings, engine, listen=False)
    yield made
    made.close()
