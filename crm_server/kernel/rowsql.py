# ruff: noqa: S608 - statements are put together from names of the data map; what differs by user are settings.
"""Row rules as SQL: one condition a scope, and the policies made of them.

Every condition is text over the alias of a table; who asks is read from the settings of the transaction through views
(`kontor.my_team` and so on), once a statement. The same conditions serve the policies, the views of lists and the
access explainer. Only operators that are leakproof stand in them, so that an index may be used below a policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Index, text

from crm_server.kernel.rowrules import GUARDED, NUMBERS, RowAction, Scope, available, everywhere, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import MetaData

    from compliance.datamap import DataMap, EntityDef

ME = "(select kontor.actor_id())"
_CREATORS = tuple(scope for scope in Scope if scope not in {Scope.ALL, Scope.SHARED, Scope.RELATED})

VIEWS = """
create or replace view kontor.my_team as
  select team_id from identity.team_member where user_id = (select kontor.actor_id());
create or replace view kontor.my_teammate as
  select user_id from identity.team_member where team_id in (select team_id from kontor.my_team);
create or replace view kontor.my_territory as
  select p.territory_id from identity.territory_member m
    join identity.territory_path p on p.ancestor_id = m.territory_id
   where m.user_id = (select kontor.actor_id());
create or replace view kontor.my_report as
  with recursive below (user_id) as (
    select id from identity."user" where manager_id = (select kontor.actor_id())
    union
    select u.id from identity."user" u join below on u.manager_id = below.user_id)
  select user_id from below;
create or replace view kontor.my_share as
  select record_type, record_id, level from crm.record_share
   where user_id = (select kontor.actor_id()) and (until is null or until > now())
  union all
  select record_type, record_id, level from crm.record_share
   where team_id in (select team_id from kontor.my_team) and (until is null or until > now());
create or replace view kontor.known_attachment as select id from crm.attachment;
grant select on kontor.my_team, kontor.my_teammate, kontor.my_territory, kontor.my_report, kontor.my_share,
  kontor.known_attachment to kontor_app;
"""
"""The sets that conditions ask. They run with the rights of their owner, so a policy that asks them meets no other."""


def condition(entity: EntityDef, scope: Scope, act: RowAction | None, alias: str) -> str:
    """When a record is within a scope, whoever has it.

    Args:
        entity: A guarded kind of record.
        scope: One of its scopes, not ALL.
        act: A share for reading is none for changing; None is the making of records.
        alias: Alias of the record's table.
    """
    if scope is Scope.OWN:
        return f"{alias}.owner_id = {ME}"
    if scope is Scope.RELATED:
        return " or ".join(
            f"exists (select 1 from {_table(entity.fields[name].policy.target or '')} l where l.id = {alias}.{name})"
            for name in GUARDED[entity.name]
        )
    column, wanted = _set(entity, scope, act)
    return f"{alias}.{column} in ({wanted})"


def _set(entity: EntityDef, scope: Scope, act: RowAction | None) -> tuple[str, str]:
    """A column, and the query of the values that it has in records within the scope."""
    level = "" if act is RowAction.READ else " and level = 'write'"
    team = "team_id", "select team_id from kontor.my_team"
    if "team_id" not in entity.fields:
        team = "owner_id", "select user_id from kontor.my_teammate"
    return {
        Scope.OWN: ("owner_id", "select kontor.actor_id()"),
        Scope.TEAM: team,
        Scope.TERRITORY: ("territory_id", "select territory_id from kontor.my_territory"),
        Scope.MANAGED: ("owner_id", "select user_id from kontor.my_report"),
        Scope.SHARED: (
            "id",
            f"select record_id from kontor.my_share where record_type = {entity.number}::smallint{level}",
        ),
    }[scope]


def rule(entity: EntityDef, alias: str, *acts: RowAction | None, bin_needs: RowAction | None = None) -> str:
    """When whoever the transaction acts for reaches a record in one of the acts: all of them, or by a scope they have.

    Args:
        entity: A guarded kind of record.
        alias: Alias of its table.
        acts: What is to be done; None is the making of records.
        bin_needs: The act that counts alone for records in the bin.
    """
    scopes = [scope for scope in available(entity.name) if scope is not Scope.ALL]
    if set(acts) == {None}:
        scopes = [scope for scope in scopes if scope in _CREATORS]

    def told(function: str, scope: Scope) -> str:
        words = []
        for act in acts:
            word = f"(select kontor.{function}('{token(entity.name, act, scope)}'))"
            if bin_needs is not None and act is not bin_needs:
                word = f"{alias}.deleted_at is null and {word}"
            words.append(word)
        return " or ".join(words)

    weakest = RowAction.READ if RowAction.READ in acts else acts[0]
    return " or ".join(
        [
            told("reaches_all", Scope.ALL),
            *(
                f"({told('reaches', scope)}) and ({condition(entity, scope, weakest, alias)})"
                for scope in scopes
            ),
        ]
    )


def parent_rule(datamap: DataMap, parent: str, key: str, act: RowAction, *, whole: bool = True) -> str:
    """When a part follows a record that is reached: one that is read, or for writing one that may be changed or made.

    Args:
        datamap: The data map.
        parent: Kind of the record.
        key: SQL of its key in the part.
        act: READ, or UPDATE for any writing of parts.
        whole: Ask first whether all records are reached, which spares the look at the record.
    """
    entity = datamap[parent]
    found = f"exists (select 1 from {_table(parent)} p where p.id = {key}"
    if act is not RowAction.READ:
        found += f" and ({rule(entity, 'p', RowAction.UPDATE, None)})"
    found += ")"
    if not whole:
        return found
    return f"(select kontor.reaches_all('{token(parent, act, Scope.ALL)}')) or {found}"


def any_parent_rule(datamap: DataMap, kind: str, key: str, act: RowAction, otherwise: str = "true") -> str:
    """As `parent_rule`, for what may hang on any kind of record. `kind` is the SQL of the record's entity number."""
    cases = " ".join(
        f"when {NUMBERS[name]} then {parent_rule(datamap, name, key, act, whole=False)}" for name in GUARDED
    )
    return f"(select kontor.reaches_all('{everywhere(act)}')) or case {kind} {cases} else {otherwise} end"


def _table(entity: str) -> str:
    return f'crm."{entity}"'


_Policy = tuple[str, str, str | None, str | None]
"""(name, command, using, with check)."""


def policies(datamap: DataMap) -> dict[str, list[_Policy]]:
    """The policies of every table under row rules, by full name of the table."""
    found: dict[str, list[_Policy]] = {}
    for name in GUARDED:
        found[_table(name)] = _record_policies(datamap[name])
    for entity in datamap:
        parent = entity.policy.parent
        target = entity.fields[parent].policy.target if parent is not None else None
        if parent is not None and target is not None and target in GUARDED:
            own = f'"{entity.table.name}".{parent}'
            found[f'crm."{entity.table.name}"'] = _part_policies(
                parent_rule(datamap, target, own, RowAction.READ),
                parent_rule(datamap, target, own, RowAction.UPDATE),
            )
    for table in ("attachment", "tagging", "record_share"):
        kind, key = f"{table}.record_type", f"{table}.record_id"
        found[f'crm."{table}"'] = _part_policies(
            any_parent_rule(datamap, kind, key, RowAction.READ),
            any_parent_rule(datamap, kind, key, RowAction.UPDATE),
        )
    kind = "(select f.entity from crm.custom_field f where f.id = custom_value.field_id)"
    found['crm."custom_value"'] = _part_policies(
        any_parent_rule(datamap, kind, "custom_value.record_id", RowAction.READ),
        any_parent_rule(datamap, kind, "custom_value.record_id", RowAction.UPDATE),
    )
    # The chunks of a file come in before its attachment is there.
    new = "not exists (select 1 from kontor.known_attachment k where k.id = attachment_chunk.attachment_id)"
    read = "exists (select 1 from crm.attachment a where a.id = attachment_chunk.attachment_id)"
    found['crm."attachment_chunk"'] = _part_policies(
        f"(select kontor.reaches_all('{everywhere(RowAction.READ)}')) or {read} or {new}",
        f"(select kontor.reaches_all('{everywhere(RowAction.UPDATE)}')) or {read} or {new}",
    )
    mine = f"(select kontor.is_system()) or owner_id = {ME} or shared"
    found['crm."saved_view"'] = _part_policies(mine, mine)
    found['crm."change"'] = [
        (
            "rows_read",
            "select",
            any_parent_rule(
                datamap, "entity::integer * (operation <> 'purge')::integer", "record_id", RowAction.READ
            ),
            None,
        ),
        ("rows_delete", "delete", "(select kontor.is_system())", None),
    ]
    return found


def _record_policies(entity: EntityDef) -> list[_Policy]:
    """Whoever may delete a record restores it from the bin; into the bin it goes with the same right. A changed record
    must be one that its changer still sees: PostgreSQL asks the policy of reading for the new row as well.
    """
    own = f'"{entity.table.name}"'
    drop = rule(entity, own, RowAction.DELETE)
    change = rule(entity, own, RowAction.UPDATE, RowAction.DELETE, bin_needs=RowAction.DELETE)
    return [
        ("rows_read", "select", rule(entity, own, RowAction.READ), None),
        ("rows_create", "insert", None, rule(entity, own, None)),
        ("rows_update", "update", change, f"{own}.deleted_at is null or {drop}"),
        ("rows_delete", "delete", drop, None),
    ]


def _part_policies(read: str, write: str) -> list[_Policy]:
    return [
        ("rows_read", "select", read, None),
        ("rows_create", "insert", None, write),
        ("rows_update", "update", write, write),
        ("rows_delete", "delete", write, None),
    ]


FEW = 3000
"""Up to so many rows of a list are named. Beyond, an ordered walk through a million rows reaches a page sooner."""
MOST = 20_000
"""Up to so many are ever named."""


def reached(entity: EntityDef) -> str:
    """The call that gives the keys of the live records within the actor's scopes of reading, one more than `MOST` at
    most.
    """
    return f"kontor.reached_{entity.name}({MOST + 1})"


def mine(entity: EntityDef) -> str:
    """The view of the live records within the actor's scopes of reading, for those who reach few.

    It asks no policy, which would ask the same conditions again for each row.
    """
    return f"kontor.my_{entity.name}"


def _reached_function(entity: EntityDef, name: str, column: str, kind: str) -> str:
    """One query a scope, so that each finds its rows by an index. It runs with the rights of its owner, whom no policy
    limits, since it asks what the policy asks; the scopes RELATED and ALL have no index and aren't named. A row
    within several scopes comes several times, which costs less than looking for it. It never joins by reading a whole
    index, nor by processes that take longer to start than the answer takes.

    Where all records belong to a handful of people, statistics say that whoever reaches anybody's reaches most of them,
    and that the table may as well be read. So nothing is left to choose: each value is looked up by itself (`offset 0`
    keeps it so), as a range from the value to itself in the order of its column, which one index alone can give.
    """
    branches = " union all ".join(
        f"select b.{column} from (select unnest(array({wanted}))) m(x) cross join lateral "
        f"(select {column} from {_table(entity.name)} "
        f"where {within} between m.x and m.x and deleted_at is null order by {within} offset 0) b "
        f"where (select kontor.reaches('{token(entity.name, RowAction.READ, scope)}'))"
        for scope in available(entity.name)
        if scope not in {Scope.ALL, Scope.RELATED}
        for within, wanted in (_set(entity, scope, RowAction.READ),)
    )
    return (
        f"create or replace function kontor.{name}_{entity.name}(most integer) returns {kind}[] "
        "language plpgsql stable security definer set search_path = pg_catalog "
        "set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off "
        "set max_parallel_workers_per_gather = 0 set plan_cache_mode = force_generic_plan "
        f"as $$ begin return array({branches} limit most); end $$"
    )


def _view_of_mine(entity: EntityDef) -> Iterator[str]:
    """Its rows are named by where they lie, which spares the way through the index of keys: the function sees what the
    statement sees, whose rows stay where they are for as long as it runs. What a reader asks besides is asked of no
    other row (`offset 0`), or PostgreSQL might begin with an index for that. The view is made anew rather than
    replaced, since the columns of the table may have changed.
    """
    view = mine(entity)
    yield _reached_function(entity, "places", "ctid", "tid")
    yield f"drop view if exists {view}"
    yield (
        f"create view {view} with (security_barrier) as select b.* from {_table(entity.name)} b "
        f"where b.ctid = any ((select kontor.places_{entity.name}({MOST + 1}))::tid[]) offset 0"
    )
    yield f"grant select on {view} to kontor_app"


def statements(datamap: DataMap) -> Iterator[str]:
    """The SQL that brings views and policies up to this release. Idempotent; run after tables and functions."""
    yield VIEWS
    for name in GUARDED:
        yield _reached_function(datamap[name], "reached", "id", "uuid")
        yield from _view_of_mine(datamap[name])
    for table, found in policies(datamap).items():
        yield f"alter table {table} enable row level security"
        for name, command, using, check in found:
            yield f"drop policy if exists {name} on {table}"
            parts = f" using ({using})" if using else ""
            parts += f" with check ({check})" if check else ""
            yield f"create policy {name} on {table} for {command} to kontor_app{parts}"


def add_indexes(metadata: MetaData) -> None:
    """Declare the indexes that find records by team and territory, and those who report to somebody.

    Those by owner stand with the models.
    """
    for name in GUARDED:
        table = metadata.tables[f"crm.{name}"]
        for column in ("team_id", "territory_id"):
            if column in table.c:
                Index(
                    f"ix_{name}_{column.removesuffix('_id')}",
                    table.c[column],
                    table.c.id,
                    postgresql_where=text("deleted_at is null"),
                )
    people = metadata.tables["identity.user"]
    Index("ix_user_manager", people.c.manager_id, postgresql_where=text("manager_id is not null"))


def guarded_tables(datamap: DataMap) -> frozenset[str]:
    """Full names of the tables under row rules, as `Table.fullname` writes them."""
    return frozenset(name.replace('"', "") for name in policies(datamap))


__all__ = [
    "FEW",
    "MOST",
    "add_indexes",
    "any_parent_rule",
    "condition",
    "guarded_tables",
    "mine",
    "parent_rule",
    "policies",
    "reached",
    "rule",
    "statements",
]
