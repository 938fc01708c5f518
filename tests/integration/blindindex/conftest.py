"""A made-up entity with sealed addresses in a database of its own: generations are built, committed and dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, MetaData, text
from sqlalchemy.orm import Mapped, Session, registry, sessionmaker

from compliance.datamap import (
    Base,
    DataMap,
    EntityDef,
    EntityKind,
    EntityPolicy,
    KeyClass,
    Sealed,
    Search,
    Semantic,
    document_version,
    field,
    sealed,
    sealed_document,
)
from compliance.datamap.text import _
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.handling import CONTACT_DETAIL, NAME, SYSTEM
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from crm_server.settings import Settings, load
from tests.conftest import copy_database

_DATABASE = "kontor_blindindex"
_OWN = registry(metadata=MetaData(naming_convention=Base.metadata.naming_convention))


class Scratch(Base):
    __abstract__ = True
    metadata = _OWN.metadata
    registry = _OWN
    _sa_registry = _OWN


class Guest(Scratch):
    __tablename__ = "guest"
    __table_args__ = ({"schema": "crm"},)
    __entity__ = EntityPolicy(
        902, "guest", "guests", _("Guest"), _("Guests"), EntityKind.PART, subject="subject_id"
    )

    id: Mapped[UUID] = field(1, Semantic.ID, _("Id"), SYSTEM, primary_key=True, default=new_id)
    subject_id: Mapped[UUID | None] = field(20, Semantic.ID, _("Data subject"), SYSTEM)
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_version: Mapped[int] = document_version(18)
    name: Sealed[str] = sealed(21, Semantic.TEXT, _("Name"), NAME, search=Search.TEXT)
    email: Sealed[str | None] = sealed(22, Semantic.EMAIL, _("E-mail"), CONTACT_DETAIL, search=Search.EXACT)
    phone: Sealed[str | None] = sealed(23, Semantic.PHONE, _("Phone"), CONTACT_DETAIL, search=Search.EXACT)
    email_private: Sealed[str | None] = sealed(
        24, Semantic.EMAIL, _("Second e-mail"), CONTACT_DETAIL, search=Search.EXACT
    )


@pytest.fixture(scope="session")
def guest() -> EntityDef:
    """The entity; `Base` has one registry of all classes, so only this one is looked at."""
    return DataMap.freeze(_OWN)["guest"]


@pytest.fixture(scope="session")
def own(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    copy_database(cluster, template, _DATABASE)
    made = load(
        {
            "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, _DATABASE),
            "KONTOR_OWNER_DATABASE_URL": cluster.url_for(manage.OWNER, _DATABASE),
            # A ring of its own: these tests make another epoch.
            "KONTOR_KEY_RING": str(tmp_path_factory.mktemp("ring") / "keyring"),
        }
    )
    engine = manage.owner_engine(made.owner_database_url)
    with engine.begin() as connection:
        Scratch.metadata.create_all(connection)
        connection.execute(text("grant select, insert, update, delete on crm.guest to kontor_app"))
        connection.execute(
            text(
                "create trigger forget_tokens after delete on crm.guest referencing old table as stale "
                "for each statement execute function search.forget_tokens()"
            )
        )
    engine.dispose()
    return made


@pytest.fixture(scope="session")
def own_engine(own: Settings) -> Iterator[Engine]:
    engine = db.create_app_engine(own)
    yield engine
    engine.dispose()


@pytest.fixture
def factory(own: Settings, own_engine: Engine) -> Iterator[sessionmaker[Session]]:
    keys = Keys.open(own, own_engine, listen=False)
    yield db.session_factory(own_engine, own, keys)
    keys.close()
    owner = manage.owner_engine(own.owner_database_url)
    with owner.begin() as connection:
        connection.execute(text("truncate crm.guest, search.token, search.token_index"))
    owner.dispose()


@pytest.fixture
def add(factory: sessionmaker[Session], actor: Actor) -> Callable[..., UUID]:
    """Store a guest and return its key."""

    def make(**values: Any) -> UUID:
        given: dict[str, Any] = {"id": new_id(), "subject_id": new_id(), "name": "Anna Kern"}
        with db.open_session(factory, actor) as session:
            made = Guest(**given | values)
            session.add(made)
            db.commit(session)
            key: UUID = made.id
            return key

    return make
