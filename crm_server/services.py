"""Which service keeps the records of which entity. API, pages, imports and commands all ask here.

A domain with rules of its own names its class; the rest is kept by the plain service.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

from crm_server.domain.accounts.services import AccountService
from crm_server.domain.activities.services import ActivityService, ParticipantService
from crm_server.domain.cases.services import CaseCommentService, CaseService
from crm_server.domain.catalog.services import PriceListService, PriceService
from crm_server.domain.contacts.services import ContactRoleService, ContactService
from crm_server.domain.custom_fields import services as custom_fields
from crm_server.domain.documents import services as documents
from crm_server.domain.leads.services import LeadService
from crm_server.domain.pipeline.services import (
    OpportunityLineService,
    OpportunityService,
    PipelineService,
    StageService,
)
from crm_server.domain.saved_views.services import SavedViewService
from crm_server.domain.sharing import services as sharing
from crm_server.domain.tags import services as tags
from crm_server.kernel.db import setting
from crm_server.kernel.records import RecordService
from crm_server.models import datamap

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

S = TypeVar("S", bound=RecordService)

OWN: tuple[type[RecordService], ...] = (
    AccountService,
    ActivityService,
    CaseCommentService,
    CaseService,
    ContactRoleService,
    ContactService,
    LeadService,
    OpportunityLineService,
    OpportunityService,
    ParticipantService,
    PipelineService,
    PriceListService,
    PriceService,
    SavedViewService,
    StageService,
    custom_fields.CustomFieldService,
    documents.AttachmentService,
    tags.TagService,
)

# What hangs on any kind of record without a foreign key goes with it.
RecordService.after_purge = (documents.forget, tags.forget, sharing.forget, custom_fields.forget)


@cache
def service_class(entity: str) -> type[RecordService]:
    """The class that keeps records of an entity."""
    for found in OWN:
        if found.entity_name == entity:
            return found
    return type(f"{entity.title()}Service", (RecordService,), {"entity_name": entity})


def records(session: Session, entity: str) -> RecordService:
    """The service for records of `entity`, acting as the session's actor."""
    return service(session, service_class(entity))


def service(session: Session, kind: type[S]) -> S:
    """A service by its class, for callers of what only that domain offers."""
    country: str = setting(session, "default_country")
    custom = custom_fields.CustomFieldStore(session, datamap(), country=country)
    return kind(session, datamap(), custom, country=country)
