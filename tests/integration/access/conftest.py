"""A small company of random shape: people, teams, a tree of territories, who reports to whom, records and shares."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.orm import Session

from crm_server.domain.identity.models import Team, TeamMember, Territory, TerritoryMember, User
from crm_server.domain.sharing.models import RecordShare
from crm_server.kernel import db, rowrules
from crm_server.kernel.actor import Actor, system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.keys import Keys
from crm_server.kernel.rowrules import RowAction, Scope
from crm_server.models import datamap
from crm_server.services import records
from crm_server.settings import Settings

NAMED: dict[str, dict[str, Any]] = {
    "account": {"name": "Account"},
    "contact": {"family_name": "Contact"},
    "lead": {"family_name": "Lead"},
    "opportunity": {"name": "Opportunity"},
    "case": {"title": "Case"},
}


@dataclass
class Company:
    """What the database holds, as plain Python, and an oracle that decides without SQL."""

    connection: Connection
    users: list[UUID] = field(default_factory=list)
    manager: dict[UUID, UUID | None] = field(default_factory=dict)
    teams: dict[UUID, set[UUID]] = field(default_factory=dict)
    above: dict[UUID, UUID | None] = field(default_factory=dict)
    territories: dict[UUID, set[UUID]] = field(default_factory=dict)
    records: dict[str, dict[UUID, dict[str, Any]]] = field(default_factory=dict)
    shares: list[dict[str, Any]] = field(default_factory=list)

    def reaches(self, actor: Actor, entity: str, act: RowAction, key: UUID) -> bool:
        """Whether an actor reaches a record, worked out from the words of docs/access.md."""
        scopes = rowrules.scopes_of(actor, entity, act)
        return Scope.ALL in scopes or any(self.within(actor, entity, act, key, scope) for scope in scopes)

    def within(self, actor: Actor, entity: str, act: RowAction, key: UUID, scope: Scope) -> bool:
        """Whether a record is within one scope of an actor."""
        row = self.records[entity][key]
        mine = {team for team, members in self.teams.items() if actor.id in members}
        match scope:
            case Scope.OWN:
                found = row["owner_id"] == actor.id
            case Scope.TEAM if "team_id" in row:
                found = row["team_id"] in mine
            case Scope.TEAM:
                found = any(row["owner_id"] in self.teams[team] for team in mine)
            case Scope.TERRITORY:
                found = any(
                    actor.id in self.territories[place] for place in _up(self.above, row["territory_id"])
                )
            case Scope.MANAGED:
                found = actor.id in list(_up(self.manager, row["owner_id"]))[1:]
            case Scope.RELATED:
                found = any(
                    row.get(name) is not None
                    and self.reaches(actor, name.removesuffix("_id"), RowAction.READ, row[name])
                    for name in rowrules.GUARDED[entity]
                )
            case _:
                found = any(
                    share["record_id"] == key
                    and (share["user_id"] == actor.id or share["team_id"] in mine)
                    and (share["until"] is None or share["until"] > datetime.now(UTC))
                    and (act is RowAction.READ or share["level"] == "write")
                    for share in self.shares
                )
        return found

    def tell(self, actor: Actor) -> None:
        """Let the connection act as somebody."""
        self.connection.exec_driver_sql(*db.telling(actor))


def _up(above: dict[UUID, UUID | None], start: UUID | None) -> Iterator[UUID]:
    """A place and everything above it."""
    while start is not None:
        yield start
        start = above[start]


def actor(key: UUID, scopes: dict[str, list[str]], permissions: set[str] | None = None) -> Actor:
    """Somebody with row scopes and, unless said otherwise, every permission on records."""
    if permissions is None:
        permissions = {
            f"crm:{name}:{act}" for name in rowrules.GUARDED for act in ("read", "create", "update", "delete")
        }
    return Actor(
        id=key,
        name="Somebody",
        permissions=frozenset(permissions | {"app:self:use"}),
        scopes=rowrules.flat(scopes),
        fields=dict.fromkeys(("general", "personal", "financial"), "write"),
    )


@pytest.fixture(scope="module")
def world(engine: Engine, settings: Settings, keys: Keys) -> Iterator[Company]:
    """A company made by chance, always the same; rolled back at the end."""
    dice = random.Random(4)
    with engine.connect() as connection:
        outer = connection.begin()
        connection.info[db.KEYS] = keys
        made = Company(connection)
        made.tell(system_actor())
        _people(made, dice)
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            session.info |= {db.ACTOR: system_actor(), db.SETTINGS: settings, db.KEYS: keys}
            _records(made, dice, session)
            session.commit()
        _shares(made, dice)
        yield made
        outer.rollback()


@pytest.fixture
def company(world: Company) -> Iterator[Company]:
    """The company as it was made, whatever other tests did with it."""
    savepoint = world.connection.begin_nested()
    yield world
    savepoint.rollback()


def _people(made: Company, dice: random.Random) -> None:
    for number in range(12):
        key = new_id()
        boss = dice.choice([None, *made.users]) if made.users else None
        made.connection.execute(
            insert(User).values(id=key, login=f"user-{key}", name=f"Person {number}", manager_id=boss)
        )
        made.users.append(key)
        made.manager[key] = boss
    for number in range(4):
        key = new_id()
        made.connection.execute(insert(Team).values(id=key, name=f"Team {key} {number}"))
        made.teams[key] = set(dice.sample(made.users, 3))
        made.connection.execute(
            insert(TeamMember), [{"team_id": key, "user_id": one} for one in made.teams[key]]
        )
    for number in range(15):
        key = new_id()
        parent = dice.choice([None, *made.above]) if made.above else None
        made.connection.execute(
            insert(Territory).values(id=key, name=f"Territory {number}", parent_id=parent)
        )
        made.above[key] = parent
        made.territories[key] = set(dice.sample(made.users, dice.choice([0, 0, 1])))
        for one in made.territories[key]:
            made.connection.execute(insert(TerritoryMember).values(territory_id=key, user_id=one))


def _records(made: Company, dice: random.Random, session: Session) -> None:
    stage = made.connection.exec_driver_sql("select id::text, pipeline_id::text from crm.stage limit 1").one()
    for entity, values in NAMED.items():
        fields = datamap()[entity].fields
        more = {"stage_id": stage[0], "pipeline_id": stage[1]} if entity == "opportunity" else {}
        made.records[entity] = {}
        for _number in range(30):
            row: dict[str, Any] = {"owner_id": dice.choice([None, *made.users])}
            if "team_id" in fields:
                row["team_id"] = dice.choice([None, *made.teams])
            if "territory_id" in fields:
                row["territory_id"] = dice.choice([None, *made.above])
            record = records(session, entity).create(values | more | _plain(row))
            made.records[entity][record.id] = row
    made.records["activity"] = {}
    for _number in range(50):
        row = {"owner_id": dice.choice([None, *made.users])}
        for entity in NAMED:
            row[f"{entity}_id"] = dice.choice([None, None, *made.records[entity]][:8])
        record = records(session, "activity").create({"title": "Call"} | _plain(row))
        made.records["activity"][record.id] = row


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value is None else str(value) for name, value in row.items()}


def _shares(made: Company, dice: random.Random) -> None:
    now = datetime.now(UTC)
    for entity, there in made.records.items():
        for key in dice.sample(list(there), 12):
            to_team = dice.random() < 0.5
            share = {
                "record_type": rowrules.NUMBERS[entity],
                "record_id": key,
                "user_id": None if to_team else dice.choice(made.users),
                "team_id": dice.choice(list(made.teams)) if to_team else None,
                "level": dice.choice(["read", "write"]),
                "until": dice.choice([None, now + timedelta(days=1), now - timedelta(days=1)]),
            }
            made.connection.execute(insert(RecordShare).values(id=new_id(), **share))
            made.shares.append(share)
