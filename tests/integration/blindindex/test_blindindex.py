"""Exact search over sealed values: tokens are written with their rows, found by, and kept in budget (ENC-17)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from compliance.datamap import EntityDef
from crm_server.kernel import db
from crm_server.kernel.actor import Actor
from crm_server.kernel.blindindex import find, upkeep
from crm_server.kernel.blindindex.plan import plan
from crm_server.kernel.blindindex.tokens import EntityTokens
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import keys_of
from monitoring import metrics
from security.crypto.blindindex import bit_bounds
from tests.integration.blindindex.conftest import Guest

Add = Callable[..., UUID]
Factory = sessionmaker[Session]


def found(factory: Factory, actor: Actor, guest: EntityDef, name: str, value: str) -> list[UUID]:
    with db.open_session(factory, actor) as session:
        return find.find_exact(session, guest, name, [value])[value]


def tokens(factory: Factory, actor: Actor) -> list[tuple[int, int, UUID]]:
    with db.open_session(factory, actor) as session:
        rows = session.execute(text("select index_id, token, record_id from search.token order by 3, 1"))
        return [tuple(row) for row in rows]  # type: ignore[misc]


class TestPlan:
    @pytest.mark.parametrize("rows", [0, 4, 1_000, 5_000, 100_000, 1_000_000, 50_000_000])
    def test_keeps_to_the_budget_and_to_tokens_that_many_records_share(self, rows: int) -> None:
        # ENC-17
        planned = plan(Guest, rows)
        lowest, highest = bit_bounds(max(rows, 1_000))
        assert lowest <= sum(one.bits for one in planned) <= highest
        assert all(one.bits >= 5 for one in planned), "with fewer bits each token covers over 5 % of the rows"
        assert planned[0].bits >= highest // 2

    def test_a_larger_table_has_more_indexes_in_a_fixed_order(self) -> None:
        fields = [[one.field for one in plan(Guest, rows)] for rows in (1_000, 1_000_000, 50_000_000)]
        assert fields == [[22], [22, 23], [22, 23, 24]]


class TestFind:
    def test_a_record_is_found_by_its_value_in_any_spelling_and_by_no_other(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add
    ) -> None:
        anna = add(email="Anna.Kern@Example.COM", phone="+493012345678")
        add(email="bea@example.com")
        assert found(factory, actor, guest, "email", "anna.kern@example.com") == [anna]
        assert found(factory, actor, guest, "email", "anna.kern@example.org") == []
        # The table is small, so numbers have no index and are compared by opening all records.
        assert found(factory, actor, guest, "phone", "+49 30 12345678") == [anna]
        assert found(factory, actor, guest, "email", "no address") == []

    def test_the_database_holds_short_numbers_and_nothing_of_the_value(
        self, factory: Factory, actor: Actor, add: Add
    ) -> None:
        key = add(email="anna@example.com")
        rows = tokens(factory, actor)
        assert [row[2] for row in rows] == [key]
        assert all(0 <= token < 2**8 for _index, token, _record in rows)

    def test_a_changed_value_is_found_and_the_old_one_is_not(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add
    ) -> None:
        key = add(email="old@example.com")
        before = tokens(factory, actor)
        with db.open_session(factory, actor) as session:
            session.get_one(Guest, key).email = "new@example.com"
            db.commit(session)
        assert found(factory, actor, guest, "email", "new@example.com") == [key]
        assert found(factory, actor, guest, "email", "old@example.com") == []
        assert len(tokens(factory, actor)) == len(before)

    def test_a_change_of_other_fields_writes_no_tokens(
        self, factory: Factory, actor: Actor, add: Add
    ) -> None:
        key = add(email="anna@example.com")
        with db.open_session(factory, actor) as session:
            session.get_one(Guest, key).name = "Anna Weiß"
            session.flush()
            locks = session.execute(
                text("select count(*) from pg_locks where locktype = 'advisory'")
            ).scalar()
            assert locks == 0
            db.commit(session)

    def test_tokens_commit_and_roll_back_with_their_row(
        self, factory: Factory, actor: Actor, add: Add
    ) -> None:
        with db.open_session(factory, actor) as session:
            session.add(Guest(subject_id=new_id(), name="A", email="a@example.com"))
            session.flush()
            session.rollback()
        assert tokens(factory, actor) == []

    def test_a_removed_row_takes_its_tokens_along_also_by_raw_sql(
        self, factory: Factory, actor: Actor, add: Add
    ) -> None:
        first, second = add(email="a@example.com"), add(email="b@example.com")
        with db.open_session(factory, actor) as session:
            session.delete(session.get_one(Guest, first))
            session.flush()
            session.execute(text("delete from crm.guest where id = :id"), {"id": second})
            db.commit(session)
        assert tokens(factory, actor) == []

    def test_a_search_that_would_open_too_much_is_refused(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            add(email=f"{number}@example.com", phone="+4930123456")
        monkeypatch.setattr(find.candidates, "__kwdefaults__", {"limit": 2})
        with pytest.raises(find.NotIndexed):
            found(factory, actor, guest, "phone", "+4930123456")


class TestUpkeep:
    def test_indexes_are_built_anew_in_another_generation_and_records_are_found_all_the_while(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = [add(email=f"person{number}@example.com") for number in range(12)]
        monkeypatch.setattr(upkeep, "BATCH", 5)
        # As if the table had grown: two indexes of more bits.
        monkeypatch.setattr(upkeep, "plan", lambda model, _rows: plan(model, 1_000_000))
        seen = []

        def progress(done: int, total: int) -> None:
            seen.append((done, total))
            for number in (0, 11):
                assert found(factory, actor, guest, "email", f"person{number}@example.com") == [keys[number]]

        assert upkeep.rebuild(factory, actor, guest, progress=progress) == 12
        assert seen == [(5, 12), (10, 12), (12, 12)]
        with db.open_session(factory, actor) as session:
            live = EntityTokens(keys_of(session).keys, session.connection(), Guest).live
        assert {(one.name, one.index.spec.bits, one.generation) for one in live} == {
            ("email", 13, 1),
            ("phone", 5, 1),
        }
        assert len(tokens(factory, actor)) == 12
        assert found(factory, actor, guest, "email", "person7@example.com") == [keys[7]]

    def test_a_killed_rebuild_is_finished_by_the_next_one(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = [add(email=f"person{number}@example.com") for number in range(6)]
        monkeypatch.setattr(upkeep, "BATCH", 2)
        monkeypatch.setattr(upkeep, "plan", lambda model, _rows: plan(model, 1_000_000))

        class Killed(BaseException):
            pass

        def kill(done: int, _total: int) -> None:
            if done == 4:
                raise Killed

        with pytest.raises(Killed):
            upkeep.rebuild(factory, actor, guest, progress=kill)
        for number in (0, 5):
            assert found(factory, actor, guest, "email", f"person{number}@example.com") == [keys[number]]
        upkeep.rebuild(factory, actor, guest)
        with db.open_session(factory, actor) as session:
            live = EntityTokens(keys_of(session).keys, session.connection(), Guest).live
        assert {one.generation for one in live} == {1}, "it goes on with the generation that was begun"
        assert len(tokens(factory, actor)) == 6

    def test_the_check_finds_a_budget_that_the_table_has_outgrown_and_alarms(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # ENC-17
        add(email="a@example.com")
        with db.open_session(factory, actor) as session:
            assert upkeep.check(session, guest).problem is None
            monkeypatch.setattr(EntityTokens, "count", lambda _self: 10_000_000)
            state = upkeep.check(session, guest)
        assert state.problem is not None
        assert state.stale
        assert metrics.BLIND_INDEX.labels("guest", "budget")._value.get() == 1

    def test_the_check_alarms_for_a_token_that_covers_over_five_percent(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # ENC-17
        monkeypatch.setattr(upkeep, "FEWEST_ROWS", 20)
        for number in range(20):
            add(email="info@example.com" if number < 5 else f"person{number}@example.com")
        with db.open_session(factory, actor) as session:
            state = upkeep.check(session, guest)
        assert state.overfull >= 1
        assert metrics.BLIND_INDEX.labels("guest", "overfull")._value.get() >= 1


class TestNormalForms:
    @pytest.mark.parametrize("value", ["Ä@Example.com", "a@bücher.example", "a@xn--bcher-kva.example"])
    def test_spellings_of_one_address_share_a_token(
        self, value: str, factory: Factory, actor: Actor, guest: EntityDef, add: Add
    ) -> None:
        key = add(email=value)
        assert found(factory, actor, guest, "email", value.upper().replace("XN--", "xn--")) == [key]


class TestEpochs:
    def test_after_a_rotation_the_tokens_of_both_epochs_are_asked_until_they_are_built_anew(
        self, factory: Factory, actor: Actor, guest: EntityDef, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = add(email="old@example.com")
        keys = factory.kw["info"][db.KEYS]
        if all(info.number != 2 for info in keys.ring.list()):
            keys.ring.create_epoch(2)
        monkeypatch.setattr(keys, "active_epoch", lambda _connection=None: 2)
        new = add(email="new@example.com")
        assert found(factory, actor, guest, "email", "old@example.com") == [old]
        assert found(factory, actor, guest, "email", "new@example.com") == [new]
        upkeep.rebuild(factory, actor, guest)
        with db.open_session(factory, actor) as session:
            live = EntityTokens(keys, session.connection(), Guest).live
        assert {one.index.epoch for one in live} == {2}
        assert found(factory, actor, guest, "email", "old@example.com") == [old]
