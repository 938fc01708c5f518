"""Evaluates a permission map: permission → alternatives → predicates over the identity. What isn't listed is
denied.

The application declares the map on one page and asks ``Policy.decide`` for each view, record and command. A
decision is ``Allowed`` or ``Denied``; both say which rule spoke, so that "why can this user do this?" has an
answer and the audit log a reason code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from security.access.identity import Administrator, Identity
from security.identity.sessions import is_fresh

UNKNOWN_PERMISSION = "unknown_permission"
NOT_SIGNED_IN = "not_signed_in"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. ``identity`` is None if nobody is signed in; ``now`` is aware."""

    identity: Identity | None
    permission: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Predicate:
    """One question about the identity.

    ``code`` names it in explanations; ``denial`` is the reason when it fails.
    """

    code: str
    denial: str
    test: Callable[[Question], bool]


Rule = tuple[tuple[Predicate, ...], ...]
"""Alternatives, each a list of predicates that must all hold: an OR of ANDs."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The permission is given, by the alternative whose predicates are named in ``because``."""

    permission: str
    because: tuple[str, ...]

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Denied:
    """The permission is refused. ``reason`` is the code of the obstacle nearest to success."""

    permission: str
    reason: str
    obstacles: tuple[str, ...] = ()
    """First failed predicate of each alternative."""

    def __bool__(self) -> bool:
        return False


class Policy:
    """A frozen permission map. Safe to share between threads."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        """Take the map. Raises ValueError for a permission without alternatives or an alternative without
        predicates, because "no condition" is more likely a slip than a decision; public permissions say
        ``everyone``.
        """
        for permission, rule in rules.items():
            if not rule or not all(rule):
                raise ValueError(
                    f'permission "{permission}": needs at least one predicate; say EVERYONE if it is public'
                )
        self._rules = MappingProxyType(dict(rules))

    @property
    def permissions(self) -> frozenset[str]:
        """All permissions that the map knows."""
        return frozenset(self._rules)

    def decide(self, identity: Identity | None, permission: str, now: datetime) -> Allowed | Denied:
        """Decide for ``identity`` (None: nobody is signed in) at ``now`` (aware)."""
        rule = self._rules.get(permission)
        if rule is None:
            return Denied(permission, UNKNOWN_PERMISSION)
        question = Question(identity, permission, now)
        nearest, obstacles = -1, []
        reason = ""
        for alternative in rule:
            passed = 0
            for predicate in alternative:
                if not predicate.test(question):
                    break
                passed += 1
            else:
                return Allowed(permission, tuple(predicate.code for predicate in alternative))
            obstacles.append(alternative[passed].code)
            if passed > nearest:
                nearest, reason = passed, alternative[passed].denial
        return Denied(permission, reason, tuple(obstacles))

    def unmapped(self, used: Iterable[str]) -> frozenset[str]:
        """Permissions that are used but not in the map; the application refuses to start unless this is
        empty.
        """
        return frozenset(used) - self.permissions


EVERYONE = Predicate("everyone", "never", lambda _: True)
SIGNED_IN = Predicate("signed_in", NOT_SIGNED_IN, lambda asked: asked.identity is not None)


def _holds(asked: Question) -> bool:
    return asked.identity is not None and asked.permission in asked.identity.grants.permissions


def _token_reaches(asked: Question) -> bool:
    who = asked.identity
    return who is not None and (who.token is None or asked.permission in who.token.scopes)


def _by_person(asked: Question) -> bool:
    return asked.identity is not None and asked.identity.token is None


def _second_factor(asked: Question) -> bool:
    return asked.identity is not None and asked.identity.has_second_factor


GRANTED = Predicate("granted_by_role", "permission_missing", _holds)
"""One of the identity's roles holds the permission that is asked for."""

WITHIN_TOKEN = Predicate("within_token", "token_scope", _token_reaches)
"""The request doesn't come by API token, or the token's scopes name the permission."""

BY_PERSON = Predicate("by_person", "not_for_tokens", _by_person)
"""The request comes from a person's session, not from an API token."""

SECOND_FACTOR = Predicate("second_factor", "second_factor_required", _second_factor)
"""This log-in went through a second factor."""


def stepped_up(within: timedelta = timedelta(minutes=5)) -> Predicate:
    """The person proved who they are at most ``within`` ago (AUTH-15)."""

    def test(asked: Question) -> bool:
        return asked.identity is not None and is_fresh(asked.identity.proved_at, asked.now, within)

    return Predicate("stepped_up", "step_up_required", test)


def administrator(*kinds: Administrator) -> Predicate:
    """The identity is one of these kinds of administrator."""
    names = "_or_".join(kind.value for kind in kinds)

    def test(asked: Question) -> bool:
        return asked.identity is not None and asked.identity.grants.administrator in kinds

    return Predicate(f"{names}_administrator", "administrator_required", test)
