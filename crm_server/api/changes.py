"""The change feed: /api/v1/changes. Every change of a record that the reader may read, each exactly once a pass.

A row can be read only when no transaction that might still write before it is running: rows come in the order of
(transaction, sequence), and only those of transactions older than the oldest running one. So a transaction that
commits late is late in the feed, and never missed. Readers compare `version`: when two transactions changed one
record, the higher version is the later one.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

import orjson

from compliance.datamap.text import _
from crm_server.api.answers import answer
from crm_server.api.context import named
from crm_server.kernel.errors import BadQuery
from crm_server.kernel.hot import Prepared
from crm_server.kernel.listing import Reading
from crm_server.permissions import Action, Permission, record_permission

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

MAX_LIMIT, DEFAULT_LIMIT = 1000, 100
NOW = "now"
_XID = re.compile(r"[0-9]{1,20}")
_FEED_NUMBER = 41
"""Number of the change feed in the data map."""

FEED = Prepared(
    "change_feed",
    """
    select xid::text, seq, entity, record_id::text, operation, version, changed_at from crm.change
     where (xid, seq) > ($1::text::xid8, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())
       and entity = any($3::smallint[])
     order by crm.change.xid, seq limit $4
    """,
    ("text", "bigint", "text", "bigint"),
)
HEAD = Prepared("change_head", "select pg_snapshot_xmin(pg_current_snapshot())::text", ())


def changes(request: Request) -> Response:
    """GET the changes after a cursor; the cursor of the answer is where to go on, also when nothing was new."""
    given = named(request, {"cursor", "limit", "entity"})
    limit = _limit(given.get("limit"))
    readable = _readable(request, given.get("entity"))
    cursor = given.get("cursor")
    hot = request.registry.hot
    if cursor == NOW:
        return _answer([], encode_cursor(hot.run(HEAD, (), request.actor)[0][0], -1), more=False)
    xid, seq = decode_cursor(cursor) if cursor else ("0", -1)
    numbers = "{" + ",".join(map(str, readable)) + "}"
    rows = hot.run(FEED, (xid, seq, numbers, limit), request.actor)
    data = [
        {
            "entity": readable[row[2]],
            "id": row[3],
            "operation": row[4],
            "version": row[5],
            "changed_at": row[6],
        }
        for row in rows
    ]
    if rows:
        places = [row[1] for row in rows]
        meta = {"count": len(rows), "from": min(places), "to": max(places)}
        Reading(request.actor, "changes").tell(hot, meta, object_type=_FEED_NUMBER)
    after = encode_cursor(rows[-1][0], rows[-1][1]) if rows else encode_cursor(xid, seq)
    return _answer(data, after, more=len(rows) == limit)


def _answer(data: list[dict[str, Any]], cursor: str, *, more: bool) -> Response:
    return answer({"data": data, "next_cursor": cursor, "more": more})


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LIMIT:
        raise BadQuery("limit", _("A number from 1 to ${n} is expected here.", mapping={"n": MAX_LIMIT}))
    return int(text)


def _readable(request: Request, wanted: str | None) -> dict[int, str]:
    """Number and name of the entities whose changes are told: those that the reader may read."""
    actor = request.actor
    found = {
        item.number: item.name
        for item in request.registry.datamap.records()
        if actor.may(record_permission(item.name, Action.READ))
    }
    if wanted is None:
        return found
    names = set(wanted.split(","))
    if names - set(found.values()):
        raise BadQuery("entity", _("There is no such kind of record, or you may not read it."))
    return {number: name for number, name in found.items() if name in names}


def encode_cursor(xid: str, seq: int) -> str:
    """The text for the client."""
    return base64.urlsafe_b64encode(orjson.dumps([xid, seq])).rstrip(b"=").decode()


def decode_cursor(text: str) -> tuple[str, int]:
    """Transaction and sequence after which to go on.

    Raises:
        BadQuery: not a cursor of this feed.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        xid, seq = orjson.loads(raw)
    except (ValueError, TypeError, binascii.Error):
        xid, seq = None, None
    if not (isinstance(xid, str) and _XID.fullmatch(xid) and int(xid) < 2**64):
        raise BadQuery("cursor", _("This cursor does not belong to this feed."))
    if isinstance(seq, bool) or not isinstance(seq, int) or not -1 <= seq < 2**63:
        raise BadQuery("cursor", _("This cursor does not belong to this feed."))
    return xid, seq


def includeme(config: Configurator) -> None:
    """Add the view."""
    config.add_view(
        changes, route_name="api_changes", request_method="GET", permission=Permission.CHANGES_READ
    )
