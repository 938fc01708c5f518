"""The truth table of row rules: scopes × kinds of records × ties to them × acts, through every door, all agreeing.

One person, and for each kind of record one record for each tie to it. For each scope the person gets a role with that
scope alone, and what happens through API, page, list, search, export, change feed and raw SQL as the application role
is compared with what the scope says.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text
from webtest import TestApp

from crm_server.app import main
from crm_server.domain.identity.actors import actor_of_user
from crm_server.domain.identity.models import (
    Role,
    Team,
    TeamMember,
    Territory,
    TerritoryMember,
    User,
    UserRole,
)
from crm_server.domain.imports.existing import Finder
from crm_server.domain.sharing.models import RecordShare
from crm_server.domain.tags.services import TagService
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.rowrules import GUARDED, RowAction, Scope
from crm_server.local.postgres import Cluster
from crm_server.models import datamap
from crm_server.services import records, service
from crm_server.settings import Settings
from tests.conftest import copy_database, settings_of
from tests.integration.api.conftest import Client, make_token

NAMED = {
    "account": ("name", "website"),
    "contact": ("family_name", "job_title"),
    "lead": ("family_name", "job_title"),
    "opportunity": ("name", "description"),
    "activity": ("title", "location"),
    "case": ("title", "description"),
}
"""The field that names a record of each kind, and one to change."""
TIES = ("own", "team", "territory", "managed", "shared", "shared_write", "related", "none")
FITS: dict[Scope, tuple[str, ...]] = {
    Scope.OWN: ("own",),
    Scope.TEAM: ("team",),
    Scope.TERRITORY: ("territory",),
    Scope.MANAGED: ("managed",),
    Scope.SHARED: ("shared", "shared_write"),
    Scope.RELATED: ("related",),
    Scope.ALL: TIES,
}


def fitting(scope: Scope, entity: str) -> set[str]:
    """The ties to records of a kind that a scope is about."""
    if scope not in rowrules.available(entity):
        return set()
    if scope is Scope.TEAM and "team_id" not in datamap()[entity].fields:
        # Then the owner's team counts, and the person is in it as well.
        return {"team", "own"}
    return set(FITS[scope])


@dataclass
class World:
    """The person, and the records by kind and tie."""

    site: Any
    engine: Any
    person: Client
    admin: Client
    role: UUID
    records: dict[str, dict[str, UUID]] = field(default_factory=dict)

    def grant(self, scopes: dict[str, list[str]]) -> None:
        """Give the person's role these scopes, as an administrator would."""
        with db.open_session(self.site.registry.session_factory, system_actor()) as session:
            role = session.get_one(Role, self.role)
            role.scopes = rowrules.clean(scopes)
            session.commit()

    def browser(self) -> TestApp:
        """The person before a page."""
        with db.open_session(self.site.registry.session_factory, system_actor()) as session:
            actor = actor_of_user(session, self.person.user_id)
        environ = {"HTTP_HOST": "localhost", "wsgi.url_scheme": "https", "kontor.identity": actor}
        return TestApp(self.site, extra_environ=environ)

    def raw(self, statement: str, actor: Any) -> set[UUID]:
        """The keys that a statement of raw SQL returns as the application role, taken back."""
        with db.connect(self.engine, actor) as connection:
            return set(connection.execute(text(statement)).scalars())


@pytest.fixture(scope="module")
def world(cluster: Cluster, template: str) -> Iterator[World]:
    copy_database(cluster, template, "kontor_truth")
    settings: Settings = settings_of(cluster, "kontor_truth", KONTOR_LOG_LEVEL="warning")
    site = main(settings)
    engine = site.registry.engine
    permissions = ["integration:changes:read"] + [
        f"crm:{name}:{act}" for name in GUARDED for act in ("read", "create", "update", "delete", "export")
    ]
    levels = dict.fromkeys(("general", "personal", "financial"), "write")
    own = {"permissions": permissions, "scopes": {}, "field_rules": levels}
    token, user_id = make_token(engine, own=own)
    admin_token, admin_id = make_token(engine, "Manager")
    app = TestApp(site, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})
    with db.open_session(site.registry.session_factory, system_actor()) as session:
        role = session.scalars(select(UserRole.role_id).where(UserRole.user_id == user_id)).one()
    made = World(site, engine, Client(app, token, user_id), Client(app, admin_token, admin_id), role)
    _fill(made, user_id)
    yield made
    site.registry.hot.dispose()
    engine.dispose()


def _fill(made: World, person: UUID) -> None:
    report, stranger, team, region, place = (new_id() for _ in range(5))
    with db.open_session(made.site.registry.session_factory, system_actor()) as session:
        session.add_all(
            [
                User(id=report, login=f"report-{report}", name="Report", manager_id=person),
                User(id=stranger, login=f"stranger-{stranger}", name="Stranger"),
                Team(id=team, name="Ours"),
                Territory(id=region, name="North"),
            ]
        )
        session.flush()
        session.add(Territory(id=place, name="Harbour", parent_id=region))
        session.flush()
        session.execute(insert(TerritoryMember).values(territory_id=region, user_id=person))
        for user in (person, stranger):
            session.execute(insert(TeamMember).values(team_id=team, user_id=user))
        outsider = User(id=new_id(), login="outsider", name="Outsider")
        session.add(outsider)
        session.flush()
        stage = session.execute(text("select id::text, pipeline_id::text from crm.stage limit 1")).one()
        for entity in GUARDED:
            fields = datamap()[entity].fields
            made.records[entity] = {}
            for tie in TIES:
                if tie == "related" and not GUARDED[entity]:
                    continue
                if tie == "territory" and "territory_id" not in fields:
                    continue
                values: dict[str, Any] = {
                    NAMED[entity][0]: f"Truth {entity} {tie}",
                    "owner_id": str(outsider.id),
                }
                if entity == "opportunity":
                    values |= {"stage_id": stage[0], "pipeline_id": stage[1]}
                if tie in {"own", "managed"}:
                    values["owner_id"] = str(person if tie == "own" else report)
                elif tie == "team":
                    values |= {"team_id": str(team)} if "team_id" in fields else {"owner_id": str(stranger)}
                elif tie == "territory":
                    values["territory_id"] = str(place)
                elif tie == "related":
                    values["account_id"] = str(made.records["account"]["own"])
                record = records(session, entity).create(values)
                made.records[entity][tie] = record.id
                if tie.startswith("shared"):
                    level = "write" if tie == "shared_write" else "read"
                    session.add(
                        RecordShare(
                            id=new_id(), record_type=rowrules.NUMBERS[entity], record_id=record.id,
                            user_id=person, level=level,
                        )
                    )  # fmt: skip
        session.commit()


def _scopes(scope: Scope) -> dict[str, list[str]]:
    found = {
        f"{entity}:{act.value}": [scope.value]
        for entity in GUARDED
        for act in RowAction
        if scope in rowrules.available(entity) and not (scope is Scope.RELATED and act is not RowAction.READ)
    }
    if scope is Scope.RELATED:
        # What activities are about must be seen itself.
        found["account:read"] = [Scope.OWN.value]
    return found


@pytest.mark.parametrize("scope", list(Scope))
class TestTruthTable:
    def test_reading_is_the_same_through_every_door(self, world: World, scope: Scope) -> None:
        world.grant(_scopes(scope))
        page = world.browser()
        actor = page.extra_environ["kontor.identity"]
        feed = _feed(world)
        for entity, ties in world.records.items():
            collection = datamap()[entity].policy.collection
            expected = {
                key
                for tie, key in ties.items()
                if tie in fitting(scope, entity)
                or (scope is Scope.RELATED and entity == "account" and tie == "own")
            }
            for key in ties.values():
                status = 200 if key in expected else 404
                world.person.get(f"/{collection}/{key}", status=status)
                page.get(f"/{collection}/{key}", status=status)
            listed = world.person.get(f"/{collection}?limit=200&count=exact", status=200).json
            assert {UUID(row["id"]) for row in listed["data"]} == expected, entity
            shown = page.get(f"/{collection}", status=200).text
            assert {key for key in ties.values() if str(key) in shown} == expected, entity
            exported = world.person.get(f"/{collection}/export?fields=id", status=200)
            rows = list(csv.reader(io.StringIO(exported.body.decode("utf-8-sig"))))[1:]
            assert {UUID(cell) for row in rows for cell in row if len(cell) == 36} == expected, entity
            assert feed & set(ties.values()) == expected, entity
            assert world.raw(f'select id from crm."{entity}"', actor) == expected, entity
        if scope is not Scope.RELATED:
            found = world.person.get("/accounts?q=Truth", status=200).json["data"]
            named = {row["name"].rpartition(" ")[2] for row in found}
            assert named == fitting(scope, "account") & world.records["account"].keys()

    def test_counts_totals_home_bin_timeline_and_import_agree_with_it(
        self, world: World, scope: Scope
    ) -> None:
        world.grant(_scopes(scope))
        page = world.browser()
        actor = page.extra_environ["kontor.identity"]
        seen = {entity: set(world.raw(f'select id from crm."{entity}"', actor)) for entity in world.records}
        hidden = {
            str(key)
            for entity, ties in world.records.items()
            for key in ties.values()
            if key not in seen[entity]
        }
        for entity in world.records:
            collection = datamap()[entity].policy.collection
            counted = world.person.get(f"/{collection}?limit=1&count=exact", status=200).json["count"]
            shown = re.search(r"(\d+) records?\b", page.get(f"/{collection}", status=200).text)
            assert counted == len(seen[entity]) == int(shown[1] if shown else 0), entity

        home = page.get("/", status=200)
        assert not {key for key in hidden if key in home.text}
        figures = {link["href"].split("?")[0].strip("/"): link for link in home.html.select("a.card-link")}
        for entity in ("activity", "lead", "opportunity", "case"):
            figure = int(figures[datamap()[entity].policy.collection].select_one(".h2").get_text())
            assert figure == len({world.records[entity]["own"]} & seen[entity]), entity

        board = page.get("/opportunities/board", status=200)
        on_board = {str(key) for key in world.records["opportunity"].values() if str(key) in board.text}
        assert on_board == {str(key) for key in seen["opportunity"]}
        assert sum(int(one.get_text()) for one in board.html.select("h2 + .k-count")) == len(on_board)

        account = world.records["account"]["own"]
        about = world.records["activity"]["related"]
        if account in seen["account"]:
            told = world.person.get(f"/accounts/{account}/timeline", status=200).text
            assert (str(about) in told) is (about in seen["activity"])
            # The page shows the latest twelve happenings, the address above more of them.
            assert about in seen["activity"] or str(about) not in page.get(f"/accounts/{account}").text

        with db.connect(world.engine, system_actor()) as connection:
            for entity in world.records:
                connection.execute(text(f'update crm."{entity}" set deleted_at = now()'))
            connection.commit()
        try:
            for entity, ties in world.records.items():
                binned = page.get(f"/bin?kind={entity}", status=200).text
                assert {key for key in ties.values() if str(key) in binned} == seen[entity], entity
        finally:
            with db.connect(world.engine, system_actor()) as connection:
                for entity in world.records:
                    connection.execute(text(f'update crm."{entity}" set deleted_at = null'))
                connection.commit()

        finder = Finder(datamap()["account"], ("name",), ("website",), new_id())
        names = {(f"Truth account {tie}",): key for tie, key in world.records["account"].items()}
        with db.open_session(world.site.registry.session_factory, actor) as session:
            matched = {one.record_id for one in finder.find(session, set(names)).values()}
        assert matched == seen["account"]

    def test_changing_and_deleting_are_the_same_through_every_door(self, world: World, scope: Scope) -> None:
        world.grant(_scopes(scope))
        actor = world.browser().extra_environ["kontor.identity"]
        for entity, ties in world.records.items():
            collection, changed = datamap()[entity].policy.collection, NAMED[entity][1]
            fits = fitting(scope, entity) if scope is not Scope.RELATED else set()
            if scope is Scope.SHARED:
                fits = {"shared_write"}
            expected = {key for tie, key in ties.items() if tie in fits}
            table = f'crm."{entity}"'
            touched = world.raw(f"update {table} set version = version + 1 returning id", actor)
            assert touched == expected, entity
            removed = world.raw(f"delete from {table} returning id", actor)
            assert removed == expected, entity
            for tie, key in ties.items():
                path = f"/{collection}/{key}"
                version = world.admin.get(path, status=200).json["version"]
                answer = world.person.patch(
                    path, {changed: f"https://example.com/{scope.value}"}, version=version
                )
                seen = tie in fitting(scope, entity)
                refused = {403} if seen else {403, 404}
                if key in expected:
                    assert answer.status_int == 200, (entity, tie, answer.text)
                    world.person.delete(path, status=204)
                    world.admin.post(f"{path}/restore", {}, status=200)
                else:
                    assert answer.status_int in refused, (entity, tie, answer.text)
                    assert world.person.delete(path).status_int in refused, (entity, tie)


def _feed(world: World) -> set[UUID]:
    found: set[UUID] = set()
    cursor = ""
    while True:
        part = world.person.get(f"/changes?limit=1000{cursor}", status=200).json
        found |= {UUID(row["id"]) for row in part["data"]}
        if not part["more"]:
            return found
        cursor = f"&cursor={part['next_cursor']}"


def test_who_is_granted_nothing_reaches_nothing(world: World) -> None:
    world.grant({})
    actor = world.browser().extra_environ["kontor.identity"]
    assert not _feed(world)
    for entity, ties in world.records.items():
        collection = datamap()[entity].policy.collection
        assert world.person.get(f"/{collection}", status=200).json["data"] == []
        world.person.get(f"/{collection}/{next(iter(ties.values()))}", status=404)
        assert world.raw(f'select id from crm."{entity}"', actor) == set()


def test_parts_follow_their_record_in_raw_sql(world: World) -> None:
    """Comments, lines, participants, tags, files and custom values are seen with their record, and not without."""
    account = world.records["account"]
    case = world.records["case"]
    with db.open_session(world.site.registry.session_factory, system_actor()) as session:
        for key in account.values():
            service(session, TagService).add(("account", key), name="Truth")
        for key in case.values():
            records(session, "case_comment").create({"case_id": str(key), "body": "Hello"})
        session.commit()
    world.grant(_scopes(Scope.OWN))
    actor = world.browser().extra_environ["kontor.identity"]
    assert world.raw("select record_id from crm.tagging", system_actor()) >= set(account.values())
    assert world.raw("select record_id from crm.tagging", actor) == {account["own"]}
    assert world.raw("select case_id from crm.case_comment", system_actor()) >= set(case.values())
    assert world.raw("select case_id from crm.case_comment", actor) == {case["own"]}
    assert world.raw("select record_id from crm.record_share", actor) == set()
    world.grant(_scopes(Scope.SHARED))
    shared = {one for ties in world.records.values() for tie, one in ties.items() if tie.startswith("shared")}
    actor = world.browser().extra_environ["kontor.identity"]
    assert world.raw("select record_id from crm.record_share", actor) == shared
