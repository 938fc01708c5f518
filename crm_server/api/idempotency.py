"""`Idempotency-Key`: a client that repeats a POST gets the first answer again and never does the thing twice.

The key is taken by a row in the transaction of the act itself. A parallel repeat waits at that row until the first has
committed, then finds its answer. What is kept is status, address and keys of records, never content: the answer is
written anew from the record. After a day a key may be used again.

After draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import text

from compliance.datamap.text import _
from crm_server.api.body import raw_body
from crm_server.kernel.errors import AppError, BadRequest
from crm_server.kernel.serialization import dumps_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from pyramid.request import Request
    from pyramid.response import Response

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TAKE = text(
    "insert into kontor.idempotency_key as k (actor_id, key, request_hash, status) "
    "values (:actor, :key, :hash, 0) on conflict (actor_id, key) do update "
    "set request_hash = excluded.request_hash, status = 0, location = null, record_id = null, answer = null, "
    "created_at = now() where k.created_at < now() - interval '1 day' returning 1"
)
_FIND = text(
    "select request_hash, status, location, record_id, answer from kontor.idempotency_key "
    "where actor_id = :actor and key = :key"
)
_KEEP = text(
    "update kontor.idempotency_key set status = :status, location = :location, record_id = :record, "
    "answer = cast(:answer as jsonb) where actor_id = :actor and key = :key"
)


class KeyReused(AppError):
    """The same key came with another request."""

    status = 422
    code = "idempotency_key_reused"
    title = _("This Idempotency-Key was used for another request.")


@dataclass(frozen=True, slots=True)
class Done:
    """What is kept of an act.

    Attributes:
        status: HTTP status.
        location: Address of what was made.
        record_id: Its key.
        answer: Body without personal data, for acts whose answer can't be written anew.
    """

    status: int
    location: str | None = None
    record_id: UUID | None = None
    answer: Any = None


def once(
    request: Request,
    act: Callable[[], Done],
    respond: Callable[[Done], Response],
    *,
    file: BinaryIO | None = None,
) -> Response:
    """Do `act` unless this request was done before, and answer with `respond` either way.

    Args:
        file: The body where it is a file, which no process holds as a whole; its place is at the start afterwards.

    Raises:
        KeyReused: the key belongs to a different request.
        BadRequest: the key is empty, too long, or not printable ASCII.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return respond(act())
    if not _KEY.fullmatch(key):
        raise BadRequest(_("An Idempotency-Key has 1 to 255 printable ASCII characters."))
    who = {"actor": request.actor.id, "key": key}
    digest = _fingerprint(request, file)
    if request.db.execute(_TAKE, who | {"hash": digest}).first() is None:
        found = request.db.execute(_FIND, who).one()
        if bytes(found.request_hash) != digest:
            raise KeyReused
        response = respond(Done(found.status, found.location, found.record_id, found.answer))
        response.headers["Idempotency-Replayed"] = "true"
        return response
    done = act()
    facts = {
        "status": done.status,
        "location": done.location,
        "record": done.record_id,
        # jsonb can't hold NUL, which a client may have put into a field's name.
        "answer": None if done.answer is None else dumps_text(done.answer).replace("\\u0000", "\\ufffd"),
    }
    request.db.flush()
    request.db.execute(_KEEP, who | facts)
    return respond(done)


def _fingerprint(request: Request, file: BinaryIO | None) -> bytes:
    digest = hashlib.sha256()
    body = raw_body(request) if file is None else _hash_of(file)
    for part in (request.method.encode(), request.path_qs.encode(), body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _hash_of(file: BinaryIO) -> bytes:
    file.seek(0)
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    file.seek(0)
    return digest.digest()
