"""Opens a successor of a log that cannot be continued, with a first leaf that explains the break (AUD-8).

Called by `kontor audit fork`, which two persons approve, when the sealer refuses with `LogContradiction`:
signed leaves are gone from the database and from the mirror. The old log stays as it is, with its
checkpoints. Leaf 0 of the new one holds the last checkpoint of the old one, the reason and the approvals,
so no reader can take the new log for a continuation, and nobody can pretend that the old one ended
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from compliance.audit.log import checkpoint as checkpoints
from compliance.audit.log.leaf import encode, leaf_hash
from compliance.audit.log.postgres import PostgresSource
from compliance.audit.log.source import SourceError
from compliance.audit.log.state import StateFile


class ForkRefusedError(Exception):
    """A fork lacks what makes it explainable: a reason, two approvals, the last checkpoint, a new name."""


def fork_log(
    source: PostgresSource,
    state: StateFile,
    origin: str,
    last_checkpoint: bytes,
    *,
    reason: str,
    approvals: Sequence[str],
    release: Mapping[str, str],
    tenant: str,
) -> None:
    """Close the open log and open `origin`, whose leaf 0 explains the break.

    Args:
        source: Holds the sealer's lock, so that no sealer runs meanwhile.
        state: Locked; gets the new log's empty state. Afterwards start the sealer with the new name.
        origin: Name of the new log; its sealer signs under it.
        last_checkpoint: Newest signed checkpoint of the old log that anybody has, from the mirror or a witness.
        reason: Why, without personal data.
        approvals: Pseudonyms of at least two persons who approved.
        release: What they released: key of the request and its fingerprint.
        tenant: Value of `tenant` in the leaf.

    Raises:
        ForkRefusedError: Something of the above is missing.
        NoteError: The checkpoint is malformed.
        SourceError: The database refused.
    """
    old = source.head()
    known, _ = checkpoints.parse(last_checkpoint)
    if not reason.strip() or len(set(approvals)) < 2:
        raise ForkRefusedError("a fork needs a reason and the approval of two persons")
    if known.origin != old.origin or origin == old.origin:
        raise ForkRefusedError(
            "the checkpoint must be of the old log, and the new log needs a name of its own"
        )
    remembered = state.read()
    if remembered is not None and remembered.origin == known.origin and remembered.size > known.size:
        raise ForkRefusedError(f"a later checkpoint, of {remembered.size} leaves, was signed: give that one")
    event: dict[str, object] = {
        "event_id": str(uuid7()),
        "occurred_at": datetime.now(UTC),
        "tenant": tenant,
        "class": "audit",
        "action": "log_fork",
        "outcome": "success",
        "reason": reason,
        "severity": 5,
        "actor_ref": approvals[0],
        "auth_method": None,
        "session_ref": None,
        "request_id": None,
        "origin": "sealer",
        "object_type": None,
        "object_ref": None,
        "subject_ref": [],
        "purpose": None,
        "policy_version": 1,
        "meta": {
            "previous_checkpoint": last_checkpoint.decode(),
            "database_size": old.size,
            "approvals": list(approvals),
            "release": dict(release),
        },
        "payload_commit": None,
    }
    leaf = encode(event)
    digest = leaf_hash(leaf)
    with source.translated(), source.connection.cursor() as sql:
        sql.execute("update audit.log set closed_at = now() where closed_at is null returning number")
        closed = sql.fetchone()
        if closed is None:
            raise SourceError("no log is open")
        sql.execute(
            "insert into audit.log (number, origin, size, root) values (%s, %s, 0, sha256(''))",
            (closed[0] + 1, origin),
        )
        source.connection.commit()
    source.restore(0, [(leaf, digest)], digest)
    source.confirm()
    state.create(origin)
