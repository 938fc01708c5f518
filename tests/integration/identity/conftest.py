"""What the tests of this folder share: a directory server, and a database with the identity services on it."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from compliance.audit.models import AuditEvent
from crm_server.domain.identity import services
from crm_server.domain.identity.models import Role, User
from crm_server.domain.identity.services import Client, IdentityServices
from crm_server.domain.identity.services.login import LoginService
from crm_server.kernel import db
from crm_server.kernel.actor import Actor, Origin, system_actor
from crm_server.kernel.clock import now
from crm_server.kernel.hot import Hot
from crm_server.kernel.keys import Keys
from crm_server.settings import Settings
from security.identity import totp
from tests.conftest import copy_database, settings_of
from tests.integration.identity.openldap_data import openldap_ldif
from tests.integration.identity.providers import CanailleServer, Liar, running_canaille, running_liar
from tests.integration.identity.servers import Authority, Slapd, running_slapd
from tests.searching import searching, with_search

if TYPE_CHECKING:
    from crm_server.local.postgres import Cluster

GOOD = "velvet otter compiles"
CLIENT = Client(request_id=UUID(int=1), address="192.0.2.7", user_agent="Tests")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Slapd]:
    folder: Path = tmp_path_factory.mktemp("slapd")
    with running_slapd(folder / "server", authority, openldap_ldif()) as server:
        yield server


@pytest.fixture(scope="session")
def canaille(authority: Authority) -> Iterator[CanailleServer]:
    with running_canaille(authority) as server:
        yield server


@pytest.fixture
def liar(authority: Authority) -> Iterator[Liar]:
    with running_liar(authority) as server:
        yield server


@pytest.fixture(scope="session")
def identity_settings(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings for a database of these tests alone: log-in commits by itself."""
    copy_database(cluster, template, "kontor_identity")
    return with_search(
        settings_of(
            cluster,
            "kontor_identity",
            KONTOR_STATE_DIR=str(tmp_path_factory.mktemp("state")),
            # Providers of the tests are on loopback, which nobody may call otherwise.
            KONTOR_OUTGOING_NETWORKS="127.0.0.0/8,::1",
        )
    )


@pytest.fixture(scope="session")
def identity_search(identity_settings: Settings) -> Iterator[None]:
    """The search service, for tests that find people."""
    with searching(identity_settings):
        yield


@pytest.fixture(scope="session")
def identity_engine(identity_settings: Settings) -> Iterator[Engine]:
    made = db.create_app_engine(identity_settings, pool_size=20)
    yield made
    made.dispose()


@dataclass
class World:
    """The services, and short cuts for what tests say again and again."""

    services: IdentityServices
    factory: sessionmaker[Session]
    engine: Engine
    hot: Hot
    count: int = 0

    def session(self, actor: Actor | None = None) -> Session:
        return db.open_session(self.factory, actor or system_actor(Origin.CLI))

    def user(self, *roles: str, password: str | None = GOOD) -> User:
        """A fresh active user who has a password."""
        World.count += 1
        with self.session() as session:
            made = self.services.users.create(session, f"user{World.count}", f"Person {World.count}")
            if roles:
                keys = [role.id for role in session.scalars(select(Role).where(Role.name.in_(roles)))]
                self.services.users.set_roles(session, made.id, keys)
            token = self.services.links.make(session, made)
            session.commit()
        if password is not None:
            self.services.links.redeem(token, password, CLIENT)
        self.forget_limits()
        with self.session() as session:
            return session.get_one(User, made.id)

    def enrol_app(self, user: User) -> tuple[bytes, tuple[str, ...]]:
        """Enrol an authenticator app a minute ago; returns the seed and the recovery codes."""
        past = now() - timedelta(minutes=2)
        with self.session() as session, time_machine.travel(past, tick=False):
            enrolment = self.services.factors.begin_totp(session, user.id, user.login)
            text = enrolment.seed_text.replace(" ", "")
            seed = base64.b32decode(text + "=" * (-len(text) % 8))
            codes = self.services.factors.confirm_totp(
                session, user.id, totp.code_at(seed, int(past.timestamp()) // 30)
            )
            session.commit()
        assert codes is not None
        self.forget_limits()
        return seed, codes

    def forget_limits(self) -> None:
        with self.engine.begin() as connection:
            connection.exec_driver_sql("delete from identity.rate_limit")

    def reasons(self, action: str, user: User | None = None) -> list[str | None]:
        """Reasons of the audit events of an action, oldest first."""
        with self.session() as session:
            query = select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.event_id)
            if user is not None:
                query = query.where(AuditEvent.object_ref == user.id)
            return [event.reason for event in session.scalars(query)]

    def actions(self, user: User) -> list[str]:
        """Actions of the audit events about a user, oldest first, without captured changes."""
        with self.session() as session:
            query = (
                select(AuditEvent.action)
                .where(AuditEvent.subject_ref.contains([user.id]), AuditEvent.event_class != "change")
                .order_by(AuditEvent.event_id)
            )
            return list(session.scalars(query))


@pytest.fixture(scope="session")
def world(identity_settings: Settings, identity_engine: Engine) -> Iterator[World]:
    keys = Keys.open(identity_settings, identity_engine, listen=False)
    factory = db.session_factory(identity_engine, identity_settings, keys)
    hot = Hot(identity_settings)
    made = services.make(factory, hot)
    # Tests don't wait for the moment at which refusals are answered; one test looks at that alone.
    login: LoginService = made.login
    login._refusal_seconds = 0
    yield World(dataclasses.replace(made, login=login), factory, identity_engine, hot)
    hot.dispose()


@pytest.fixture(autouse=True)
def fresh_limits(request: pytest.FixtureRequest) -> None:
    """Each test starts with unused limits."""
    if "world" in request.fixturenames:
        request.getfixturevalue("world").forget_limits()
