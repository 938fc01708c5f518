"""Checking and saving how a directory or a provider is reached: one way for pages, API and command line."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from compliance.datamap import Semantic
from compliance.datamap.field import POLICY
from compliance.datamap.text import _
from crm_server.kernel.errors import Errors
from crm_server.kernel.values import Rejected, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session

    from crm_server.domain.identity.directory_models import CompanyDirectory
    from crm_server.domain.identity.sso_models import SsoProvider

LONGEST = 20_000
"""Characters of a text that declares no length of its own, such as certificates."""
MOST_WORDS = 50
LONGEST_SECRET = 1000


def fill(
    db: Session,
    row: CompanyDirectory | SsoProvider,
    values: Mapping[str, Any],
    names: Collection[str],
    secret: str | None = None,
) -> None:
    """Write values into a new or known row and flush it. What isn't named stays as it is.

    Args:
        values: JSON values by name of the field; lists of words where the field holds such.
        names: The fields that may be set.
        secret: What the caller seals afterwards; checked here, so that all problems are told at once.

    Raises:
        ValidationFailed: naming each place.
    """
    columns, errors, found = row.__table__.c, Errors(), {}
    for name in sorted(values.keys() - set(names)):
        pointer = name.replace("~", "~0").replace("/", "~1")
        errors.add(f"/{pointer}", "unknown_field", _("There is no such field."))
    for name in names:
        policy, value = columns[name].info[POLICY], values.get(name, getattr(row, name))
        try:
            found[name] = _words(value) if policy.semantic is Semantic.JSON else decode(policy, value)
            if isinstance(found[name], str) and len(found[name]) > (policy.max_length or LONGEST):
                raise _too_long(LONGEST)
        except Rejected as wrong:
            errors.add(f"/{name}", wrong.code, wrong.message)
    if secret is not None and len(secret) > LONGEST_SECRET:
        errors.add("/secret", "too_long", _too_long(LONGEST_SECRET).message)
    if found.get("name") and _taken(db, row, str(found["name"])):
        errors.add("/name", "taken", _("This name is used already."))
    if found.get("authorities") and not _certificates(str(found["authorities"])):
        errors.add("/authorities", "certificates", _("Certificates in PEM are expected here."))
    errors.raise_if_any()
    for name, value in found.items():
        if getattr(row, name) != value:
            setattr(row, name, value)
    db.add(row)
    db.flush()


def _words(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Rejected("type", _("A list of texts is expected here."))
    words = list(dict.fromkeys(filter(None, (one.strip() for one in value))))
    if len(words) > MOST_WORDS or any(len(one) > 500 or not one.isprintable() for one in words):
        raise Rejected(
            "too_long", _("At most ${n} words of 500 characters fit here.", mapping={"n": MOST_WORDS})
        )
    return words


def _certificates(text: str) -> bool:
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _too_long(most: int) -> Rejected:
    return Rejected("too_long", _("At most ${n} characters fit here.", mapping={"n": most}))


def _taken(db: Session, row: CompanyDirectory | SsoProvider, name: str) -> bool:
    """Whether another one has this name."""
    model = type(row)
    with db.no_autoflush:
        return any(key != row.id for key in db.scalars(select(model.id).where(model.name == name)))
