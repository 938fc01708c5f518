"""A made-up entity with two sealed documents, so that the mechanism is tested apart from domains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.orm import Mapped, Session, registry

from compliance.datamap import (
    Base,
    EntityKind,
    EntityPolicy,
    KeyClass,
    Sealed,
    Semantic,
    document_version,
    field,
    sealed,
    sealed_document,
)
from compliance.datamap.text import _
from crm_server.kernel.handling import BUSINESS, CONTACT_DETAIL, NAME, SUPPORT_NOTE, SYSTEM
from crm_server.kernel.ids import new_id
from crm_server.kernel.model import Audited
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage

_OWN = registry(metadata=MetaData(naming_convention=Base.metadata.naming_convention))


class Scratch(Base):
    __abstract__ = True
    metadata = _OWN.metadata
    registry = _OWN
    _sa_registry = _OWN


class Patient(Audited, Scratch):
    __tablename__ = "patient"
    __table_args__ = ({"schema": "crm"},)
    __entity__ = EntityPolicy(
        901, "patient", "patients", _("Patient"), _("Patients"), EntityKind.PART, subject="subject_id"
    )

    subject_id: Mapped[UUID | None] = field(20, Semantic.ID, _("Data subject"), SYSTEM)
    sealed_identity: Mapped[bytes | None] = sealed_document(19, KeyClass.IDENTITY)
    sealed_support: Mapped[bytes | None] = sealed_document(17, KeyClass.SUPPORT)
    sealed_version: Mapped[int] = document_version(18)
    name: Sealed[str] = sealed(21, Semantic.TEXT, _("Name"), NAME, required=True, max_length=40)
    email: Sealed[str | None] = sealed(22, Semantic.EMAIL, _("E-mail"), CONTACT_DETAIL)
    birth_date: Sealed[date | None] = sealed(23, Semantic.DATE, _("Date of birth"), NAME)
    complaint: Sealed[str | None] = sealed(24, Semantic.LONG_TEXT, _("Complaint"), SUPPORT_NOTE)
    ward: Mapped[str | None] = field(25, Semantic.TEXT, _("Ward"), BUSINESS)


@pytest.fixture(scope="session", autouse=True)
def tables(cluster: Cluster, database: str) -> Iterator[None]:
    """The table of patients in the shared test database, with its triggers."""
    engine = manage.owner_engine(cluster.url_for(manage.OWNER, database))
    with engine.begin() as connection:
        Scratch.metadata.create_all(connection)
        connection.execute(text("select kontor.attach_record_triggers('crm.patient', 901::smallint, false)"))
        connection.execute(text("grant select, insert, update, delete on crm.patient to kontor_app"))
    yield
    with engine.begin() as connection:
        Scratch.metadata.drop_all(connection)
    engine.dispose()


@pytest.fixture
def patient(session: Session) -> Callable[..., Patient]:
    """Make a patient and read it anew, so that nothing of it is known."""

    def make(**values: Any) -> Patient:
        given: dict[str, Any] = {"subject_id": new_id(), "name": "Anna Kern", "email": "anna@example.com"}
        made = Patient(**given | values)
        session.add(made)
        session.flush()
        key = made.id
        session.expunge_all()
        found = session.get(Patient, key)
        assert found is not None
        return found

    return make
