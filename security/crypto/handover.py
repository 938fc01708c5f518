"""Hands the keys of an epoch from one node's ring to another's, through a place that anyone may read.

Each node seals an epoch for itself: a TPM's object opens on no other machine. So the node that lacks an epoch makes a
key pair that lives in its memory alone, a node that holds the epoch seals the keys to it, and the first one seals them
anew in its own ring. Both know a *secret*: it comes from an epoch that both hold already, or is a code that a person
carries from one terminal to the other. Without it nobody is answered, and nobody reads an answer.

Request ``public 65 | proof 32``: an uncompressed point of P-256, and HMAC-SHA256(PK, CBOR[node, epoch, public]).
Answer ``0x01 | public 65 | IV 16 | ciphertext 64 | tag 32``: ECDH (NIST SP 800-56A r3, 5.7.1.2) gives Z; the keys of
the cipher of suite 2 are KBKDF(HMAC-SHA256(XK, Z), "kontor/handover/v1", CBOR[node, epoch, public, public], 96),
extraction then expansion as in SP 800-56C r2, 5. PK and XK are KBKDF(secret, "kontor/handover/v1", "proof", 32) and the
same with "extract".

The key pair is forgotten with the request, so an answer in an old backup opens for nobody, even with the secret.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.crypto import cbc, cbor
from security.crypto.errors import DocumentAltered, HandoverRefused, MalformedDocument
from security.crypto.kdf import kbkdf
from security.crypto.keyring import MATERIAL_SIZE, EpochKeys

LABEL: Final = b"kontor/handover/v1"
FORMAT: Final = b"\x01"
POINT: Final = 65
_CODE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_CODE_GROUPS: Final = 5
_GROUP: Final = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What a node asks for; public."""

    node: str
    epoch: int
    public: bytes
    proof: bytes


class Asking:
    """A request that waits for its answer, with the private key. It lives in one process and is never written down."""

    __slots__ = ("_private", "_secret", "request")

    def __init__(self, node: str, epoch: int, secret: bytes) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._secret = secret
        public = _point(self._private.public_key())
        self.request = Request(node, epoch, public, _proof(secret, node, epoch, public))

    def take(self, answer: bytes) -> EpochKeys:
        """Open an answer. Raises HandoverRefused: damaged, for another request, or by somebody without the secret."""
        asked = self.request
        if len(answer) != 1 + POINT + MATERIAL_SIZE + cbc.OVERHEAD or answer[:1] != FORMAT:
            raise HandoverRefused("The answer of the other node isn't one.")
        theirs = answer[1 : 1 + POINT]
        okm, aad = _keys(self._private, theirs, theirs, asked, self._secret)
        material: bytes | None
        try:
            material = cbc.decrypt(okm, answer[1 + POINT :], aad)
        except (DocumentAltered, MalformedDocument):
            material = None
        if material is None:
            raise HandoverRefused(
                "The answer of the other node doesn't open: altered, or for another request."
            )
        return EpochKeys(asked.epoch, material)

    def __repr__(self) -> str:
        return f"Asking(epoch={self.request.epoch})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")


def answer(request: Request, secret: bytes, keys: EpochKeys) -> bytes:
    """Seal the keys of an epoch to the node that asked.

    Raises:
        HandoverRefused: whoever asked doesn't know the secret, or asked for another epoch.
    """
    proof = _proof(secret, request.node, request.epoch, request.public)
    if not hmac.compare_digest(proof, request.proof):
        raise HandoverRefused("The node that asks for an epoch doesn't prove that it may have it.")
    if keys.epoch != request.epoch:
        raise HandoverRefused(f"Epoch {request.epoch} was asked for, not {keys.epoch}.")
    private = ec.generate_private_key(ec.SECP256R1())
    mine = _point(private.public_key())
    okm, aad = _keys(private, request.public, mine, request, secret)
    return FORMAT + mine + cbc.encrypt(okm, keys.material(), aad)


def new_code() -> str:
    """Return a code of 100 bits for a person to carry, in groups that are easy to read out."""
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_GROUPS * _GROUP))
    return "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


def secret_of_code(code: str) -> bytes:
    """Return the secret of a code as it was typed; case, blanks and hyphens don't matter."""
    letters = "".join(letter for letter in code.upper() if letter in _CODE_LETTERS)
    return letters.encode()


def _point(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _proof(secret: bytes, node: str, epoch: int, public: bytes) -> bytes:
    return hmac.digest(kbkdf(secret, LABEL, b"proof", 32), cbor.array(node, epoch, public), "sha256")


def _keys(
    private: ec.EllipticCurvePrivateKey, theirs: bytes, answering: bytes, request: Request, secret: bytes
) -> tuple[bytes, bytes]:
    """Return the keys of the cipher and the associated data. Raises HandoverRefused for a point that isn't one."""
    point: ec.EllipticCurvePublicKey | None
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    except ValueError:
        point = None
    if point is None:
        raise HandoverRefused("The public key of the other node isn't a point of the curve.")
    shared = private.exchange(ec.ECDH(), point)
    extracted = hmac.digest(kbkdf(secret, LABEL, b"extract", 32), shared, "sha256")
    aad = cbor.array(request.node, request.epoch, request.public, answering)
    return kbkdf(extracted, LABEL, aad, cbc.OKM_SIZE), aad
