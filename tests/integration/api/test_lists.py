"""Filters by a truth table against Python, pages against concurrent inserts, and the plans behind both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from compliance.datamap import Semantic
from crm_server.domain.accounts.models import Account
from crm_server.domain.pipeline.models import Opportunity, Pipeline, Stage
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.listing import (
    OPERATORS,
    Condition,
    CustomColumn,
    Group,
    ListQuery,
    Negation,
    Sort,
    fetch,
)
from crm_server.kernel.listing.fetch import _texts
from crm_server.models import datamap
from crm_server.services import records
from tests.integration.api.conftest import Client, open_db

DATA = datamap()
ACTOR = system_actor()
TODAY = datetime.now(UTC).date()
NAMES = ("Alpha", "alpha", "Beta_%", "Gamma\\x", "中文公司", "Ünique")


@pytest.fixture(scope="module")
def world(api_engine: Engine, wsgi: Any) -> Iterator[Session]:
    """Accounts with every kind of value, some empty; opportunities that refer to them. Rolled back at the end."""
    with api_engine.connect() as connection:
        outer = connection.begin()
        session = Session(bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        # Without the search service, which sees what is committed alone.
        session.info |= {db.ACTOR: ACTOR, db.KEYS: wsgi.registry.keys}
        accounts = [
            Account(
                name=name,
                legal_name=None if index % 2 else name.upper(),
                employees=None if index == 3 else index * 10,
                grade=None if index == 4 else "abcd"[index % 4],
                email=None if index == 1 else f"Info{index}@example.com",
                website=None if index == 0 else "https://example.com",
                phone="+493012345678" if index == 2 else None,
                billing_country="DE" if index % 3 else None,
                annual_revenue=10**12 if index == 5 else None,
                external_id=f"world {index}",
            )
            for index, name in enumerate(NAMES)
        ]
        session.add_all(accounts)
        pipeline = Pipeline(name="World")
        session.add(pipeline)
        session.flush()
        stage = Stage(name="World", pipeline_id=pipeline.id)
        session.add(stage)
        session.flush()
        session.add_all(
            Opportunity(
                name=f"Deal {index}",
                pipeline_id=pipeline.id,
                stage_id=stage.id,
                account_id=None if index == 5 else accounts[index].id,
                close_date=None if index == 2 else TODAY + timedelta(days=index * 20 - 40),
                probability=index * 10,
                closed_at=None if index == 1 else datetime(2026, 1, 1 + index, 12, tzinfo=UTC),
                external_id=f"world {index}",
            )
            for index in range(6)
        )
        session.flush()
        yield session
        session.close()
        outer.rollback()


def names(session: Session, entity: str, condition: Any, **more: Any) -> set[str]:
    only = Condition("external_id", "starts_with", "world")
    query = ListQuery(filter=Group("and", (only, condition)), limit=200, **more)
    return {row["name"] for row in fetch(session, DATA, DATA[entity], query, ACTOR).rows}


def matching(session: Session, model: Any, test: Callable[[Any], bool]) -> set[str]:
    rows = session.query(model).filter(model.external_id.startswith("world")).all()
    return {row.name for row in rows if test(row)}


def has(value: Any) -> bool:
    return value is not None


def days(day: date | None) -> float:
    """Days from today; not a number for no day, which compares as false."""
    return float("nan") if day is None else (day - TODAY).days


def always(_row: Any) -> bool:
    return True


def never(_row: Any) -> bool:
    return False


ACCOUNTS: list[tuple[str, str, Any, Callable[[Any], bool]]] = [
    ("name", "eq", "Alpha", lambda a: a.name == "Alpha"),
    ("name", "ne", "Alpha", lambda a: a.name != "Alpha"),
    ("legal_name", "ne", "ALPHA", lambda a: a.legal_name != "ALPHA"),
    ("name", "in", ["Alpha", "Beta_%", 'x"y\\{},'], lambda a: a.name in {"Alpha", "Beta_%"}),
    ("legal_name", "not_in", ["ALPHA"], lambda a: a.legal_name != "ALPHA"),
    ("name", "contains", "ALPH", lambda a: "alph" in a.name.lower()),
    ("name", "contains", "_%", lambda a: "_%" in a.name),
    ("name", "contains", "\\", lambda a: "\\" in a.name),
    ("name", "contains", "文", lambda a: "文" in a.name),
    ("name", "starts_with", "al", lambda a: a.name.lower().startswith("al")),
    ("legal_name", "is_null", True, lambda a: a.legal_name is None),
    ("legal_name", "is_null", False, lambda a: has(a.legal_name)),
    ("legal_name", "eq", None, lambda a: a.legal_name is None),
    ("legal_name", "ne", None, lambda a: has(a.legal_name)),
    ("employees", "eq", 20, lambda a: a.employees == 20),
    ("employees", "ne", 20, lambda a: a.employees != 20),
    ("employees", "lt", 20, lambda a: has(a.employees) and a.employees < 20),
    ("employees", "le", 20, lambda a: has(a.employees) and a.employees <= 20),
    ("employees", "gt", 20, lambda a: has(a.employees) and a.employees > 20),
    ("employees", "ge", 20, lambda a: has(a.employees) and a.employees >= 20),
    ("employees", "ge", 2**62, never),
    ("employees", "between", [10, 40], lambda a: has(a.employees) and 10 <= a.employees <= 40),
    ("employees", "in", [0, 50], lambda a: a.employees in {0, 50}),
    ("annual_revenue", "gt", 10**11, lambda a: has(a.annual_revenue)),
    ("grade", "eq", "a", lambda a: a.grade == "a"),
    ("grade", "ne", "a", lambda a: a.grade != "a"),
    ("grade", "in", ["a", "b"], lambda a: a.grade in {"a", "b"}),
    ("grade", "not_in", ["a", "b"], lambda a: a.grade not in {"a", "b"}),
    ("email", "eq", "INFO2@EXAMPLE.COM", lambda a: a.email == "Info2@example.com"),
    ("email", "in", ["info2@example.com", "INFO3@example.com"], lambda a: (a.email or "")[:5] in {"Info2", "Info3"}),
    ("phone", "eq", "030 12345678", lambda a: a.phone == "+493012345678"),
    ("phone", "contains", "3456", lambda a: has(a.phone)),
    ("billing_country", "eq", "de", lambda a: a.billing_country == "DE"),
    ("owner_id", "eq", "me", never),
    ("owner_id", "is_null", True, always),
    ("parent.name", "is_null", True, always),
    ("created_at", "eq", "today", always),
    ("created_at", "lt", "today", never),
    ("created_at", "ge", "last_7_days", always),
]  # fmt: skip
DEALS: list[tuple[str, str, Any, Callable[[Any], bool]]] = [
    ("close_date", "eq", str(TODAY), lambda d: d.close_date == TODAY),
    ("close_date", "ne", str(TODAY), lambda d: d.close_date != TODAY),
    ("close_date", "lt", "today", lambda d: has(d.close_date) and d.close_date < TODAY),
    ("close_date", "ge", "today", lambda d: has(d.close_date) and d.close_date >= TODAY),
    ("close_date", "gt", "today", lambda d: has(d.close_date) and d.close_date > TODAY),
    ("close_date", "eq", "last_30_days", lambda d: -30 < days(d.close_date) <= 0),
    ("close_date", "eq", "next_30_days", lambda d: 0 < days(d.close_date) <= 30),
    ("close_date", "is_null", True, lambda d: d.close_date is None),
    ("closed_at", "eq", "2026-01-03", lambda d: has(d.closed_at) and d.closed_at.date() == date(2026, 1, 3)),
    ("closed_at", "le", "2026-01-03", lambda d: has(d.closed_at) and d.closed_at.date() <= date(2026, 1, 3)),
    ("closed_at", "gt", "2026-01-03T12:00:00Z", lambda d: has(d.closed_at) and d.closed_at.day > 3),
    ("closed_at", "between", ["2026-01-02", "2026-01-03"], lambda d: has(d.closed_at) and 2 <= d.closed_at.day <= 3),
    ("probability", "ge", 30, lambda d: d.probability >= 30),
    ("account.name", "eq", "Alpha", lambda d: d.name == "Deal 0"),
    ("account.name", "ne", "Alpha", lambda d: d.name != "Deal 0"),
    ("account.name", "contains", "alpha", lambda d: d.name in {"Deal 0", "Deal 1"}),
    ("account.name", "is_null", True, lambda d: d.account_id is None),
    ("account.legal_name", "is_null", True, lambda d: d.name in {"Deal 1", "Deal 3", "Deal 5"}),
    ("account.employees", "not_in", [0, 10], lambda d: d.name not in {"Deal 0", "Deal 1"}),
    ("stage.pipeline.name", "eq", "World", always),
    ("account.owner.name", "is_null", True, always),
]  # fmt: skip


class TestFilters:
    @pytest.mark.parametrize("path,operator,value,test", ACCOUNTS)
    def test_an_operator_finds_what_python_finds(
        self, world: Session, path: str, operator: str, value: Any, test: Callable[[Any], bool]
    ) -> None:
        condition = Condition(path, operator, value)
        expected = matching(world, Account, test)
        assert names(world, "account", condition) == expected
        assert names(world, "account", Negation(condition)) == set(NAMES) - expected

    @pytest.mark.parametrize("path,operator,value,test", DEALS)
    def test_dates_and_referenced_records_too(
        self, world: Session, path: str, operator: str, value: Any, test: Callable[[Any], bool]
    ) -> None:
        condition = Condition(path, operator, value)
        expected = matching(world, Opportunity, test)
        assert names(world, "opportunity", condition) == expected
        everything = matching(world, Opportunity, lambda _deal: True)
        assert names(world, "opportunity", Negation(condition)) == everything - expected

    @given(data=st.data())
    @hypothesis_settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_and_or_not_mean_what_they_mean_in_python(self, world: Session, data: st.DataObject) -> None:
        def tree(depth: int) -> tuple[Any, Callable[[Any], bool]]:
            kind = data.draw(st.sampled_from(["leaf", "and", "or", "not"] if depth else ["leaf"]))
            if kind == "leaf":
                path, operator, value, test = data.draw(st.sampled_from(ACCOUNTS))
                return Condition(path, operator, value), test
            if kind == "not":
                inner, test = tree(depth - 1)
                return Negation(inner), lambda row: not test(row)
            parts = [tree(depth - 1) for _ in range(data.draw(st.integers(0, 3)))]
            tests = [part[1] for part in parts]
            combine = all if kind == "and" else any
            return (
                Group("and" if kind == "and" else "or", tuple(part[0] for part in parts)),
                lambda row: combine(test(row) for test in tests),
            )

        node, test = tree(3)
        assert names(world, "account", node) == matching(world, Account, test)

    def test_every_operator_of_every_type_is_tried_or_refused(
        self, world: Session, wsgi: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(world.info, db.SEARCH, wsgi.registry.search)
        for entity in DATA.records():
            for item in entity.fields.values():
                for operator in {name for known in OPERATORS.values() for name in known}:
                    query = ListQuery(filter=Condition(item.name, operator, "x"), limit=1)
                    try:
                        fetch(world, DATA, entity, query, ACTOR)
                    except BadQuery as refused:
                        assert refused.extra["parameter"] == "filter"  # noqa: PT017 - either is right

    @pytest.mark.parametrize(
        "condition",
        [
            Condition("nonsense", "eq", 1), Condition("event_id", "is_null", True), Condition("name", "like", "x"),
            Condition("name", "eq", 1), Condition("name", "contains", ""), Condition("name", "contains", "\x00"),
            Condition("name", "eq", "\ud800"), Condition("employees", "eq", "12"), Condition("employees", "eq", 2**63),
            Condition("employees", "eq", 1.5), Condition("employees", "between", [1]), Condition("grade", "eq", "z"),
            Condition("grade", "in", []), Condition("grade", "in", ["a"] * 201), Condition("grade", "lt", "a"),
            Condition("created_at", "eq", "someday"), Condition("created_at", "eq", "2026-02-30"),
            Condition("created_at", "ge", "9999-12-31T23:59:59-14:00"), Condition("owner.email", "eq", "x"),
            Condition("owner.password_hash", "is_null", False), Condition("parent.parent.parent.name", "eq", "x"),
            Condition("name.name", "eq", "x"), Condition("", "eq", "x"), Condition(".", "eq", "x"),
            Condition("custom.nothing", "eq", "x"), Condition("deleted_at", "is_null", "yes"),
            Condition('name" or true --', "eq", "x"), Condition("subject.id", "eq", "x"),
        ],
    )  # fmt: skip
    def test_what_can_not_be_asked_is_refused(self, world: Session, condition: Condition) -> None:
        with pytest.raises(BadQuery):
            names(world, "account", condition)

    def test_nesting_and_number_of_conditions_are_bounded(self, world: Session) -> None:
        deep: Any = Condition("name", "eq", "x")
        for _ in range(5):
            deep = Negation(deep)
        with pytest.raises(BadQuery, match="bad_query"):
            fetch(world, DATA, DATA["account"], ListQuery(filter=deep), ACTOR)
        many = Group("or", (Condition("name", "eq", "x"),) * 51)
        with pytest.raises(BadQuery):
            fetch(world, DATA, DATA["account"], ListQuery(filter=many), ACTOR)

    def test_custom_fields_are_filtered_by_type_and_shown(self, world: Session) -> None:
        service: Any = records(world, "custom_field")
        declared = service.declare(
            "case",
            {
                "name": "floors",
                "label_en": "Floors",
                "semantic": "integer",
                "policy": {"handling": "business"},
            },
        )
        world.flush()
        cases: Any = records(world, "case")
        keys = [
            cases.create({"title": f"Case {n}", "custom": {"floors": n} if n else {}}).id for n in range(4)
        ]
        world.flush()
        store = cases.custom.definitions(DATA["case"])["floors"]
        column = CustomColumn(declared.id, "floors", store.policy, store.column)

        def found(operator: str, value: Any) -> list[Any]:
            query = ListQuery(filter=Condition("custom.floors", operator, value), sort=Sort("id"))
            page = fetch(world, DATA, DATA["case"], query, ACTOR, custom=lambda _entity: {"floors": column})
            return [row["custom"]["floors"] for row in page.rows if row["id"] in {str(key) for key in keys}]

        assert found("ge", 2) == [2, 3]
        assert found("eq", 1) == [1]
        assert found("ne", 1) == [None, 2, 3]
        assert found("is_null", True) == [None]
        assert found("in", [1, 3]) == [1, 3]
        assert found("not_in", [1, 3]) == [None, 2]

    def test_free_text_finds_what_is_declared_searchable(self, world: Session) -> None:
        def found(text: str) -> set[str]:
            page = fetch(world, DATA, DATA["account"], ListQuery(q=text, limit=200), ACTOR)
            return {row["name"] for row in page.rows if str(row["external_id"]).startswith("world")}

        assert found("alph") == {"Alpha", "alpha"}
        assert found("INFO2@example.com") == {"Beta_%"}
        assert found("%") == {"Beta_%"}


class TestPages:
    SORTS = ("name", "-name", "employees", "-employees", "grade", "-grade", "created_at", "-created_at", "id", "-id",
             "annual_revenue", "owner_id", "-legal_name", "deleted_at")  # fmt: skip

    @given(
        values=st.lists(
            st.tuples(
                st.sampled_from(["a", "B", "é", "中", "a b"]),
                st.none() | st.integers(0, 3),
                st.none() | st.sampled_from("ab"),
            ),
            max_size=12,
        ),
        later=st.lists(st.tuples(st.sampled_from(["a", "z"]), st.none() | st.integers(0, 3)), max_size=4),
        sort=st.sampled_from(SORTS),
        limit=st.integers(1, 5),
    )  # fmt: skip
    @hypothesis_settings(
        max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_every_row_comes_once_while_others_are_inserted(
        self,
        world: Session,
        values: list[tuple[str, int | None, str | None]],
        later: list[tuple[str, int | None]],
        sort: str,
        limit: int,
    ) -> None:
        savepoint = world.begin_nested()
        try:
            made = [
                Account(name=a, employees=b, grade=c, external_id=f"pages {n}")
                for n, (a, b, c) in enumerate(values)
            ]
            world.add_all(made)
            world.flush()
            arrivals = iter(later)
            query = ListQuery(
                filter=Condition("external_id", "starts_with", "pages"),
                sort=Sort(sort.removeprefix("-"), sort.startswith("-")),
                limit=limit,
                fields=("name",),
            )
            seen: list[str] = []
            pages: list[list[str]] = []
            cursor = None
            while True:
                page = fetch(world, DATA, DATA["account"], replace(query, cursor=cursor), ACTOR)
                pages.append([row["id"] for row in page.rows])
                seen += pages[-1]
                if not later and page.previous_cursor:
                    back = fetch(
                        world, DATA, DATA["account"], replace(query, cursor=page.previous_cursor), ACTOR
                    )
                    assert [row["id"] for row in back.rows] == pages[-2]
                cursor = page.next_cursor
                if cursor is None:
                    break
                for name, employees in [found for found in [next(arrivals, None)] if found]:
                    world.add(Account(name=name, employees=employees, external_id=f"pages {uuid4()}"))
                    world.flush()
            assert len(seen) == len(set(seen))
            assert {str(item.id) for item in made} <= set(seen)
            if not later:
                whole = fetch(world, DATA, DATA["account"], replace(query, limit=200), ACTOR)
                assert [row["id"] for row in whole.rows] == seen
        finally:
            savepoint.rollback()
            world.expunge_all()

    def test_the_count_is_exact_up_to_its_cap(self, world: Session) -> None:
        query = ListQuery(filter=Condition("external_id", "starts_with", "world"), limit=2, count="exact")
        page = fetch(world, DATA, DATA["account"], query, ACTOR)
        assert (len(page.rows), page.count, page.count_capped) == (2, 6, False)
        empty = replace(query, filter=Condition("external_id", "eq", "none"))
        assert fetch(world, DATA, DATA["account"], empty, ACTOR).count == 0

    @pytest.mark.parametrize("sort", ["nonsense", "event_id", "description", "subject_id"])
    def test_only_what_can_be_read_and_ordered_can_be_sorted_by(self, world: Session, sort: str) -> None:
        with pytest.raises(BadQuery):
            fetch(world, DATA, DATA["account"], ListQuery(sort=Sort(sort)), ACTOR)

    def test_a_cursor_of_another_list_is_refused(self, manager: Client) -> None:
        for number in range(3):
            manager.post("/tags", {"name": f"Cursor {number}"}, status=201)
        cursor = manager.get("/tags?limit=1&sort=name", status=200).json["next_cursor"]
        manager.get(f"/tags?limit=1&sort=name&cursor={cursor}", status=200)
        for path in (
            f"/tags?sort=-name&cursor={cursor}",
            f"/accounts?sort=name&cursor={cursor}",
            "/tags?cursor=x",
        ):
            assert manager.get(path, status=400).json["parameter"] == "cursor"

    def test_a_query_in_the_body_gives_what_the_address_gives(self, manager: Client) -> None:
        body = {
            "filter": {"field": "name", "op": "starts_with", "value": "Cursor"},
            "sort": "name",
            "limit": 2,
        }
        by_body = manager.post("/tags/query", body, status=200).json
        by_address = manager.get("/tags?filter[name][starts_with]=Cursor&sort=name&limit=2").json
        assert by_body == by_address


class TestPlans:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def many(cls, api_engine: Engine) -> None:
        with open_db(api_engine) as session:
            session.execute(
                text(
                    "insert into crm.account (id, name, billing_country, created_at) "
                    "select kontor.uuid7(), 'Plan ' || lpad(n::text, 6, '0'), 'DE', now() - n * interval '1 minute' "
                    "from generate_series(1, 20000) n"
                )
            )
            session.commit()

    @pytest.mark.parametrize(
        "sort,index",
        [
            (None, "ix_account_live_created"),
            (Sort("created_at"), "ix_account_live_created"),
            (Sort("name"), "ix_account_live_name"),
            (Sort("name", descending=True), "ix_account_live_name"),
        ],
    )
    def test_a_page_walks_the_partial_index_and_costs_the_same_wherever_it_lies(
        self, api_settings: Any, api_engine: Engine, wsgi: Any, sort: Sort | None, index: str
    ) -> None:
        from sqlalchemy import create_engine

        owner = create_engine(api_settings.owner_database_url, isolation_level="AUTOCOMMIT")
        with owner.connect() as connection:
            connection.exec_driver_sql("analyze crm.account")
        owner.dispose()
        query = ListQuery(filter=Condition("billing_country", "eq", "DE"), sort=sort, fields=("name",))
        with api_engine.connect() as connection:
            connection.info[db.KEYS] = wsgi.registry.keys
            first = fetch(connection, DATA, DATA["account"], query, ACTOR)
            deep = first
            for _ in range(3):
                deep = fetch(
                    connection, DATA, DATA["account"], replace(query, cursor=deep.next_cursor), ACTOR
                )
            costs = []
            for cursor in (None, deep.next_cursor):
                plan = explain(connection, replace(query, cursor=cursor))
                assert index in plan["text"]
                assert "Seq Scan" not in plan["text"]
                costs.append(plan["buffers"])
        assert costs[1] <= costs[0] * 2 + 10


def explain(connection: Any, query: ListQuery) -> dict[str, Any]:
    """The plan of the statement that a query becomes, without its writing parts."""
    explained: list[Any] = []

    class Spy:
        info, engine = connection.info, connection.engine

        def exec_driver_sql(self, statement: str, values: Any) -> Any:
            found = connection.exec_driver_sql(f"explain (analyze, buffers, format json) {statement}", values)
            explained.append(found.scalar())
            return SimpleNamespace(fetchall=list)

    fetch(Spy(), DATA, DATA["account"], query, ACTOR)  # type: ignore[arg-type]
    lines = explained[0]
    plan = lines[0]["Plan"]
    scans = [part for part in walk(plan) if part.get("Relation Name") == "account"]
    return {
        "text": " ".join(f"{part['Node Type']} {part.get('Index Name', '')}" for part in scans),
        "buffers": sum(part["Shared Hit Blocks"] + part["Shared Read Blocks"] for part in scans),
    }


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from walk(part)


def test_the_text_of_a_statement_depends_on_the_shape_of_the_query_alone(
    api_engine: Engine, wsgi: Any
) -> None:
    with api_engine.connect() as connection:
        connection.info[db.KEYS] = wsgi.registry.keys
        before = len(_texts)
        for number in range(5):
            query = ListQuery(filter=Condition("employees", "gt", number), sort=Sort("employees"), limit=7)
            fetch(connection, DATA, DATA["account"], query, ACTOR)
    assert len(_texts) - before == 1


def test_every_type_of_field_has_operators() -> None:
    assert set(OPERATORS) == set(Semantic)
