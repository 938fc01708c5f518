"""Length hiding: a document says no more about its size than the bucket that it falls into.

ISO/IEC 7816-4 padding (one byte 0x80, then zeros) up to 32, 64, 128, 256 or 512 bytes; above that up to the Padmé
length (Nikitin et al., PETS 2019, "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs"),
which costs at most 12 % and lets out O(log log n) bits. Each such length is a multiple of 32, so suite 2 needs no
second padding for its block mode.
"""

from __future__ import annotations

from bisect import bisect_left

from security.crypto.errors import MalformedDocument

BUCKETS = (32, 64, 128, 256, 512)
_LARGEST = BUCKETS[-1]
# PADS[n] is the padding of n bytes; SIZES[n] is the padded size of n bytes of content.
PADS: tuple[bytes, ...] = (b"", *(b"\x80" + bytes(size - 1) for size in range(1, _LARGEST + 1)))
SIZES: tuple[int, ...] = tuple(BUCKETS[bisect_left(BUCKETS, size + 1)] for size in range(_LARGEST))


def padme(length: int) -> int:
    """Return the Padmé length for ``length`` bytes (at least 2)."""
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def padded_size(length: int) -> int:
    """Return the size after padding of ``length`` bytes of content; at least one byte is always added."""
    return SIZES[length] if length < _LARGEST else padme(length + 1)


def pad(content: bytes) -> bytes:
    """Pad ``content`` to its bucket."""
    length = len(content)
    if length < _LARGEST:
        return content + PADS[SIZES[length] - length]
    return content + b"\x80" + bytes(padme(length + 1) - length - 1)


def unpad(padded: bytes) -> bytes:
    """Return the content of ``padded``.

    Raises MalformedDocument when the padding isn't exactly what :func:`pad` would have written.
    """
    end = padded.rfind(b"\x80")
    if end < 0 or padded_size(end) != len(padded) or padded.count(0, end) != len(padded) - end - 1:
        raise MalformedDocument(
            "The padding of a sealed document is wrong: it was written by other software."
        )
    return padded[:end]
