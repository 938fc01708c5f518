"""Tags, saved views and the bin."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from compliance.audit.models import AuditEvent
from crm_server.domain.bin.queries import in_bin
from crm_server.domain.bin.services import empty
from crm_server.kernel.clock import now
from crm_server.kernel.errors import BadRequest, NotAllowed, NotFound, ValidationFailed
from crm_server.kernel.ids import new_id
from crm_server.models import datamap
from crm_server.services import records
from tests.integration.domain.conftest import Service, codes


class TestTags:
    def test_a_tag_is_put_on_once_however_it_is_written(self, session: Session, service: Service) -> None:
        account = service("account").create({"name": "Example AG"})
        first = service("tag").add(("account", account.id), name="Key customer")
        again = service("tag").add(("account", account.id), name="KEY CUSTOMER ")
        assert first.id == again.id
        assert [item["name"] for item in service("tag").of_record(("account", account.id))] == [
            "Key customer"
        ]
        events = session.scalars(select(AuditEvent).where(AuditEvent.object_ref == account.id)).all()
        assert sorted(event.action for event in events) == ["create", "tag"]
        service("tag").remove(("account", account.id), first.id)
        service("tag").remove(("account", account.id), first.id)
        assert service("tag").of_record(("account", account.id)) == []

    def test_merged_tags_are_one(self, service: Service) -> None:
        accounts = [service("account").create({"name": f"Example {number}"}) for number in range(3)]
        old = service("tag").create({"name": "VIP"})
        new = service("tag").create({"name": "Key customer", "colour": "red"})
        for account in accounts[:2]:
            service("tag").add(("account", account.id), tag_id=old.id)
        for account in accounts[1:]:
            service("tag").add(("account", account.id), tag_id=new.id)
        assert service("tag").merge(old.id, new.id) == 2
        found = service("tag").of(datamap()["account"], [account.id for account in accounts])
        assert {key: [tag["id"] for tag in tags] for key, tags in found.items()} == {
            account.id: [new.id] for account in accounts
        }
        with pytest.raises(NotFound):
            service("tag").get(old.id)
        with pytest.raises(BadRequest):
            service("tag").merge(new.id, new.id)

    def test_the_right_to_tag_is_the_right_to_change_the_record(
        self, session: Session, service: Service, user: Callable[..., Any]
    ) -> None:
        account = service("account").create({"name": "Example AG"})
        tag = service("tag").create({"name": "VIP"})
        user("crm:account:read")
        with pytest.raises(NotAllowed):
            records(session, "tag").add(("account", account.id), tag_id=tag.id)  # type: ignore[attr-defined]

    def test_no_tag_on_nothing(self, service: Service) -> None:
        with pytest.raises(NotFound):
            service("tag").add(("account", new_id()), name="VIP")


def view(**more: Any) -> dict[str, Any]:
    return {"name": "Mine", "entity": "contact", "definition": {"columns": ["name", "email"]}} | more


class TestSavedViews:
    def test_private_ones_are_seen_by_their_owner_alone(
        self, session: Session, user: Callable[..., Any]
    ) -> None:
        user()
        mine = records(session, "saved_view").create(view())
        assert [item.id for item in records(session, "saved_view").visible("contact")] == [mine.id]  # type: ignore[attr-defined]
        user()
        assert records(session, "saved_view").visible("contact") == []  # type: ignore[attr-defined]
        with pytest.raises(NotFound):
            records(session, "saved_view").get(mine.id)

    def test_sharing_needs_the_permission(self, session: Session, user: Callable[..., Any]) -> None:
        user()
        with pytest.raises(NotAllowed):
            records(session, "saved_view").create(view(shared=True))
        user("crm:saved_view:share")
        shared = records(session, "saved_view").create(view(shared=True))
        user()
        assert [item.id for item in records(session, "saved_view").visible("contact")] == [shared.id]  # type: ignore[attr-defined]
        with pytest.raises(NotAllowed):
            records(session, "saved_view").update(shared.id, {"name": "Ours"}, version=1)
        with pytest.raises(NotAllowed):
            records(session, "saved_view").delete(shared.id)

    @pytest.mark.parametrize(
        "more,refusal",
        [
            ({"entity": "nothing"}, {"/entity": "unknown"}),
            ({"definition": []}, {"/definition": "type"}),
            ({"definition": {"columns": ["nothing"]}}, {"/definition/columns/0": "unknown_field"}),
            ({"definition": {"script": 1}}, {"/definition/script": "unknown_field"}),
        ],
    )
    def test_a_definition_that_fits_no_list_is_refused(
        self, service: Service, more: dict[str, Any], refusal: dict[str, str]
    ) -> None:
        with pytest.raises(ValidationFailed) as refused:
            service("saved_view").create(view(**more))
        assert codes(refused) == refusal


class TestBin:
    def test_it_shows_all_kinds_newest_first_in_pages(self, session: Session, service: Service) -> None:
        made = []
        for entity, raw in (
            ("account", {"name": "Example AG"}),
            ("contact", {"family_name": "Beispiel"}),
            ("case", {"title": "Broken"}),
            ("account", {"name": "Example SA"}),
        ):
            record = service(entity).create(raw)
            service(entity).delete(record.id)
            made.append((entity, record.id))
        first = in_bin(session, datamap(), limit=3)
        second = in_bin(session, datamap(), limit=3, after=first.next)
        assert [(item.entity, item.id) for item in (*first.items, *second.items)] == made[::-1]
        assert second.next is None
        assert first.items[0].title == "Example SA"
        assert first.items[0].purged_on - first.items[0].deleted_at == timedelta(days=30)
        assert len(in_bin(session, datamap(), entity="account").items) == 2

    def test_titles_that_the_actor_may_not_read_are_not_shown(
        self, session: Session, service: Service, user: Callable[..., Any]
    ) -> None:
        contact = service("contact").create({"family_name": "Beispiel"})
        service("contact").delete(contact.id)
        service("account").delete(service("account").create({"name": "Example AG"}).id)
        user("crm:contact:read", personal="masked")
        (item,) = in_bin(session, datamap()).items
        assert (item.entity, item.title) == ("contact", None)

    def test_it_is_emptied_of_what_is_old_enough_and_free(self, session: Session, service: Service) -> None:
        pipeline = service("pipeline").create({"name": "Old process"})
        stage = service("stage").create({"name": "Only", "pipeline_id": str(pipeline.id)})
        deal = service("opportunity").create({"name": "Deal", "pipeline_id": str(pipeline.id)})
        product = service("product").create({"name": "Pump"})
        session.execute(
            text("update crm.pipeline set deleted_at = :then where id = :id"),
            {"then": now() - timedelta(days=40), "id": pipeline.id},
        )
        session.execute(
            text("update crm.product set deleted_at = :then where id = :id"),
            {"then": now() - timedelta(days=40), "id": product.id},
        )
        session.expire_all()
        done = empty(session, datamap(), records, days=30)
        assert (done.purged, done.kept, done.more) == (1, 1, False)
        assert session.get(type(deal), deal.id).stage_id == stage.id  # type: ignore[union-attr]
        assert session.get(type(product), product.id) is None

    def test_files_and_private_views_leave_with_it(
        self, session: Session, service: Service, user: Callable[..., Any]
    ) -> None:
        account = service("account").create({"name": "Example AG"})
        file = service("attachment").store(("account", account.id), "a.txt", io.BytesIO(b"a"))
        service("attachment").remove(file.id)
        system = session.info["kontor.actor"]
        user()
        mine = records(session, "saved_view").create(view())
        records(session, "saved_view").delete(mine.id)
        session.info["kontor.actor"] = system
        for table, key in (("attachment", file.id), ("saved_view", mine.id)):
            session.execute(
                text(f"update crm.{table} set deleted_at = now() - interval '40 days' where id = :id"),
                {"id": key},
            )
        session.expire_all()
        assert empty(session, datamap(), records, days=30).purged == 2
        assert session.scalar(text("select count(*) from crm.attachment_chunk")) == 0
