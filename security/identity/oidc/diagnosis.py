"""Test a provider step by step, without logging anybody in, for the page and for `kontor sso test` (AUTH-10)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from security.identity.oidc.metadata import Unavailable
from security.web.outgoing import OutgoingFailed, OutgoingRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from security.identity.oidc.client import Provider
    from security.web.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a code that the page translates, whether it passed, a detail for operators, and its time."""

    code: str
    passed: bool
    detail: str
    milliseconds: int


def diagnose(provider: Provider, outgoing: Outgoing) -> tuple[Step, ...]:
    """Ask the provider what a log-in would ask, and stop at the first step that fails."""
    settings, source = provider.settings, provider.source

    def address() -> str:
        target = outgoing.check(settings.issuer)
        return f"{target.host} is {target.address}"

    def metadata() -> str:
        found = source.metadata()
        ending = "log-out there is possible" if found.end_session else "log-out there is not possible"
        return f"signs with {', '.join(found.algorithms)}; {ending}"

    def keys() -> str:
        found = source.keys(fresh=True)
        return f"{len(found.keys)} keys"

    def begin() -> str:
        provider.begin("https://kontor.invalid/callback")
        return source.metadata().authorization

    steps: list[Step] = []
    for code, act in (("address", address), ("metadata", metadata), ("keys", keys), ("authorization", begin)):
        step = _timed(code, act)
        steps.append(step)
        if not step.passed:
            break
    return tuple(steps)


def _timed(code: str, act: Callable[[], str]) -> Step:
    started = time.perf_counter()
    try:
        passed, detail = True, act()
    except (OutgoingFailed, OutgoingRefused, Unavailable) as failure:
        passed, detail = False, str(failure)
    return Step(code, passed, detail, round((time.perf_counter() - started) * 1000))
