"""Escaping for search filters (RFC 4515) and distinguished names (RFC 4514).

Everything that comes from a person or from the directory passes through here before it becomes part of a
filter or a name. Instead of listing what is dangerous, the filter escape keeps only what is known to be
harmless (AUTH-4).
"""

from __future__ import annotations

_HARMLESS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@")
_DN_SPECIAL = frozenset('"+,;<>\\=')


def filter_value(value: str | bytes) -> str:
    r"""Return ``value`` as an assertion value: every byte but letters, digits and ``-_.@`` becomes ``\xx``.

    Raises UnicodeEncodeError for text that isn't valid Unicode (lone surrogates).
    """
    data = value.encode("utf-8") if isinstance(value, str) else value
    return "".join(chr(byte) if byte in _HARMLESS else f"\\{byte:02x}" for byte in data)


def dn_value(value: str) -> str:
    """Return ``value`` as an attribute value inside a distinguished name (RFC 4514 §2.4)."""
    escaped = []
    last = len(value) - 1
    for index, character in enumerate(value):
        if ord(character) < 0x20 or character == "\x7f":
            escaped.append(f"\\{ord(character):02x}")
        elif (
            character in _DN_SPECIAL
            or (character == "#" and index == 0)
            or (character == " " and index in (0, last))
        ):
            escaped.append("\\" + character)
        else:
            escaped.append(character)
    return "".join(escaped)
