"""The rules of contacts, and of the roles that they have on accounts and opportunities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from compliance.datamap.text import _
from crm_server.domain import names
from crm_server.domain.base import DomainService
from crm_server.domain.subjects import services as subjects

if TYPE_CHECKING:
    from uuid import UUID

    from crm_server.kernel.errors import Errors

_NAME_PARTS = frozenset({"family_name", "given_name", "language"})
_CHAIN_DEPTH = 20
_ABOVE = text("""
with recursive up as (
  select id, reports_to_id, 0 as distance from crm.contact where id = :id
  union all
  select c.id, c.reports_to_id, up.distance + 1
    from crm.contact c join up on c.id = up.reports_to_id where up.distance < :depth)
select id from up
""")
_ONE_AT_A_TIME = text("select pg_advisory_xact_lock(hashtext('kontor.contact.reports_to'))")


class PersonService(DomainService):
    """What contacts and leads share: a data subject made in the same transaction, and a composed name."""

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Make the data subject of a new person; compose the name when one of its parts changes."""
        if record is None or _NAME_PARTS & values.keys():
            family = self.later(values, record, "family_name")
            if family:
                given, language = (
                    self.later(values, record, "given_name"),
                    self.later(values, record, "language"),
                )
                values["name"] = names.fit(names.compose(family, given, language))
        self.check_person(values, record, errors)
        if record is None and "subject_id" not in values and not errors.items:
            values["subject_id"] = subjects.new_subject(self.session)

    def check_person(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Further rules of the subclass."""

    def purged(self, record: Any) -> None:
        """Let the data subject go when this was the last that was known of the person."""
        subjects.release(self.session, self.datamap, record.subject_id)


class ContactService(PersonService):
    """Contacts."""

    entity_name = "contact"

    def check_person(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Refuse a chain of superiors that closes on itself."""
        superior: UUID | None = values.get("reports_to_id")
        if superior is None or record is None or superior == record.reports_to_id:
            return
        self.session.execute(_ONE_AT_A_TIME)
        above = self.session.execute(_ABOVE, {"id": superior, "depth": _CHAIN_DEPTH}).scalars()
        if record.id in set(above):
            errors.add("/reports_to_id", "cycle", _("Nobody reports to themselves, nor to those below."))


class ContactRoleService(DomainService):
    """The part a contact plays for an account or in an opportunity."""

    entity_name = "contact_role"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """A role belongs to exactly one account or opportunity."""
        account, opportunity = (self.later(values, record, name) for name in ("account_id", "opportunity_id"))
        if (account is None) == (opportunity is None):
            errors.add("/account_id", "one_parent", _("Name either the account or the opportunity."))

    def saved(self, record: Any, before: Any) -> None:
        """There is one main contact: a new one takes the place of the old."""
        if not record.is_primary or (before is not None and "is_primary" not in before):
            return
        model = self.entity.model
        column = model.account_id if record.account_id is not None else model.opportunity_id
        place = record.account_id or record.opportunity_id
        rows = self.session.query(model).filter(column == place, model.is_primary, model.id != record.id)
        for other in rows:
            other.is_primary = False
        self._flush()
