"""The data map is complete, coherent and stable (ENC-1): the gate refuses what is not, and numbers never change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import MetaData, String
from sqlalchemy.orm import Mapped, mapped_column, registry

from compliance.datamap import (
    Access,
    Audit,
    Base,
    DataMap,
    EntityKind,
    EntityPolicy,
    Erasure,
    FieldPolicy,
    Handling,
    KeyClass,
    Privacy,
    Semantic,
    Withheld,
    field,
)
from compliance.datamap.field import POLICY
from compliance.datamap.gate import UndeclaredError, incoherent
from compliance.datamap.sealed import FIRST_CUSTOM
from compliance.datamap.text import _
from crm_server import datamap_lock
from crm_server.kernel.handling import BUSINESS, NAME, PERSON_NOTE
from crm_server.models import datamap


def scratch() -> type[Base]:
    """A base of its own, so that no test leaves a table in the application's data map."""

    own = registry(metadata=MetaData(naming_convention=Base.metadata.naming_convention))

    class Scratch(Base):
        __abstract__ = True
        metadata = own.metadata
        registry = own
        _sa_registry = own

    return Scratch


def entity(**changes: Any) -> EntityPolicy:
    values: dict[str, Any] = {
        "number": 900,
        "name": "thing",
        "collection": "things",
        "label": _("Thing"),
        "label_plural": _("Things"),
    }
    return EntityPolicy(**(values | changes))


def key() -> Any:
    return field(1, Semantic.ID, _("Id"), BUSINESS, primary_key=True)


class TestTheGate:
    def test_a_column_without_declaration_stops_the_start(self) -> None:
        base = scratch()
        with pytest.raises(UndeclaredError, match=r"thing\.forgotten: not declared; write it with field\("):

            class Thing(base):
                __tablename__ = "thing"
                __entity__ = entity()
                id: Mapped[UUID] = key()
                forgotten: Mapped[str] = mapped_column(String)

    def test_a_table_without_an_entity_stops_the_start(self) -> None:
        base = scratch()
        with pytest.raises(UndeclaredError, match="no __entity__"):

            class Thing(base):
                __tablename__ = "thing"
                id: Mapped[UUID] = key()

    def test_two_fields_with_one_number_stop_the_start(self) -> None:
        base = scratch()
        with pytest.raises(UndeclaredError, match="field number 2 is taken by name"):

            class Thing(base):
                __tablename__ = "thing"
                __entity__ = entity()
                id: Mapped[UUID] = key()
                name: Mapped[str] = field(2, Semantic.TEXT, _("Name"), BUSINESS)
                other: Mapped[str] = field(2, Semantic.TEXT, _("Other"), BUSINESS)

    def test_personal_data_that_leads_to_no_subject_stops_the_start(self) -> None:
        base = scratch()
        with pytest.raises(UndeclaredError, match="leads to no data subject"):

            class Thing(base):
                __tablename__ = "thing"
                __entity__ = entity()
                id: Mapped[UUID] = key()
                name: Mapped[str] = field(2, Semantic.TEXT, _("Name"), NAME)

    def test_all_problems_of_a_table_are_told_at_once(self) -> None:
        base = scratch()
        with pytest.raises(UndeclaredError) as refused:

            class Thing(base):
                __tablename__ = "thing"
                __entity__ = entity()
                id: Mapped[UUID] = key()
                first: Mapped[str] = mapped_column(String)
                second: Mapped[str] = mapped_column(String)

        assert {"thing.first", "thing.second"} <= {
            line.strip().split(":")[0] for line in str(refused.value).splitlines()
        }

    def test_two_entities_with_one_number_are_refused_when_the_map_is_frozen(self) -> None:
        base = scratch()

        class One(base):
            __tablename__ = "one"
            __entity__ = entity(name="one", collection="ones", kind=EntityKind.PART)
            id: Mapped[UUID] = key()

        class Two(base):
            __tablename__ = "two"
            __entity__ = entity(name="two", collection="twos", kind=EntityKind.PART)
            id: Mapped[UUID] = key()

        with pytest.raises(UndeclaredError, match="entity number 900"):
            DataMap.freeze(base.registry)

    def test_a_reference_to_nothing_is_refused_when_the_map_is_frozen(self) -> None:
        base = scratch()

        class One(base):
            __tablename__ = "one"
            __entity__ = entity(kind=EntityKind.PART)
            id: Mapped[UUID] = key()
            gone_id: Mapped[UUID] = field(2, Semantic.REFERENCE, _("Gone"), BUSINESS, target="nothing")

        with pytest.raises(UndeclaredError, match="no entity is named 'nothing'"):
            DataMap.freeze(base.registry)


def policy(handling: Handling = BUSINESS, **changes: Any) -> FieldPolicy:
    values: dict[str, Any] = {
        "number": 20,
        "semantic": Semantic.TEXT,
        "label": _("Name"),
        "handling": handling,
    }
    return FieldPolicy(**(values | changes))


def treated(like: Handling, **changes: Any) -> Handling:
    return dataclasses.replace(like, **changes)


class TestCoherence:
    @pytest.mark.parametrize(
        "declared,sentence",
        [
            (policy(number=0), "1 or more"),
            (policy(label=_(" ")), "label is empty"),
            (policy(treated(NAME, key_class=KeyClass.NONE)), "stored in clear"),
            (policy(treated(BUSINESS, key_class=KeyClass.IDENTITY)), "not personal"),
            (policy(treated(NAME, erasure=Erasure.NOT_PERSONAL)), "needs an erasure action"),
            (policy(treated(NAME, privacy=Privacy.SPECIAL, access=Access.PERSONAL)), "Art. 9"),
            (policy(treated(NAME, audit=Audit.OFF)), "always audited"),
            (policy(treated(PERSON_NOTE, export=Withheld(" "))), "without a reason"),
            (policy(semantic=Semantic.CHOICE), "a choice without choices"),
            (policy(semantic=Semantic.REFERENCE), "must name its target"),
            (policy(semantic=Semantic.MONEY), "ISO 4217"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_declaration_that_contradicts_itself_is_refused(
        self, declared: FieldPolicy, sentence: str
    ) -> None:
        assert any(sentence in problem for problem in incoherent(declared))

    @pytest.mark.parametrize("handling", [BUSINESS, NAME, PERSON_NOTE])
    def test_the_handlings_of_the_application_are_coherent(self, handling: Handling) -> None:
        assert incoherent(policy(handling)) == []

    def test_required_in_the_declaration_and_nullable_in_the_table_is_refused(self) -> None:
        base = scratch()
        with pytest.raises(UndeclaredError, match="required, but the column is nullable"):

            class Thing(base):
                __tablename__ = "thing"
                __entity__ = entity()
                id: Mapped[UUID] = key()
                name: Mapped[str] = field(2, Semantic.TEXT, _("Name"), BUSINESS, required=True, nullable=True)


class TestTheApplicationsMap:
    def test_every_column_of_every_table_is_declared(self) -> None:
        mapped = {item.table.fullname for item in datamap()}
        assert mapped == set(Base.metadata.tables), "a table that no class maps has no declaration"
        for table in Base.metadata.tables.values():
            for column in table.columns:
                assert isinstance(column.info.get(POLICY), FieldPolicy), f"{table.fullname}.{column.name}"

    def test_every_declaration_is_coherent(self) -> None:
        problems = [
            f"{one.name}.{item.name}: {text}"
            for one in datamap()
            for item in one.fields.values()
            for text in incoherent(item.policy, item.column)
        ]
        assert problems == []

    def test_personal_data_of_records_leads_to_a_data_subject(self) -> None:
        lost = [
            f"{one.name}.{item.name}"
            for one in datamap()
            for item in one.fields.values()
            if item.policy.personal and one.policy.subject is None
        ]
        assert lost == []

    def test_custom_fields_and_fields_in_code_share_no_numbers(self) -> None:
        assert all(item.number < FIRST_CUSTOM for one in datamap() for item in one.fields.values())


class TestTheLedger:
    def test_no_number_means_anything_else_than_it_ever_did(self) -> None:
        assert datamap_lock.conflicts(datamap_lock.read(), datamap_lock.of(datamap())) == []

    def test_the_ledger_knows_every_number(self) -> None:
        added = datamap_lock.missing(datamap_lock.read(), datamap_lock.of(datamap()))
        assert added == [], "run `kontor db datamap-lock` and commit crm_server/datamap.lock.json"

    @pytest.mark.parametrize(
        "now,sentence",
        [
            ({1: ("person", {1: "id"})}, "entity number 1 was account"),
            ({9: ("account", {1: "id"})}, "entity account had number 1, not 9"),
            ({1: ("account", {20: "title"})}, "number 20 was name"),
            ({1: ("account", {21: "name"})}, "account.name had number 20, not 21"),
        ],
    )
    def test_a_reused_number_and_a_moved_name_are_conflicts(
        self, now: datamap_lock.Ledger, sentence: str
    ) -> None:
        ledger: datamap_lock.Ledger = {1: ("account", {1: "id", 20: "name"})}
        assert any(sentence in problem for problem in datamap_lock.conflicts(ledger, now))

    def test_what_is_gone_stays_in_the_ledger(self, tmp_path: Path) -> None:
        path = tmp_path / "lock.json"
        base = scratch()

        class Thing(base):
            __tablename__ = "thing"
            __entity__ = entity(kind=EntityKind.PART)
            id: Mapped[UUID] = key()
            name: Mapped[str] = field(2, Semantic.TEXT, _("Name"), BUSINESS)

        assert datamap_lock.extend(DataMap.freeze(base.registry), path) == ["thing.id (1)", "thing.name (2)"]
        base = scratch()

        class ThingLater(base):
            __tablename__ = "thing"
            __entity__ = entity(kind=EntityKind.PART)
            id: Mapped[UUID] = key()

        assert datamap_lock.extend(DataMap.freeze(base.registry), path) == []
        assert datamap_lock.read(path) == {900: ("thing", {1: "id", 2: "name"})}
        base = scratch()

        class ThingLast(base):
            __tablename__ = "thing"
            __entity__ = entity(kind=EntityKind.PART)
            id: Mapped[UUID] = key()
            title: Mapped[str] = field(2, Semantic.TEXT, _("Title"), BUSINESS)

        with pytest.raises(datamap_lock.NumberReusedError, match="number 2 was name"):
            datamap_lock.extend(DataMap.freeze(base.registry), path)
