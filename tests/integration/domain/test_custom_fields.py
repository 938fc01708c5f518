"""Custom fields obey the rules of fields in code: declared whole, audited by number, and never renumbered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from compliance.audit.models import AuditEvent
from compliance.datamap.sealed import FIRST_CUSTOM
from crm_server.domain.activities.queries import timeline
from crm_server.domain.custom_fields.definitions import definitions
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.errors import Conflict, LostUpdate, NotAllowed, ValidationFailed
from crm_server.models import datamap
from crm_server.services import records
from tests.integration.domain.conftest import Service, codes
from tests.payloads import payload_of

CONTACT = datamap()["contact"]


def declared(**more: Any) -> dict[str, Any]:
    policy = {"handling": "person_fact"} | more.pop("policy", {})
    return {"name": "shoe_size", "label_en": "Shoe size", "semantic": "integer", "policy": policy} | more


class TestDeclaring:
    def test_a_field_gets_a_number_that_is_never_used_again(self, service: Service) -> None:
        fields = service("custom_field")
        first = fields.declare("contact", declared())
        assert first.number == FIRST_CUSTOM
        fields.retire(first.id)
        second = fields.declare("contact", declared())
        assert second.number == FIRST_CUSTOM + 1
        assert fields.declare("account", declared(policy={"handling": "business"})).number == FIRST_CUSTOM
        with pytest.raises(Conflict):
            fields.purge(first.id)

    @pytest.mark.parametrize(
        "raw,refusal",
        [
            (declared(name="Shoe size"), {"/name": "format"}),
            (declared(name="email"), {"/name": "taken"}),
            (declared(semantic="bytes"), {"/semantic": "choice"}),
            (declared(policy={"handling": None}), {"/policy/handling": "required"}),
            (declared(policy={"handling": {"privacy": "none"}}), {"/policy/handling": "incomplete"}),
            (declared(policy={"colour": "red"}), {"/policy/colour": "unknown_field"}),
            (declared(semantic="choice"), {"/policy/choices": "type"}),
            (
                declared(semantic="choice", policy={"choices": {"a": {"zh_Hans": "甲"}}}),
                {"/policy/choices": "type"},
            ),
            (
                declared(
                    semantic="choice",
                    policy={
                        "choices": {
                            "red": {"en": "Red"},
                            "blue": {"en": "Blue"},
                            "red_3": {"en": "red "},
                        }
                    },
                ),
                {"/policy/choices/red_3": "twice"},
            ),
            (
                declared(
                    policy={
                        "handling": {
                            "privacy": "identifier",
                            "key_class": "none",
                            "retention": "relationship",
                            "audit": "value",
                            "erasure": "delete",
                            "access": "personal",
                            "export": True,
                        }
                    }
                ),
                {"/policy": "incoherent"},
            ),
            (
                declared(semantic="money", policy={"handling": "figures"}),
                {"/policy/currency_field": "unknown"},
            ),
        ],
    )
    def test_an_incomplete_declaration_is_refused(
        self, service: Service, raw: dict[str, Any], refusal: dict[str, str]
    ) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("custom_field").declare("contact", raw)
        assert refusal.items() <= codes(refused).items()

    def test_personal_values_need_a_record_of_a_person(self, service: Service) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("custom_field").declare("product", declared())
        assert codes(refused) == {"/policy/handling": "no_subject"}

    def test_a_name_that_is_taken_is_told_at_the_name(self, service: Service) -> None:
        fields = service("custom_field")
        first = fields.declare("contact", declared())
        with pytest.raises(ValidationFailed) as refused:
            fields.declare("contact", declared())
        assert codes(refused) == {"/name": "taken"}
        fields.retire(first.id)
        fields.declare("contact", declared())
        with pytest.raises(ValidationFailed) as refused:
            fields.restore(first.id)
        assert codes(refused) == {"/name": "taken"}

    def test_label_and_place_change_but_not_the_type(self, service: Service) -> None:
        field = service("custom_field").declare("contact", declared())
        service("custom_field").update(
            field.id, {"label_en": "Size", "label_zh": "尺码", "position": 3}, version=1
        )
        (shown,) = service("custom_field").visible("contact")
        assert (shown.label("zh_Hans"), shown.label("de"), shown.position) == ("尺码", "Size", 3)
        with pytest.raises(ValidationFailed) as refused:
            service("custom_field").update(field.id, {"semantic": "text"}, version=2)
        assert codes(refused) == {"/semantic": "fixed"}

    def test_it_needs_the_permission(self, session: Session, user: Callable[..., Any]) -> None:
        user("crm:contact:update")
        with pytest.raises(NotAllowed):
            records(session, "custom_field").declare("contact", declared())  # type: ignore[attr-defined]


@pytest.fixture
def fields(service: Service) -> None:
    make = service("custom_field").declare
    make("contact", declared())
    make("contact", declared(name="fan_since", label_en="Fan since", semantic="date"))
    make("contact", declared(name="vip", label_en="VIP", semantic="boolean"))
    make(
        "contact", declared(name="diet", label_en="Diet", semantic="text", policy={"handling": "person_note"})
    )
    make(
        "contact",
        declared(
            name="tier", label_en="Tier", semantic="choice", policy={"choices": {"gold": {"en": "Gold"}}}
        ),
    )


def person(**custom: Any) -> dict[str, Any]:
    return {"family_name": "Beispiel", "custom": custom}


class TestValues:
    def test_they_are_kept_by_type_and_read_back(self, service: Service, fields: None) -> None:
        contacts = service("contact")
        contact = contacts.create(person(shoe_size=43, fan_since="2001-05-06", vip=False, tier="gold"))
        assert contacts.custom.load(CONTACT, [contact.id]) == {
            contact.id: {
                "shoe_size": 43,
                "fan_since": date(2001, 5, 6),
                "vip": False,
                "diet": None,
                "tier": "gold",
            }
        }
        assert contact.version == 1

    def test_what_does_not_fit_is_refused_at_its_place(self, service: Service, fields: None) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("contact").create(person(shoe_size="large", tier="tin", nothing=1))
        assert codes(refused) == {
            "/custom/shoe_size": "type",
            "/custom/tier": "choice",
            "/custom/nothing": "unknown_field",
        }

    def test_a_required_one_must_be_given(self, service: Service) -> None:
        service("custom_field").declare("contact", declared(policy={"required": True}))
        with pytest.raises(ValidationFailed) as refused:
            service("contact").create(person())
        assert codes(refused) == {"/custom/shoe_size": "required"}

    def test_a_change_is_one_event_with_numbers_and_values_and_a_new_version(
        self, session: Session, service: Service, fields: None
    ) -> None:
        contact = service("contact").create(person(shoe_size=43))
        service("contact").update(
            contact.id, {"job_title": "Buyer", "custom": {"shoe_size": 44}}, version=contact.version
        )
        session.refresh(contact)
        assert contact.version == 2
        created, changed = session.scalars(
            select(AuditEvent).where(AuditEvent.object_ref == contact.id).order_by(AuditEvent.event_id)
        ).all()
        assert 10001 in created.meta["fields"]
        assert changed.meta == {"fields": [26, 10001], "version": 2}
        assert payload_of(session, changed.event_id)["changes"]["10001"] == [43, 44]

    def test_a_change_of_a_custom_field_alone_is_noticed_as_one(
        self, session: Session, service: Service, fields: None
    ) -> None:
        contact = service("contact").create(person(shoe_size=43))
        service("contact").update(contact.id, {"custom": {"shoe_size": None}}, version=1)
        session.refresh(contact)
        assert contact.version == 2
        with pytest.raises(LostUpdate) as lost:
            service("contact").update(contact.id, {"job_title": "Buyer"}, version=1)
        assert lost.value.original is not None
        events = session.scalars(select(AuditEvent).where(AuditEvent.object_ref == contact.id)).all()
        assert sorted(event.action for event in events) == ["create", "update"]
        happened = timeline(session, datamap(), "contact", contact.id).items
        assert ["custom.shoe_size"] in [item.data["fields"] for item in happened]

    def test_the_same_value_again_is_no_change(self, service: Service, fields: None) -> None:
        contact = service("contact").create(person(shoe_size=43))
        service("contact").update(contact.id, {"custom": {"shoe_size": 43}}, version=1)
        assert contact.version == 1

    def test_field_rules_hold(
        self, session: Session, service: Service, fields: None, user: Callable[..., Any]
    ) -> None:
        contact = service("contact").create(person(shoe_size=43, diet="vegan"))
        user("crm:contact:read", "crm:contact:update", personal="masked")
        narrow = records(session, "contact")
        assert narrow.custom is not None
        assert narrow.custom.load(CONTACT, [contact.id])[contact.id]["diet"] == "***"
        with pytest.raises(ValidationFailed) as refused:
            narrow.update(contact.id, {"custom": {"diet": "anything"}}, version=1)
        assert codes(refused) == {"/custom/diet": "not_allowed"}
        user("crm:contact:read", personal="hidden")
        narrow = records(session, "contact")
        assert narrow.custom is not None
        assert "diet" not in narrow.custom.load(CONTACT, [contact.id])[contact.id]

    def test_purging_the_record_removes_them(self, session: Session, service: Service, fields: None) -> None:
        contact = service("contact").create(person(shoe_size=43))
        service("contact").delete(contact.id)
        service("contact").purge(contact.id)
        assert session.scalar(text("select count(*) from crm.custom_value")) == 0


def test_a_definition_made_elsewhere_is_seen_in_the_next_transaction(engine: Engine) -> None:
    factory = db.session_factory(engine)
    with db.open_session(factory, system_actor()) as reader:
        before = set(definitions(reader, CONTACT.number))
        reader.rollback()
        with db.open_session(factory, system_actor()) as writer:
            made = records(writer, "custom_field").declare("contact", declared(name="seen_elsewhere"))  # type: ignore[attr-defined]
            db.commit(writer)
        assert set(definitions(reader, CONTACT.number)) - before == {"seen_elsewhere"}
        reader.rollback()
    with db.open_session(factory, system_actor()) as writer:
        writer.execute(text("delete from crm.custom_field where id = :id"), {"id": made.id})
        db.commit(writer)
