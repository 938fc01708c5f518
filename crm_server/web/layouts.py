"""What the data map can't know about pages: which fields stand together, and what a record shows beside its fields.

Everything here is optional. A field that is named nowhere still appears, in the last section, so nothing gets lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compliance.datamap import Semantic
from compliance.datamap.text import _

if TYPE_CHECKING:
    from collections.abc import Collection

    from compliance.datamap import DataMap, EntityDef
    from compliance.datamap.text import Text


@dataclass(frozen=True, slots=True)
class Section:
    """Fields that stand together under a heading."""

    label: Text
    fields: tuple[str, ...]


_ADDRESS = _("Address")
_ASSIGNED = _("Assignment")
_ABOUT = _("About")
_REACH = _("How to reach")

SECTIONS: dict[str, tuple[Section, ...]] = {
    "account": (
        Section(_ABOUT, ("name", "legal_name", "kind", "industry", "parent_id", "lifecycle_stage", "grade")),
        Section(_REACH, ("website", "phone", "email")),
        Section(
            _ADDRESS,
            ("billing_street", "billing_postal_code", "billing_city", "billing_region", "billing_country"),
        ),
        Section(_("Figures"), ("employees", "annual_revenue", "currency", "tax_number")),
        Section(_("Notes"), ("description",)),
        Section(_ASSIGNED, ("owner_id", "team_id", "territory_id", "external_id")),
    ),
    "contact": (
        Section(
            _ABOUT,
            (
                "salutation",
                "given_name",
                "family_name",
                "account_id",
                "job_title",
                "department",
                "reports_to_id",
            ),
        ),
        Section(_REACH, ("email", "phone", "mobile", "email_private", "language")),
        Section(_ADDRESS, ("street", "postal_code", "city", "region", "country")),
        Section(_("Relationship"), ("lifecycle_stage", "source", "birth_date")),
        Section(_("Notes"), ("description",)),
        Section(_ASSIGNED, ("owner_id", "team_id", "territory_id", "external_id")),
    ),
    "lead": (
        Section(_ABOUT, ("given_name", "family_name", "company", "job_title")),
        Section(_REACH, ("email", "phone", "website", "city", "country", "language")),
        Section(_("Qualification"), ("status", "rating", "source", "unqualified_reason")),
        Section(_("Notes"), ("description",)),
        Section(_ASSIGNED, ("owner_id", "territory_id", "external_id")),
        Section(
            _("Conversion"),
            ("converted_at", "converted_account_id", "converted_contact_id", "converted_opportunity_id"),
        ),
    ),
    "opportunity": (
        Section(_("Deal"), ("name", "account_id", "contact_id", "amount", "currency", "close_date")),
        Section(
            _("Progress"),
            (
                "pipeline_id",
                "stage_id",
                "probability",
                "forecast",
                "status",
                "next_step",
                "lost_reason",
                "stage_since",
                "closed_at",
            ),
        ),
        Section(_("Notes"), ("source", "description")),
        Section(_ASSIGNED, ("owner_id", "team_id", "territory_id", "external_id")),
    ),
    "activity": (
        Section(_ABOUT, ("title", "kind", "status", "priority", "direction", "body")),
        Section(
            _("Time and place"), ("due_at", "starts_at", "ends_at", "location", "done_at", "happened_at")
        ),
        Section(_("Belongs to"), ("account_id", "contact_id", "lead_id", "opportunity_id", "case_id")),
        Section(_ASSIGNED, ("owner_id",)),
    ),
    "case": (
        Section(_ABOUT, ("number", "title", "status", "priority", "origin", "description")),
        Section(_("Customer"), ("account_id", "contact_id", "product_id")),
        Section(_ASSIGNED, ("owner_id", "team_id", "external_id")),
    ),
}

FRAME = frozenset(
    {
        "id",
        "version",
        "event_id",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "deleted_at",
        "deleted_by",
        "import_id",
        "subject_id",
    }
)
"""Bookkeeping of a record, shown in a line of its own."""

SMALL = frozenset({"stage", "pipeline", "team", "territory", "price_list", "tag"})
"""Entities of which there are few: they are chosen from a list and not searched."""

TITLE_PARTS = {"contact": ("given_name", "family_name"), "lead": ("given_name", "family_name")}
"""Fields that make up the title, which need not be shown once more below it."""

PHONE_FIELDS = frozenset({Semantic.PHONE})

_RELATED_ORDER = ("contact", "opportunity", "case", "lead", "account", "stage", "product")
_NOT_RELATED = frozenset({"activity"})
"""Stands on the timeline."""


@dataclass(frozen=True, slots=True)
class Related:
    """Records of another kind that point at this one."""

    entity: EntityDef
    field: str


def sections(entity: EntityDef, names: Collection[str]) -> list[Section]:
    """The sections of an entity with those of `names` that belong into them; the rest comes last."""
    left = [name for name in names if name not in FRAME]
    found = []
    for section in SECTIONS.get(entity.name, ()):
        here = tuple(name for name in section.fields if name in left)
        left = [name for name in left if name not in here]
        if here:
            found.append(Section(section.label, here))
    if left:
        label = _("More") if found else _("Details")
        found.append(Section(label, tuple(left)))
    return found


def related(datamap: DataMap, entity: EntityDef) -> list[Related]:
    """Which kinds of records point at records of `entity`, the most asked for first."""
    found = []
    for other in datamap.records():
        if other.name in _NOT_RELATED:
            continue
        for name, item in other.fields.items():
            if (
                item.policy.target == entity.name
                and item.writable
                and name not in FRAME
                and name != "owner_id"
            ):
                found.append(Related(other, name))
                break
    return sorted(
        found,
        key=lambda one: (
            _RELATED_ORDER.index(one.entity.name) if one.entity.name in _RELATED_ORDER else 99,
            one.entity.name,
        ),
    )
