"""The rules of leads, and their conversion to an account, a contact and an opportunity."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compliance.datamap.text import _
from crm_server.domain.accounts.services import AccountService
from crm_server.domain.activities.services import ActivityService
from crm_server.domain.contacts.services import ContactService, PersonService
from crm_server.domain.documents import services as documents
from crm_server.domain.pipeline.services import OpportunityService
from crm_server.domain.subjects import services as subjects
from crm_server.domain.tags import services as tags
from crm_server.kernel.clock import now
from crm_server.kernel.db import as_system
from crm_server.kernel.errors import Conflict, FieldError, ValidationFailed
from crm_server.kernel.rowrules import RowAction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from compliance.datamap import EntityDef
    from crm_server.kernel.errors import Errors

# What a lead hands on, by the name of the field in the lead and in the record that is made.
_TO_CONTACT = {
    name: name
    for name in (
        "given_name",
        "family_name",
        "job_title",
        "email",
        "phone",
        "city",
        "country",
        "language",
        "source",
        "description",
        "territory_id",
    )
}
_TO_ACCOUNT = {
    "company": "name",
    "website": "website",
    "country": "billing_country",
    "territory_id": "territory_id",
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a lead."""

    lead_id: UUID
    account_id: UUID | None
    contact_id: UUID
    opportunity_id: UUID | None


class LeadService(PersonService):
    """Leads. A converted lead is history: it can be read, put into the bin, and not changed."""

    entity_name = "lead"

    def check_person(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Only conversion makes a lead converted; a lead that is not wanted says why."""
        if record is not None and record.status == "converted":
            raise Conflict(_("This lead has been converted. Change the contact that was made from it."))
        if values.get("status") == "converted" and "converted_at" not in values:
            errors.add("/status", "use_convert", _("A lead is converted with the action for it."))

    def convert(
        self,
        lead_id: UUID,
        *,
        version: int | None = None,
        account_id: UUID | None = None,
        contact_id: UUID | None = None,
        opportunity: Mapping[str, Any] | None = None,
    ) -> Conversion:
        """Make an account, a contact and, if wanted, an opportunity from a lead, all in one transaction.

        The data subject is carried over: it stays the same person. Activities, attachments and tags move along.

        Args:
            lead_id: The lead.
            version: Its version as the client had read it.
            account_id: An account that is there already; None makes one if the lead names a company.
            contact_id: A contact that is there already and is the same person; None makes one.
            opportunity: JSON values of the opportunity to make, `name` at least; None makes none.

        Raises:
            Conflict: the lead has been converted; `extra` holds what was made of it.
            ValidationFailed: a part can't be made; pointers begin with it (`/opportunity/name`, `/contact/email`).
        """
        self.require("update")
        lead = self.lock(lead_id, version=version)
        if lead.status == "converted":
            raise Conflict(
                _("This lead has been converted already."),
                account_id=lead.converted_account_id,
                contact_id=lead.converted_contact_id,
                opportunity_id=lead.converted_opportunity_id,
            )
        known = {account_id, contact_id}
        account_id = self._account(lead, account_id)
        contact = self._contact(lead, contact_id, account_id)
        made = {account_id, contact.id} - known
        if account_id is None:
            account_id = contact.account_id
        deal = None
        if opportunity is not None:
            with _part("opportunity"):
                deal = self.other(OpportunityService).create(
                    self._deal(lead, opportunity, account_id, contact.id)
                )
        # Everything that hangs on the lead goes along, also what its converter doesn't see.
        with as_system(self.session):
            self._move_along(lead, contact.id, account_id, deal.id if deal else None)
        lead.status, lead.converted_at = "converted", now()
        lead.converted_account_id, lead.converted_contact_id = account_id, contact.id
        lead.converted_opportunity_id = deal.id if deal else None
        lead.converted_made = sorted((made | {lead.converted_opportunity_id}) - {None}, key=str)
        lead.updated_by = self._author()
        self._flush()
        return Conversion(lead.id, account_id, contact.id, lead.converted_opportunity_id)

    def revert(self, lead_id: UUID, *, version: int | None = None) -> Any:
        """Take a conversion back: what was made of the lead goes into the bin, and the lead can be worked on again.

        Files, activities and the place on timelines come back to the lead. Whoever may convert may also take it back.

        Raises:
            Conflict: the lead is not converted, it was joined with a contact known before, or something that was made
                has been changed since; nothing is lost without a look.
        """
        self.require("update")
        lead = self.lock(lead_id, version=version)
        if lead.status != "converted":
            raise Conflict(_("This lead has not been converted."))
        if lead.converted_contact_id not in (lead.converted_made or ()):
            raise Conflict(
                _("This lead was joined with a contact that was there before, which can't be undone.")
            )
        # What was made may have been handed over since, and hangs together whoever sees it.
        with as_system(self.session):
            made = [
                self._untouched(self.datamap[name], key, lead.converted_at)
                for name in ("opportunity", "contact", "account")
                if (key := getattr(lead, f"converted_{name}_id")) in lead.converted_made
            ]
            documents.move(
                self.session, self.datamap, ("contact", lead.converted_contact_id), ("lead", lead.id)
            )
            self.other(ActivityService).leave_to_lead(lead.id, [record.id for record in made])
            for record in made:
                record.deleted_at, record.deleted_by = now(), self._author()
            self._flush()
        lead.status, lead.converted_at, lead.converted_made = "working", None, None
        lead.converted_account_id = lead.converted_contact_id = lead.converted_opportunity_id = None
        lead.updated_by = self._author()
        self._flush()
        return lead

    def _untouched(self, entity: EntityDef, key: UUID, converted_at: datetime) -> Any:
        record = self.session.get(entity.model, key, with_for_update=True, populate_existing=True)
        if record is None or record.deleted_at is not None or record.updated_at > converted_at:
            raise Conflict(
                _(
                    "${kind} was changed since the conversion. Put it into the bin or keep it, then change the lead.",
                    mapping={"kind": entity.policy.label},
                )
            )
        return record

    def _account(self, lead: Any, account_id: UUID | None) -> UUID | None:
        service = self.other(AccountService)
        if account_id is not None:
            return self._must_exist(service, account_id, "/account_id").id
        if not lead.company:
            return None
        with _part("account"):
            made = service.create({**_handed_on(lead, _TO_ACCOUNT), **_owner(lead)})
        return made.id

    def _contact(self, lead: Any, contact_id: UUID | None, account_id: UUID | None) -> Any:
        service = self.other(ContactService)
        if contact_id is None:
            raw = {**_handed_on(lead, _TO_CONTACT), **_owner(lead)}
            if account_id is not None:
                raw["account_id"] = str(account_id)
            with _part("contact"):
                return service.create(raw, subject_id=lead.subject_id)
        contact = self._must_exist(service, contact_id, "/contact_id")
        service.reach(contact, RowAction.UPDATE)
        with as_system(self.session):
            subjects.join(self.session, self.datamap, lead.subject_id, contact.subject_id)
        if contact.account_id is None and account_id is not None:
            with _part("contact"):
                service.update(contact.id, {"account_id": str(account_id)}, version=contact.version)
        return contact

    @staticmethod
    def _must_exist(service: Any, record_id: UUID, pointer: str) -> Any:
        record = service.session.get(service.entity.model, record_id)
        if record is None or record.deleted_at is not None:
            raise ValidationFailed([FieldError(pointer, "unknown", _("There is no such record."))])
        return record

    def _deal(
        self, lead: Any, given: Mapping[str, Any], account_id: UUID | None, contact_id: UUID
    ) -> dict[str, Any]:
        raw: dict[str, Any] = {
            "name": lead.company or lead.name,
            "contact_id": str(contact_id),
            **_owner(lead),
        }
        if account_id is not None:
            raw["account_id"] = str(account_id)
        if lead.source:
            raw["source"] = lead.source
        return raw | dict(given)

    def _move_along(
        self, lead: Any, contact_id: UUID, account_id: UUID | None, opportunity_id: UUID | None
    ) -> None:
        self.other(ActivityService).follow_lead(
            lead.id, contact_id=contact_id, account_id=account_id, opportunity_id=opportunity_id
        )
        documents.move(self.session, self.datamap, ("lead", lead.id), ("contact", contact_id))
        tags.copy(self.session, self.datamap, ("lead", lead.id), ("contact", contact_id))


@contextmanager
def _part(name: str) -> Iterator[None]:
    """Tell what is wrong with a record that is made on the way as a part of the whole: /opportunity/name."""
    try:
        yield
    except ValidationFailed as error:
        raise ValidationFailed(
            [FieldError(f"/{name}{one.pointer}", one.code, one.message) for one in error.errors]
        ) from None


def _handed_on(lead: Any, names: Mapping[str, str]) -> dict[str, Any]:
    values = {target: getattr(lead, source) for source, target in names.items()}
    return {
        name: str(value) if name.endswith("_id") else value
        for name, value in values.items()
        if value is not None
    }


def _owner(lead: Any) -> dict[str, Any]:
    return {"owner_id": str(lead.owner_id)} if lead.owner_id is not None else {}
