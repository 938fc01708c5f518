"""Row rules: policy, view of lists and an oracle in Python agree on random data, for every scope, act and kind."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from crm_server.kernel import db, rowrules, rowsql
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.listing import ListQuery, fetch, rules
from crm_server.kernel.rowrules import RowAction, Scope
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.settings import Settings
from tests.integration.access.conftest import NAMED, Company, actor

KINDS = tuple(rowrules.GUARDED)


def some_scopes(dice: random.Random) -> dict[str, list[str]]:
    found = {}
    for entity in KINDS:
        for act in RowAction:
            possible = [scope.value for scope in rowrules.available(entity)]
            narrow = [name for name in possible if name != "all"]
            chosen = ["all"] if dice.random() < 0.1 else dice.sample(narrow, dice.randint(0, len(narrow)))
            found[f"{entity}:{act.value}"] = chosen
    return rowrules.clean(found)


def seen(company: Company, entity: str, who: Actor) -> set[UUID]:
    company.tell(who)
    return set(company.connection.execute(select(datamap()[entity].table.c.id)).scalars())


def changeable(company: Company, entity: str, who: Actor, act: RowAction) -> set[UUID]:
    """The rows that an UPDATE or DELETE of raw SQL touches; taken back."""
    company.tell(who)
    table = f'crm."{entity}"'
    statement = f"update {table} set version = version + 1 returning id"
    if act is RowAction.DELETE:
        statement = f"delete from {table} returning id"
    savepoint = company.connection.begin_nested()
    try:
        return set(company.connection.execute(text(statement)).scalars())
    finally:
        savepoint.rollback()


class TestAgreement:
    @pytest.mark.parametrize("seed", range(12))
    def test_policy_view_list_and_oracle_name_the_same_rows(self, company: Company, seed: int) -> None:
        """# AUTH row rules"""
        dice = random.Random(seed)
        who = actor(dice.choice(company.users), some_scopes(dice))
        for entity in KINDS:
            records = company.records[entity]
            expected = {key for key in records if company.reaches(who, entity, RowAction.READ, key)}
            assert seen(company, entity, who) & records.keys() == expected, entity
            if rules.named_by_key(datamap()[entity], who):
                company.tell(who)
                named = company.connection.exec_driver_sql(f"select {rowsql.reached(datamap()[entity])}")
                assert set(named.scalar_one()) & records.keys() == expected, entity
                view = text(f"select id from {rowsql.mine(datamap()[entity])}")
                shown = company.connection.execute(view).scalars().all()
                assert set(shown) & records.keys() == expected, entity
                assert len(shown) == len(set(shown)), "a row within several scopes is shown once"
            company.tell(who)
            page = fetch(company.connection, datamap(), datamap()[entity], ListQuery(limit=200), who)
            assert {UUID(row["id"]) for row in page.rows} & records.keys() == expected, entity

    @pytest.mark.parametrize("seed", range(6))
    def test_raw_sql_changes_and_removes_what_the_oracle_allows(self, company: Company, seed: int) -> None:
        dice = random.Random(100 + seed)
        who = actor(dice.choice(company.users), some_scopes(dice))
        for entity in KINDS:
            records = company.records[entity]
            reached = {
                act: {key for key in records if company.reaches(who, entity, act, key)} for act in RowAction
            }
            # Whoever may delete may put into the bin, which PostgreSQL can't tell from another change.
            both = reached[RowAction.UPDATE] | reached[RowAction.DELETE]
            assert changeable(company, entity, who, RowAction.UPDATE) & records.keys() == both, entity
            assert (
                changeable(company, entity, who, RowAction.DELETE) & records.keys()
                == reached[RowAction.DELETE]
            ), entity

    @pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ALL])
    def test_each_scope_alone_names_the_rows_that_its_words_say(self, company: Company, scope: Scope) -> None:
        for entity in KINDS:
            if scope not in rowrules.available(entity):
                continue
            scopes = {f"{entity}:read": [scope.value]}
            if scope is Scope.RELATED:
                scopes |= {f"{name}:read": ["own"] for name in NAMED}
            hits = 0
            for user in company.users:
                who = actor(user, scopes)
                expected = {
                    key
                    for key in company.records[entity]
                    if company.within(who, entity, RowAction.READ, key, scope)
                }
                hits += len(expected)
                assert seen(company, entity, who) & company.records[entity].keys() == expected
            assert hits, f"nothing shows {scope} on {entity}"


MANY = """
with person as (insert into identity."user" (id, login, name) values (gen_random_uuid(), 'one', 'One') returning id),
made as (insert into crm.data_subject (id, version, event_id)
  select gen_random_uuid(), 1, gen_random_uuid() from generate_series(1, 3000) returning id)
insert into crm.contact (id, subject_id, version, event_id, created_at, updated_at, owner_id, sealed_version)
  select gen_random_uuid(), made.id, 1, gen_random_uuid(), now(), now(), person.id, 1 from made, person"""
READ = """
select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_xact_all_tables where relid = 'crm.contact'::regclass"""
"""So many contacts this transaction has looked at."""


class TestViewOfLists:
    def test_rows_that_the_transaction_moved_are_shown_where_they_lie_now(self, company: Company) -> None:
        user = company.users[0]
        who = actor(user, {"contact:read": ["own"], "contact:update": ["own"]})
        view = text(f"select id, version from {rowsql.mine(datamap()['contact'])}")
        company.tell(who)
        before = dict(company.connection.execute(view).all())
        company.connection.execute(text("update crm.contact set version = version + 1"))
        after = dict(company.connection.execute(view).all())
        assert before
        assert after == {key: version + 1 for key, version in before.items()}

    def test_it_reads_no_whole_table_where_everything_belongs_to_one_person(self, settings: Settings) -> None:
        """Statistics say then that whoever reaches anybody's records reaches them all."""
        scopes = {"contact:read": ["own", "team", "territory", "managed", "shared"]}
        owner = manage.owner_engine(settings.owner_database_url)
        with owner.connect() as connection:
            connection.exec_driver_sql(*db.telling(system_actor()))
            connection.execute(text(MANY))
            connection.execute(text("analyze crm.contact"))
            connection.exec_driver_sql(*db.telling(actor(uuid4(), scopes)))
            before = connection.execute(text(READ)).scalar_one()
            view = text(f"select id from {rowsql.mine(datamap()['contact'])}")
            assert not connection.execute(view).all()
            assert connection.execute(text(READ)).scalar_one() == before
            connection.rollback()
        owner.dispose()

    def test_nothing_is_written_through_it(self, company: Company) -> None:
        company.tell(actor(company.users[0], rowrules.working()))
        with pytest.raises(DBAPIError, match="cannot update view"):
            company.connection.execute(text("update kontor.my_contact set version = version + 1"))


class TestGuard:
    def test_a_transaction_that_tells_nothing_sees_and_writes_nothing(self, company: Company) -> None:
        company.connection.exec_driver_sql("select set_config('kontor.rows', '', true)")
        for entity in KINDS:
            table = datamap()[entity].table
            assert company.connection.execute(select(table.c.id)).first() is None
            view = text(f"select id from {rowsql.mine(datamap()[entity])}")
            assert company.connection.execute(view).first() is None
        with pytest.raises(ProgrammingError, match="row-level security"):
            company.connection.exec_driver_sql(
                "insert into crm.account (id, name) values (gen_random_uuid(), 'x')"
            )

    def test_without_the_permission_a_scope_reaches_nothing(self, company: Company) -> None:
        who = actor(company.users[0], rowrules.everything(), {"crm:account:read"})
        assert seen(company, "account", who) >= company.records["account"].keys()
        assert seen(company, "contact", who) == set()

    def test_every_table_of_records_and_their_parts_is_guarded(self) -> None:
        guarded = rowsql.guarded_tables(datamap())
        for entity in datamap():
            parent = entity.policy.parent
            target = entity.fields[parent].policy.target if parent else None
            if entity.name in rowrules.GUARDED or target in rowrules.GUARDED:
                assert entity.table.fullname in guarded, entity.name
            if {"record_type", "record_id"} <= entity.fields.keys():
                assert entity.table.fullname in guarded, entity.name

    def test_numbers_are_those_of_the_data_map(self) -> None:
        assert {name: datamap()[name].number for name in rowrules.GUARDED} == rowrules.NUMBERS

    def test_a_savepoint_that_opens_the_transaction_tells_as_well(self, engine) -> None:
        factory = db.session_factory(engine)
        with db.open_session(factory, actor(UUID(int=5), {})) as session:
            with session.begin_nested():
                told = session.scalar(text("select current_setting('kontor.rows', true)"))
            session.rollback()
        assert told not in {"", "*"}


class TestScopes:
    def test_whoever_may_change_may_see(self) -> None:
        assert rowrules.clean({"contact:update": ["team"], "contact:read": ["own"]}) == {
            "contact:read": ["own", "team"],
            "contact:update": ["team"],
        }

    @pytest.mark.parametrize(
        "raw", [{"nonsense:read": ["own"]}, {"contact:fly": ["own"]}, {"contact:read": ["related"]}]
    )
    def test_what_no_role_can_have_is_refused(self, raw: dict[str, list[str]]) -> None:
        with pytest.raises(rowrules.BadScopes):
            rowrules.clean(raw)

    def test_scopes_of_several_roles_add_up(self) -> None:
        one, other = rowrules.flat({"lead:read": ["own"]}), rowrules.flat({"lead:read": ["team"]})
        who = Actor(UUID(int=1), "x", permissions=frozenset({"crm:lead:read"}), scopes=one | other)
        assert rowrules.scopes_of(who, "lead", RowAction.READ) == {Scope.OWN, Scope.TEAM}

    def test_built_in_scopes_are_in_their_stored_form(self) -> None:
        assert rowrules.clean(rowrules.everything()) == dict(sorted(rowrules.everything().items()))
        assert rowrules.clean(rowrules.working()) == dict(sorted(rowrules.working().items()))

    def test_what_is_told_is_letters_digits_and_commas(self) -> None:
        who = actor(UUID(int=1), rowrules.working())
        assert set(rowrules.told(who)) <= set("abcdefghijklmnopqrstuvwxyz0123456789,")
        assert rowrules.told(system_actor()) == "*"
