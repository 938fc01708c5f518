"""The private key and the token of a sink, sealed under key class `auth` and bound to the sink's row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from compliance.datamap import KeyClass
from crm_server.kernel.keys import keys_of
from security.crypto.document import document_kid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from crm_server.domain.audit.models import Sink

_TABLE, _FIELD = 65, 31
_VERSION = 1


@dataclass(frozen=True, slots=True)
class SinkSecrets:
    """What proves to a sink who we are: a private key (PEM) for a client certificate, a token for HTTP."""

    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def seal(session: Session, sink: Sink, secrets: SinkSecrets) -> None:
    """Keep the secrets of a sink; nothing is kept where there are none."""
    if secrets.key is None and secrets.token is None:
        sink.secrets = None
        return
    keys = keys_of(session)
    content = orjson.dumps({"key": secrets.key, "token": secrets.token})
    sink.secrets = keys.column(_TABLE, KeyClass.AUTH).seal(
        keys.for_sealing(sink.id, KeyClass.AUTH), {_FIELD: content}, sink.id.bytes, sink.id.bytes, _VERSION
    )


def unseal(session: Session, sink: Sink) -> SinkSecrets:
    """The secrets of a sink.

    Raises:
        CryptoError: the key is gone, or the content was altered or belongs to another sink.
    """
    if sink.secrets is None:
        return SinkSecrets()
    keys = keys_of(session)
    key = keys.by_id(document_kid(sink.secrets))
    opened = keys.column(_TABLE, KeyClass.AUTH).open(
        key, sink.secrets, sink.id.bytes, sink.id.bytes, _VERSION
    )
    found = orjson.loads(opened[_FIELD])
    return SinkSecrets(found["key"], found["token"])
