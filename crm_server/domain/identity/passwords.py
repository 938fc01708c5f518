"""Says in a person's words why a new password can't be taken (AUTH-17)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy.orm import object_session

from compliance.datamap.text import Text, _
from crm_server.kernel.db import setting
from crm_server.kernel.errors import FieldError, ValidationFailed
from security.identity.password import MAX_CHARACTERS, Assessment, Weakness, assess, common_passwords

if TYPE_CHECKING:
    from pathlib import Path

    from crm_server.domain.identity.models import User

_OWN_WORDS = ("kontor", "crm")


def check_new_password(user: User, password: str, *, second_factor: bool) -> Assessment:
    """Judge a password that `user` proposes.

    Raises:
        ValidationFailed: with one error for each weakness, at `/password`.
    """
    found, advice = look_at(user, password, second_factor=second_factor)
    if not found.accepted:
        raise ValidationFailed(
            [
                FieldError("/password", one.value, text)
                for one, text in zip(found.weaknesses, advice, strict=True)
            ]
        )
    return found


def look_at(user: User, password: str, *, second_factor: bool) -> tuple[Assessment, list[Text]]:
    """What speaks against a password that `user` proposes, with a sentence for each weakness."""
    session = object_session(user)
    found = assess(
        password,
        second_factor=second_factor,
        personal=(user.login, user.name, user.email or "", *_OWN_WORDS),
        blocked=_blocked(setting(session, "local_password_blocklist") if session else None),
    )
    return found, [sentence(one, found.minimum) for one in found.weaknesses]


def _blocked(path: Path | None) -> frozenset[str]:
    """The block list of the product, with the site's own."""
    if not path:
        return common_passwords()
    return common_passwords() | _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> frozenset[str]:
    return frozenset(line.strip().casefold() for line in path.read_text("utf-8").splitlines() if line.strip())


def level_word(level: int) -> Text:
    """What the strength meter says: 0 and 1 are refused, 4 is the best."""
    return (_("Too weak"), _("Too weak"), _("Fair"), _("Good"), _("Very good"))[level]


def sentence(weakness: Weakness, minimum: int) -> Text:
    """What a person should do about a weakness."""
    sentences = {
        Weakness.TOO_SHORT: _(
            "Use at least ${count} characters. A sentence that only you would write is easy to keep.",
            mapping={"count": minimum},
        ),
        Weakness.TOO_LONG: _("Use at most ${count} characters.", mapping={"count": MAX_CHARACTERS}),
        Weakness.COMMON: _("This password is on the lists that attackers try first."),
        Weakness.PERSONAL: _("Your own name, log-in or e-mail address makes up most of this password."),
        Weakness.GUESSABLE: _(
            "This password is easy to guess. Add a word or two that have nothing to do with it."
        ),
    }
    return sentences[weakness]
