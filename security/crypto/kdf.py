"""Key derivation: KBKDF in counter mode with HMAC-SHA-256 (NIST SP 800-108r1, section 4.1).

Fixed input ``[i]₃₂ ‖ label ‖ 0x00 ‖ context ‖ [L]₃₂``, counter before the fixed data. There are two ways to the same
bytes: :func:`kbkdf` calls the ``cryptography`` library and is what the strict profile uses; :class:`PreparedKdf`
keeps the HMAC states of one key and label and derives about three times faster, which is what wrapping many data keys
needs. A test proves that both are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

BLOCK: Final = 32


def kbkdf(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """Derive ``length`` bytes from ``key`` with the library's own KBKDF object."""
    kdf = KBKDFHMAC(
        algorithm=hashes.SHA256(),
        mode=Mode.CounterMode,
        length=length,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return kdf.derive(key)


class PreparedKdf:
    """KBKDF of one key, label and length, with key and label already absorbed into HMAC states.

    There is one state for each output block. Copying a state doesn't change it, so one object serves all threads.
    """

    __slots__ = ("_states", "_tail", "length")

    def __init__(self, key: bytes, label: bytes, length: int) -> None:
        if not 0 < length <= 255 * BLOCK:
            raise ValueError("The length to derive lies between 1 and 8,160 bytes.")
        self.length = length
        self._tail = (length * 8).to_bytes(4, "big")
        fresh = HMAC(key, hashes.SHA256())
        states = []
        for counter in range(1, -(-length // BLOCK) + 1):
            state = fresh.copy()
            state.update(counter.to_bytes(4, "big") + label + b"\0")
            states.append(state.copy)
        self._states: tuple[Callable[[], HMAC], ...] = tuple(states)

    def derive(self, context: bytes) -> bytes:
        """Derive the bytes for one context."""
        message = context + self._tail
        okm = []
        for copy in self._states:
            state = copy()
            state.update(message)
            okm.append(state.finalize())
        return b"".join(okm)[: self.length]

    def __repr__(self) -> str:
        return f"PreparedKdf(length={self.length})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")
