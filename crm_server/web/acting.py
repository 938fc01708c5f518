"""The services through which pages act, with their own types."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from crm_server.kernel.records import RecordService
from crm_server.services import records

if TYPE_CHECKING:
    from pyramid.request import Request

S = TypeVar("S", bound=RecordService)


def service(request: Request, kind: type[S]) -> S:
    """The service of a domain, in the transaction of the request and as its person."""
    return cast("S", records(request.db, kind.entity_name))
