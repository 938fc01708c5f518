"""Sealed documents: all sealed fields of one row and one key class, as one string of bytes.

Suite 1   ``0x01 | 0x01 | kid 16 | salt 16 | commitment 32 | nonce 12 | ciphertext | tag 16``   AES-256-GCM
Suite 2   ``0x01 | 0x02 | kid 16 | salt 16 | commitment 32 | IV 16 | ciphertext | tag 32``   AES-256-CBC + HMAC-SHA-512

Both derive a key for each document and a commitment from the data key (KBKDF, label ``kontor/doc/v1``, context
salt ‖ SHA-256(AAD)). The commitment is compared in constant time before anything is decrypted, so no document opens
under two keys (ENC-4) or at two places (ENC-3). Callers: the sealed attributes of the ORM, the bulk readers of lists
and of the search service, jobs and exports.

:meth:`SealedColumn.open` and :meth:`SealedColumn.seal` are a hot path; ``tests/bench/bench_crypto.py`` holds them to
a multiple of bare AES-GCM. That is why suite 1 has ciphers of its own (:mod:`security.crypto.native`), and why the
associated data are put together inline.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn
from uuid import UUID

from cbor2 import CBORDecodeError
from cbor2 import loads as _loads

from security.crypto import cbc, cbor, native
from security.crypto.cbor import UINTS, decode_fields, encode_fields
from security.crypto.errors import (
    CommitmentMismatch,
    DocumentAltered,
    DocumentMoved,
    DocumentRolledBack,
    MalformedDocument,
    UnknownSuite,
    WrongKey,
)
from security.crypto.kdf import kbkdf
from security.crypto.padding import pad, unpad
from security.crypto.reference import DOCUMENT_LABEL

FORMAT: Final = 1
SUITE_GCM: Final = 1
SUITE_CBC_HMAC: Final = 2
SUITE_SM: Final = 3
HEADER_SIZE: Final = 66
_GCM: Final = bytes((FORMAT, SUITE_GCM))
_CBC: Final = bytes((FORMAT, SUITE_CBC_HMAC))
_GCM_SMALLEST: Final = HEADER_SIZE + 12 + 16
# A map, so that a negative version is an error and not the last entry of a list.
_VERSIONS: Final = dict(enumerate(UINTS))
# How many versions to either side are tried to name a rollback, after the commitment has already failed.
ROLLBACK_SEARCH: Final = 64
_NEVER_SHOWN: Final = (None, "", MappingProxyType[int, Any]({}))
_sha256 = hashlib.sha256
_equal = hmac.compare_digest


class DocumentKey:
    """A data key at hand, prepared for use, with the names it was made for.

    ``kid``, ``tenant`` and ``subject`` are 16 bytes each. It lives in memory only: it is neither shown nor pickled.
    """

    __slots__ = (
        "_dek",
        "cipher",
        "generation",
        "key_class",
        "kid",
        "shown",
        "subject",
        "tenant",
    )

    def __init__(
        self, dek: bytes, kid: bytes, tenant: bytes, subject: bytes, key_class: str, generation: int = 1
    ) -> None:
        if len(dek) != 32 or len(kid) != 16 or len(tenant) != 16 or len(subject) != 16:
            raise ValueError("A data key has 32 bytes; its id, tenant and subject have 16 bytes each.")
        self._dek = dek
        self.kid = kid
        self.tenant = tenant
        self.subject = subject
        self.key_class = key_class
        self.generation = generation
        self.cipher = native.document_cipher(dek)
        # What readers of lists opened last: its column, the document with its place as they got it, and its fields. It
        # lies here because it must go together with the key.
        self.shown: tuple[SealedColumn | None, str, Mapping[int, Any]] = _NEVER_SHOWN

    def okm(self, label: bytes, salt: bytes, aad: bytes, length: int) -> bytes:
        """Derive keys for one document or stream through the library's own KBKDF."""
        return kbkdf(self._dek, label, salt + _sha256(aad).digest(), length)

    def check_value(self) -> bytes:
        """Return the check value (8 bytes) of the key itself; see :func:`security.crypto.reference.key_check_value`."""
        return self.cipher.check_value()

    def __repr__(self) -> str:
        return (
            f"DocumentKey(kid={self.kid.hex()}, key_class={self.key_class!r}, generation={self.generation})"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")


def document_kid(blob: bytes) -> bytes:
    """Return the id of the key that a sealed document names. Raises MalformedDocument, UnknownSuite."""
    if len(blob) < HEADER_SIZE:
        raise MalformedDocument("The document is shorter than its header.")
    check_suite(blob)
    return blob[2:18]


def check_suite(blob: bytes) -> int:
    """Return the suite of a document. Raises MalformedDocument, UnknownSuite."""
    if len(blob) < 2:
        raise MalformedDocument("The document has no header.")
    version, suite = blob[0], blob[1]
    if version != FORMAT:
        raise UnknownSuite(
            f"Format {version} of a sealed document is unknown. A newer release may have written it."
        )
    if suite == SUITE_SM:
        raise UnknownSuite("Suite 3 (SM4, SM3) is reserved and not part of this release.")
    if suite not in (SUITE_GCM, SUITE_CBC_HMAC):
        raise UnknownSuite(
            f"Suite {suite} of a sealed document is unknown. A newer release may have written it."
        )
    return suite


class SealedColumn:
    """The place of sealed documents: tenant, table number and key class, and the suite to seal with.

    ``suites`` are those that may be opened; the strict profile passes {2} only. Records and subjects are given as
    16 bytes (``uuid.bytes``), versions as unsigned integers below 2**64.
    """

    __slots__ = (
        "_after_subject",
        "_gcm_head",
        "_gcm_mark",
        "_heads",
        "key_class",
        "suite",
        "suites",
        "table",
        "tenant",
    )

    def __init__(
        self,
        tenant: UUID,
        table: int,
        key_class: str,
        *,
        suite: int = SUITE_GCM,
        suites: frozenset[int] = frozenset((SUITE_GCM, SUITE_CBC_HMAC)),
    ) -> None:
        if suite not in suites or not suites <= {SUITE_GCM, SUITE_CBC_HMAC}:
            raise UnknownSuite("The suite to seal with must be 1 or 2 and be among those that may be opened.")
        self.tenant = tenant.bytes
        self.table = table
        self.key_class = key_class
        self.suite = suite
        self.suites = suites
        self._gcm_mark = _GCM if SUITE_GCM in suites else b"-"
        # The array of nine items begins with format, suite, tenant and table; then comes the head of a UUID.
        tail = cbor.bstr(self.tenant) + cbor.uint(table) + b"\x50"
        self._heads = tuple(b"\x89\x01" + cbor.uint(number) + tail for number in range(3))
        self._gcm_head = self._heads[SUITE_GCM]
        self._after_subject = cbor.tstr(key_class) + b"\x50"

    def aad(self, suite: int, kid: bytes, record: bytes, subject: bytes, version: int) -> bytes:
        """Return the associated data: deterministic CBOR of [1, suite, tenant, table, record, subject, class, kid,
        document version], all ids as byte strings of 16.
        """
        try:
            number = _VERSIONS[version]
        except KeyError:
            number = cbor.uint(version)
        return self._heads[suite] + record + b"\x50" + subject + self._after_subject + kid + number

    def seal(
        self, key: DocumentKey, values: Mapping[int, Any], record: bytes, subject: bytes, version: int
    ) -> bytes:
        """Seal the fields of one record.

        Raises WrongKey when the key is another subject's, tenant's or class's; UnsealableValue for a value that the
        format doesn't have.
        """
        if key.subject != subject or key.tenant != self.tenant or key.key_class != self.key_class:
            raise WrongKey("The data key belongs to another subject, tenant or key class than the record.")
        if len(record) != 16:
            raise ValueError("The id of a record has 16 bytes.")
        if self.suite != SUITE_GCM:
            return self._seal_cbc(key, pad(encode_fields(values)), record, subject, version)
        try:
            number = _VERSIONS[version]
        except KeyError:
            number = cbor.uint(version)
        kid = key.kid
        aad = b"".join((self._heads[1], record, b"\x50", subject, self._after_subject, kid, number))
        return key.cipher.seal(kid, os.urandom(28), aad, pad(encode_fields(values)))

    def open(
        self, key: DocumentKey, blob: bytes, record: bytes, subject: bytes, version: int
    ) -> dict[int, Any]:
        """Open the document of one record and return its fields.

        Raises MalformedDocument, UnknownSuite, CommitmentMismatch (WrongKey, DocumentMoved, DocumentRolledBack) or
        DocumentAltered. No error holds a value.
        """
        if blob[:2] != self._gcm_mark or len(blob) < _GCM_SMALLEST:
            return self._open_other(key, blob, record, subject, version)
        try:
            number = _VERSIONS[version]
        except KeyError:
            number = cbor.uint(version)
        aad = b"".join((self._gcm_head, record, b"\x50", subject, self._after_subject, blob[2:18], number))
        content = key.cipher.open(blob, aad)
        if content is None:
            raise self._refused(key, blob, aad, record, subject, version)
        try:
            # CBOR ends by itself, so the authenticated padding behind it needs no cutting.
            fields = _loads(content)
        except (CBORDecodeError, ValueError):
            fields = None  # The library's own message may quote a value.
        if type(fields) is not dict:
            raise MalformedDocument("The content of a sealed document isn't a map of fields.")
        return fields

    def _open_other(
        self, key: DocumentKey, blob: bytes, record: bytes, subject: bytes, version: int
    ) -> dict[int, Any]:
        suite = check_suite(blob)
        if suite not in self.suites:
            raise UnknownSuite(
                f"Suite {suite} isn't allowed by the profile in force. Re-seal the document first."
            )
        if suite == SUITE_GCM or len(blob) < HEADER_SIZE + cbc.OVERHEAD + 32:
            raise MalformedDocument("The document is shorter than its header and one block.")
        aad = self.aad(suite, blob[2:18], record, subject, version)
        okm = key.okm(DOCUMENT_LABEL, blob[18:34], aad, cbc.OKM_SIZE)
        if not _equal(okm[32:64], blob[34:66]):
            raise self._diagnose(key, blob, record, subject, version)
        return decode_fields(unpad(cbc.decrypt(okm, blob[HEADER_SIZE:], aad)))

    def _seal_cbc(
        self, key: DocumentKey, padded: bytes, record: bytes, subject: bytes, version: int
    ) -> bytes:
        aad = self.aad(SUITE_CBC_HMAC, key.kid, record, subject, version)
        salt = os.urandom(16)
        okm = key.okm(DOCUMENT_LABEL, salt, aad, cbc.OKM_SIZE)
        return _CBC + key.kid + salt + okm[32:64] + cbc.encrypt(okm, padded, aad)

    def _refused(
        self, key: DocumentKey, blob: bytes, aad: bytes, record: bytes, subject: bytes, version: int
    ) -> DocumentAltered | CommitmentMismatch:
        """Say why a cipher refused a document: its body where it commits to key and place, else one of these."""
        if _equal(key.okm(DOCUMENT_LABEL, blob[18:34], aad, 64)[32:], blob[34:66]):
            return DocumentAltered("The body of a sealed document was altered.")
        return self._diagnose(key, blob, record, subject, version)

    def _diagnose(
        self, key: DocumentKey, blob: bytes, record: bytes, subject: bytes, version: int
    ) -> CommitmentMismatch:
        """Say why the commitment failed. Slow on purpose: it runs for alarms only and decrypts nothing."""
        moved = "from another tenant, table, record, subject or key class, or its header was altered"
        if blob[2:18] != key.kid:
            return WrongKey("The document names another data key than the one it was to be opened with.")
        if key.subject != subject or key.tenant != self.tenant or key.key_class != self.key_class:
            return DocumentMoved(
                "The document's key belongs to another subject, tenant or key class than its place."
            )
        suite, salt, commitment = blob[1], blob[18:34], blob[34:66]
        length = 64 if suite == SUITE_GCM else cbc.OKM_SIZE
        for distance in range(1, ROLLBACK_SEARCH + 1):
            for other in (version - distance, version + distance):
                if 0 <= other < 1 << 64:
                    aad = self.aad(suite, key.kid, record, subject, other)
                    if _equal(key.okm(DOCUMENT_LABEL, salt, aad, length)[32:64], commitment):
                        return DocumentRolledBack(other, version)
        return DocumentMoved(f"The document doesn't belong here: it was moved {moved}.")
