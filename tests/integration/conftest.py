"""What all tests with real components share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from security.crypto.providers import passphrase
from security.identity import password


@pytest.fixture(scope="session", autouse=True)
def passwords_are_stretched_briefly() -> Iterator[None]:
    """Passwords and the passphrase of the key ring cost little here; tests/unit looks at the real costs.

    Each application that a test makes stretches two of them, each person and each log-in another one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(password, "ARGON2_MEMORY_KIB", 1024)
        patch.setattr(password, "ARGON2_PASSES", 1)
        # The least that a ring may have (`PassphraseRing`), so that other processes read it too.
        for name, value in (("memory_kib", 19_456), ("passes", 2), ("lanes", 1)):
            patch.setitem(passphrase.ARGON2, name, value)
        yield
