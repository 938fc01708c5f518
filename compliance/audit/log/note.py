"""C2SP signed-note with Ed25519: the envelope of checkpoints and cosignatures, byte for byte.

Signature type 0x01 signs the note's text; type 0x04 is the timestamped cosignature of a witness
(C2SP tlog-cosignature). Parsing is strict, since a note that two readers read differently is worth nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ED25519 = 0x01
COSIGNATURE = 0x04
MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 64
_TIME = struct.Struct(">Q")


class NoteError(ValueError):
    """A note, signature line or key is not of the format, or a known key's signature is false."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Public half of a note key: name, signature type (0x01 or 0x04) and 32 bytes of Ed25519."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:4]

    def text(self) -> str:
        """The vkey form, `name+hex id+base64(type ‖ key)`."""
        return (
            f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes((self.kind,)) + self.public).decode()}"
        )

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a vkey; raises `NoteError` also if the key id does not belong to the key."""
        name, plus, rest = text.partition("+")
        key_id, second, encoded = rest.partition("+")
        material = _base64(encoded)
        if not plus or not second or len(material) != 33 or material[0] not in (ED25519, COSIGNATURE):
            raise NoteError("a verifier key is NAME+KEYID+BASE64 of an Ed25519 key")
        key = cls(_name(name), material[0], material[1:])
        if key.key_id.hex() != key_id:
            raise NoteError(f"the key id of verifier key {name!r} does not belong to it")
        return key

    def verify(self, text: str, signature: bytes) -> int | None:
        """Check a signature over a note's text; returns a cosignature's POSIX time, else None.

        Raises `NoteError`.
        """
        moment, message = None, text.encode()
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                raise NoteError(f"the cosignature of {self.name} must have 72 bytes")
            moment = _TIME.unpack_from(signature)[0]
            signature, message = signature[8:], _cosigned(text, moment)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature as error:
            raise NoteError(f"the signature of {self.name}+{self.key_id.hex()} is false") from error
        return moment


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who, the key id, and the bytes after it."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """The line as it stands in the note, with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a newline, and its signatures."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note as bytes."""
        return (self.text + "\n" + "".join(item.line() for item in self.signatures)).encode()

    def verified(self, keys: Iterable[VerifierKey]) -> dict[VerifierKey, int | None]:
        """Return the keys that signed, with cosignature times; unknown signatures are ignored.

        Raises `NoteError` if a known key's signature is false.
        """
        known = {(key.name, key.key_id): key for key in keys}
        found: dict[VerifierKey, int | None] = {}
        for item in self.signatures:
            key = known.get((item.name, item.key_id))
            if key is not None:
                found[key] = key.verify(self.text, item.value)
        return found

    def with_signatures(self, more: Iterable[Signature]) -> Note:
        """Return the note with further signatures, each line once."""
        return Note(self.text, tuple(dict.fromkeys((*self.signatures, *more))))


class Signer:
    """Signs notes with an Ed25519 key; `kind` COSIGNATURE makes timestamped cosignatures."""

    def __init__(self, name: str, private: Ed25519PrivateKey, kind: int = ED25519) -> None:
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key = VerifierKey(_name(name), kind, public)
        self._private = private

    def __repr__(self) -> str:
        return f"Signer({self.key.text()})"

    def sign(self, text: str, moment: int | None = None) -> Signature:
        """Return the signature of a note's text; a cosignature needs its POSIX time in seconds."""
        if self.key.kind == COSIGNATURE:
            if not moment or not 0 < moment < 2**63:
                raise NoteError("a cosignature needs a time after 1970")
            value = _TIME.pack(moment) + self._private.sign(_cosigned(text, moment))
        else:
            value = self._private.sign(_text(text).encode())
        return Signature(self.key.name, self.key.key_id, value)


def parse(content: bytes) -> Note:
    """Read a signed note strictly; raises `NoteError`."""
    if len(content) > MAX_NOTE_BYTES:
        raise NoteError("the note is too large")
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("the note is not valid UTF-8") from error
    if any(character < " " and character != "\n" for character in whole):
        raise NoteError("the note holds a control character")
    text, separator, tail = whole.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("the note has no signature block")
    return Note(_text(text + "\n"), parse_signatures(tail))


def parse_signatures(block: str) -> tuple[Signature, ...]:
    """Read signature lines, each ending in a newline; raises `NoteError`."""
    if not block.endswith("\n"):
        raise NoteError("a signature line must end in a newline")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—":
            raise NoteError("a signature line is an em dash, the key name and base64, with single spaces")
        value = _base64(parts[2])
        if len(value) < 5:
            raise NoteError("a signature is shorter than its key id")
        signatures.append(Signature(_name(parts[1]), value[:4], value[4:]))
    return tuple(signatures)


def _cosigned(text: str, moment: int) -> bytes:
    return f"cosignature/v1\ntime {moment}\n{_text(text)}".encode()


def _text(text: str) -> str:
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise NoteError("a note's text ends in a newline and holds no other control characters")
    return text


def _name(name: str) -> str:
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise NoteError("a key name may not be empty nor hold spaces or plus signs")
    return name


def _base64(text: str) -> bytes:
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise NoteError("malformed base64") from error
    if base64.b64encode(value).decode() != text:
        raise NoteError("base64 is not in its only allowed form")
    return value
