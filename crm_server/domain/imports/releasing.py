"""Mass exports take a second person: more records than policy lets one person take out alone.

Called by the export view before the first row leaves. The release holds for this list, these fields and this
format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalRequired, ApprovalService, Kind, register
from crm_server.kernel.db import setting
from crm_server.permissions import Permission

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from compliance.datamap import EntityDef
    from compliance.datamap.text import Text

MASS_EXPORT = "records.export"


def parameters_of(entity: EntityDef, kind: str, wanted: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What is frozen: the list, the format, and filters, fields and order as the address says them."""
    return {
        "entity": entity.name,
        "format": kind,
        "query": sorted([name, value] for name, value in wanted),
    }


def require_release(session: Session, parameters: Mapping[str, Any], rows: int) -> None:
    """Let an export pass that is small enough or was released. Raises ApprovalRequired otherwise."""
    if rows > int(setting(session, "export_release_rows")):
        ApprovalService(session).claim(MASS_EXPORT, parameters)


def describe(_session: Session, parameters: Mapping[str, Any]) -> Sequence[tuple[Text, str | Text]]:
    """Which list, how much of it, and as what."""
    from crm_server.models import datamap

    query = "; ".join(f"{name} = {value}" for name, value in parameters["query"])
    return [
        (_("List"), datamap()[parameters["entity"]].policy.label_plural),
        (_("Filters and fields"), query or _("everything")),
        (_("Format"), parameters["format"].upper()),
    ]


register(
    Kind(
        MASS_EXPORT,
        _("Export of many records"),
        str(Permission.EXPORTS_RELEASE),
        describe=describe,
        # What somebody filters by may name a person.
        sealed=frozenset({"query"}),
    )
)

__all__ = ["MASS_EXPORT", "ApprovalRequired", "describe", "parameters_of", "require_release"]
