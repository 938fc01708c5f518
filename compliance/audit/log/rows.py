"""How a row of `audit.event` becomes the event that a leaf commits to. The sealer and the readers share it, so that
both recompute the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from compliance.audit.log.leaf import encode_or_substitute
from compliance.audit.log.source import StoredLeaf

if TYPE_CHECKING:
    import psycopg2.extensions

COLUMNS = """
    e.event_id::text, to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    e.event_class,
    e.action, e.outcome, e.reason, e.severity, e.actor_ref::text, e.auth_method, e.session_ref::text,
    e.request_id::text, e.origin, e.object_type, e.object_ref::text, e.subject_ref::text[], e.purpose,
    e.policy_version, e.meta::text, encode(e.payload_commit, 'hex')"""
NAMES = (
    *(
        "event_id",
        "occurred_at",
        "class",
        "action",
        "outcome",
        "reason",
        "severity",
        "actor_ref",
        "auth_method",
    ),
    *("session_ref", "request_id", "origin", "object_type", "object_ref", "subject_ref", "purpose"),
    *("policy_version", "meta", "payload_commit"),
)
_META = NAMES.index("meta")


def event_of(row: Sequence[Any], tenant: str) -> dict[str, object]:
    """The event of a row that was selected with `COLUMNS`; further columns are ignored."""
    event: dict[str, object] = dict(zip(NAMES, row, strict=False))
    event["tenant"] = tenant
    event["meta"] = orjson.loads(row[_META]) if row[_META] else {}
    return event


def stored_leaves(
    sql: psycopg2.extensions.cursor, tenant: str, log: int, where: str, values: tuple[object, ...]
) -> Iterator[StoredLeaf]:
    """Leaves recomputed from rows, by index; an event row that is gone has an empty leaf.

    Args:
        sql: A cursor of any role that may read the log.
        tenant: Value of `tenant` in each leaf.
        log: Number of the log.
        where: A condition on `l`, the leaf; a constant of the caller with places for `values`.
        values: Its values.
    """
    sql.execute(
        f"select {COLUMNS}, l.index, l.leaf_hash, l.event_id::text from audit.leaf l "  # noqa: S608 - constants
        f"left join audit.event e on e.event_id = l.event_id where l.log = %s and {where} order by l.index",
        (log, *values),
    )
    for row in sql.fetchall():
        leaf = b"" if row[0] is None else encode_or_substitute(event_of(row, tenant))[0]
        yield StoredLeaf(int(row[-3]), leaf, bytes(row[-2]), str(row[-1]))
