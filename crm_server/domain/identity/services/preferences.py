"""What a person decides about their own pages: language, appearance, time zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_server.domain.identity.models import User
from crm_server.kernel.errors import Errors, NotFound
from crm_server.kernel.values import Rejected, decode

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.datamap import DataMap

FIELDS = ("locale", "theme", "timezone")


def prefer(db: Session, datamap: DataMap, user_id: UUID, **wanted: str | None) -> None:
    """Change what a person prefers. What is None stays.

    Raises:
        ValidationFailed: a value that there is not.
        NotFound: no such user.
    """
    errors = Errors()
    user = db.get(User, user_id)
    if user is None:
        raise NotFound
    for name in FIELDS:
        value = wanted.get(name)
        if value is None:
            continue
        try:
            decoded = decode(datamap["user"].fields[name].policy, value)
        except Rejected as problem:
            errors.add(f"/{name}", problem.code, problem.message)
            continue
        if getattr(user, name) != decoded:
            setattr(user, name, decoded)
    errors.raise_if_any()
    db.flush()
