"""The rules of accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from compliance.datamap.text import _
from crm_server.domain.accounts.queries import MAX_DEPTH, ancestors, subtree
from crm_server.domain.base import DomainService
from crm_server.kernel.db import as_system

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from crm_server.kernel.errors import Errors

_ONE_AT_A_TIME = text("select pg_advisory_xact_lock(hashtext('kontor.account.hierarchy'))")


def lock_hierarchy(connection: Connection | Session) -> None:
    """Wait for others who move accounts, until the end of the transaction.

    Two accounts that become each other's parent at the same moment would make a cycle that neither transaction sees.
    """
    connection.execute(_ONE_AT_A_TIME)


class AccountService(DomainService):
    """Accounts: a hierarchy without cycles."""

    entity_name = "account"

    def prepare(self, values: dict[str, Any], record: Any | None, errors: Errors) -> None:
        """Refuse a parent that would close a cycle or make the hierarchy too deep."""
        parent_id = values.get("parent_id")
        if parent_id is None or (record is not None and parent_id == record.parent_id):
            return
        lock_hierarchy(self.session)
        # A cycle is one also where it goes through accounts that the actor doesn't see.
        with as_system(self.session):
            above = ancestors(self.session, parent_id)
            below = subtree(self.session, record.id)[-1].distance if record is not None else 0
        if record is not None and any(item.id == record.id for item in above):
            errors.add("/parent_id", "cycle", _("An account can't stand above itself."))
            return
        if len(above) + 1 + below > MAX_DEPTH:
            errors.add(
                "/parent_id",
                "too_deep",
                _("The hierarchy would have more than ${n} levels.", mapping={"n": MAX_DEPTH}),
            )
