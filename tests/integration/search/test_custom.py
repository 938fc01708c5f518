"""Sealed custom fields are found, filtered and sorted by as fields in code are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from crm_server.domain.custom_fields.services import CustomFieldStore
from crm_server.domain.imports.custom import listed
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.hot import Hot
from crm_server.kernel.listing import Condition, Group, ListQuery, Negation, Sort, fetch
from crm_server.models import datamap
from crm_server.services import records
from tests.searching import searching, with_search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crm_server.kernel.keys import Keys
    from crm_server.search.client import SearchClient
    from crm_server.settings import Settings

    from .conftest import People

CONTACT = datamap()["contact"]
NICKNAMES = {"Zappel": 3, "zappelphilipp": 12, "Ärmel": 7, "小虎": None, None: 40}


@pytest.fixture(scope="module")
def nicknamed(
    search_settings: Settings, search_keys: Keys, search_engine: Any, client: SearchClient
) -> Iterator[dict[UUID, tuple[str | None, int | None]]]:
    """The fields are declared while the service runs; contacts have values of them."""
    del client
    factory = db.session_factory(search_engine, search_settings, search_keys)
    with db.open_session(factory, system_actor()) as session:
        for name, semantic in (("nickname", "text"), ("visits", "integer")):
            declared = {
                "name": name,
                "label_en": name,
                "semantic": semantic,
                "policy": {"handling": "person_fact", "search": "text" if semantic == "text" else "none"},
            }
            records(session, "custom_field").declare("contact", declared)
        db.commit(session)
    made = {}
    with db.open_session(factory, system_actor()) as session:
        for nickname, visits in NICKNAMES.items():
            contact = records(session, "contact").create({"family_name": "Spitzname"})
            session.flush()
            CustomFieldStore(session, datamap()).save(
                CONTACT, contact, {"nickname": nickname, "visits": visits}
            )
            made[contact.id] = (nickname, visits)
        db.commit(session)
    yield made
    with db.open_session(factory, system_actor()) as session:
        for key in made:
            records(session, "contact").delete(key)
        db.commit(session)


@pytest.fixture
def ask(
    nicknamed: dict[UUID, tuple[str | None, int | None]],
    search_settings: Settings,
    search_keys: Keys,
    people: People,
    client: SearchClient,
) -> Iterator[Callable[[ListQuery], list[tuple[str | None, int | None]]]]:
    hot = Hot(search_settings)
    hot.info |= {db.SEARCH: client, db.KEYS: search_keys}
    with people.session() as session:
        custom = listed(session, datamap())

    def answer(query: ListQuery) -> list[tuple[str | None, int | None]]:
        page = fetch(hot, datamap(), CONTACT, query, system_actor(), custom=custom)
        return [nicknamed[UUID(row["id"])] for row in page.rows if UUID(row["id"]) in nicknamed]

    yield answer
    hot.dispose()


class TestSealedCustomFields:
    @pytest.mark.parametrize(
        "path, operator, value, wanted",
        [
            ("custom.nickname", "contains", "zappel", {"Zappel", "zappelphilipp"}),
            ("custom.nickname", "starts_with", "ärm", {"Ärmel"}),
            ("custom.nickname", "eq", "小虎", {"小虎"}),
            ("custom.visits", "gt", 5, {"zappelphilipp", "Ärmel", None}),
            ("custom.visits", "between", [3, 7], {"Zappel", "Ärmel"}),
            ("custom.visits", "is_null", True, {"小虎"}),
        ],
    )
    def test_they_are_filtered_by(
        self, ask: Any, path: str, operator: str, value: Any, wanted: set[str | None]
    ) -> None:
        mine = Condition("family_name", "eq", "Spitzname")
        node = Group("and", (mine, Condition(path, operator, value)))
        assert {name for name, _visits in ask(ListQuery(filter=node, limit=100))} == wanted
        other = Group("and", (mine, Negation(Condition(path, operator, value))))
        assert {name for name, _visits in ask(ListQuery(filter=other, limit=100))} == set(NICKNAMES) - wanted

    def test_lists_go_by_them_and_records_without_a_value_come_last(self, ask: Any) -> None:
        mine = Condition("family_name", "eq", "Spitzname")
        up = ask(ListQuery(filter=mine, sort=Sort("custom.visits"), limit=100))
        assert [visits for _name, visits in up] == [3, 7, 12, 40, None]
        down = ask(ListQuery(filter=mine, sort=Sort("custom.nickname", descending=True), limit=100))
        assert [name for name, _visits in down] == ["小虎", "zappelphilipp", "Zappel", "Ärmel", None]

    @pytest.mark.parametrize(
        "typed, wanted", [("zappel", {"Zappel", "zappelphilipp"}), ("xh", {"小虎"}), ("armel", {"Ärmel"})]
    )
    def test_they_are_found_by_text(self, ask: Any, typed: str, wanted: set[str]) -> None:
        assert {name for name, _visits in ask(ListQuery(q=typed, limit=100))} == wanted

    def test_a_service_that_starts_later_knows_them_too(
        self, nicknamed: dict[UUID, Any], search_settings: Settings, search_keys: Keys, people: People
    ) -> None:
        with searching(with_search(search_settings)) as other, people.session() as session:
            hot = Hot(search_settings)
            hot.info |= {db.SEARCH: other, db.KEYS: search_keys}
            query = ListQuery(filter=Condition("custom.nickname", "eq", "Ärmel"), limit=100)
            page = fetch(hot, datamap(), CONTACT, query, system_actor(), custom=listed(session, datamap()))
            assert [nicknamed[UUID(row["id"])][0] for row in page.rows] == ["Ärmel"]
            hot.dispose()
