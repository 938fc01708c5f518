"""Says in a person's words why a new password can't be taken (AUTH-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import Text, _
from crm_server.kernel.errors import FieldError, ValidationFailed
from security.identity.password import MAX_CHARACTERS, Assessment, Weakness, assess

if TYPE_CHECKING:
    from crm_server.domain.identity.models import User

_OWN_WORDS = ("kontor", "crm")


def check_new_password(user: User, password: str, *, second_factor: bool) -> Assessment:
    """Judge a password that `user` proposes.

    Raises:
        ValidationFailed: with one error for each weakness, at `/password`.
    """
    found = assess(
        password,
        second_factor=second_factor,
        personal=(user.login, user.name, user.email or "", *_OWN_WORDS),
    )
    if not found.accepted:
        errors = [
            FieldError("/password", one.value, sentence(one, found.minimum)) for one in found.weaknesses
        ]
        raise ValidationFailed(errors)
    return found


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
