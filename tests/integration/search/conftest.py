"""A database of its own for the search service, which sees what is committed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.keys import Keys
from crm_server.local.postgres import Cluster
from crm_server.models import datamap
from crm_server.search.fields import indexed
from crm_server.search.protocol import Find
from crm_server.services import records
from crm_server.settings import Settings
from tests.conftest import copy_database, see_everything, settings_of
from tests.searching import searching, with_search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_server.search.client import SearchClient


@pytest.fixture(scope="package")
def search_settings(cluster: Cluster, template: str) -> Settings:
    copy_database(cluster, template, "kontor_search")
    return with_search(settings_of(cluster, "kontor_search", KONTOR_SEARCH_LIMIT="0"))


@pytest.fixture(scope="package")
def search_engine(search_settings: Settings) -> Iterator[Engine]:
    made = see_everything(db.create_app_engine(search_settings))
    yield made
    made.dispose()


@pytest.fixture(scope="package")
def search_keys(search_settings: Settings, search_engine: Engine) -> Keys:
    return Keys.open(search_settings, search_engine, listen=False)


@pytest.fixture(scope="package")
def client(search_settings: Settings, search_engine: Engine) -> Iterator[SearchClient]:
    with searching(search_settings) as found:
        yield found


class People:
    """Writes contacts, committed, and finds them again."""

    def __init__(self, engine: Engine, settings: Settings, keys: Keys) -> None:
        self.factory = db.session_factory(engine, settings, keys)

    def session(self) -> Session:
        return db.open_session(self.factory, system_actor())

    def add(self, family: str, given: str | None = None, **values: Any) -> UUID:
        with self.session() as session:
            made = records(session, "contact").create({"family_name": family, "given_name": given, **values})
            db.commit(session)
            return UUID(str(made.id))

    def change(self, key: UUID, **values: Any) -> None:
        with self.session() as session:
            service = records(session, "contact")
            service.update(key, values, version=service.get(key).version)
            db.commit(session)

    def delete(self, key: UUID) -> None:
        with self.session() as session:
            service = records(session, "contact")
            service.delete(key, version=service.get(key).version)
            db.commit(session)


@pytest.fixture
def people(search_engine: Engine, search_settings: Settings, search_keys: Keys) -> People:
    return People(search_engine, search_settings, search_keys)


def fields_of(entity: str) -> tuple[int, ...]:
    """Numbers of the fields that are found by text."""
    held = indexed(datamap()[entity])
    assert held is not None
    return tuple(item.number for item in held.fields if item.found)


def found(client: SearchClient, text: str, entity: str = "contact", limit: int = 20) -> list[UUID]:
    """Ids of the hits, best first."""
    number = datamap()[entity].number
    return [UUID(bytes=hit.id) for hit in client.find(Find(text, {number: fields_of(entity)}, limit)).hits]
