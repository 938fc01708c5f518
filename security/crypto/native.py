"""Which way computes sealed documents (suite 1) and wrapped keys: the native module where it was built, or Python.

Both give the same bytes. The native way is compared with the reference by known answers at import, before anything uses
it, and again by the self-check of each start. Where one byte differs it is put aside with a warning. The strict profile
doesn't use it: its modules are the libraries alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol

from security.crypto import reference

NAME: Final = "security.crypto._native"
_SMALL, _KEY, _OTHER = bytes(range(28)), bytes(range(32)), bytes(range(1, 33))


class DocumentCipher(Protocol):
    """See :class:`security.crypto.reference.DocumentCipher`."""

    def open(self, blob: bytes, aad: bytes, /) -> bytes | None:
        """Return the padded content, or None."""
        ...

    def seal(self, kid: bytes, random: bytes, aad: bytes, content: bytes, /) -> bytes:
        """Return the document."""
        ...

    def check_value(self) -> bytes:
        """Return the check value of the data key."""
        ...


class WrapCipher(Protocol):
    """See :class:`security.crypto.reference.WrapCipher`."""

    def wrap(self, dek: bytes, context: bytes, /) -> bytes:
        """Return the wrapped key."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes, kcv: bytes, /) -> bytes | None:
        """Return the data key, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute: from a data key and from a key-encryption key (32 bytes each) to their ciphers.

    ``library`` names the libcrypto of the native way.
    """

    document_cipher: Callable[[bytes], DocumentCipher]
    wrap_cipher: Callable[[bytes], WrapCipher]
    library: str


REFERENCE: Final = Way(reference.DocumentCipher, reference.WrapCipher, "")


def answers(way: Way) -> tuple[bytes | None, ...]:
    """Return what a way makes of fixed bytes: seals, opens, wraps and unwraps, and refuses what isn't right."""
    document, wrapping = way.document_cipher(_KEY), way.wrap_cipher(_KEY)
    blob = document.seal(_SMALL[:16], _SMALL, b"place", _KEY + b"\x80")
    wrapped = wrapping.wrap(_OTHER, b"context")
    kcv = way.document_cipher(_OTHER).check_value()
    return (
        blob,
        document.open(blob, b"place"),
        document.open(blob, b"elsewhere"),
        document.open(blob[:-1] + bytes((blob[-1] ^ 1,)), b"place"),
        document.open(blob[:34] + bytes((blob[34] ^ 1,)) + blob[35:], b"place"),
        way.document_cipher(_OTHER).open(blob, b"place"),
        document.check_value(),
        kcv,
        wrapped,
        wrapping.unwrap(wrapped, b"context", kcv),
        wrapping.unwrap(wrapped, b"context", document.check_value()),
        wrapping.unwrap(wrapped, b"other", kcv),
        wrapping.unwrap(bytes((wrapped[0] ^ 1,)) + wrapped[1:], b"context", kcv),
    )


def agrees(way: Way) -> bool:
    """Whether a way gives the answers of the reference."""
    return answers(way) == answers(REFERENCE)


def load(name: str = NAME) -> tuple[Way | None, str]:
    """Return the native way, or None and why it isn't there."""
    try:
        module: Any = import_module(name)
    except ImportError as error:
        return None, str(error)
    found = Way(module.DocumentCipher, module.WrapCipher, module.LIBRARY)
    if agrees(found):
        return found, ""
    problem = f"{name} with {found.library} gives other answers than the library cryptography"
    warnings.warn(f"{problem}. It isn't used. Build it anew, and report it.", RuntimeWarning, stacklevel=2)
    return None, problem


NATIVE, PROBLEM = load()
_chosen = NATIVE or REFERENCE


def choose(*, native: bool) -> None:
    """Choose the way for keys that are made from now on: native where there is one, or the reference."""
    global _chosen  # noqa: PLW0603 - one profile is in force in a process, as one setting says.
    _chosen = NATIVE if native and NATIVE is not None else REFERENCE


def in_use() -> bool:
    """Whether keys are made for the native way."""
    return _chosen is not REFERENCE


def document_cipher(dek: bytes) -> DocumentCipher:
    """Return what opens and seals documents of suite 1 under a data key (32 bytes)."""
    return _chosen.document_cipher(dek)


def wrap_cipher(kek: bytes) -> WrapCipher:
    """Return what wraps data keys under a key-encryption key (32 bytes)."""
    return _chosen.wrap_cipher(kek)
