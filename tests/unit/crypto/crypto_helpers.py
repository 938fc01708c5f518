"""Makes keys, columns and documents for the tests of this folder."""

from __future__ import annotations

import os
from uuid import UUID

from hypothesis import HealthCheck, settings

from security.crypto.document import DocumentKey, SealedColumn

TENANT = UUID("018f3b6e-0000-7000-8000-000000000001")
TABLE = 12
# Machines under load are slow; that is no error of the code under test.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = {1: "Erika", 2: "Mustermann", 3: "erika.mustermann@example.com", 7: None, 9: True, 20: "王小明"}


def column(
    suite: int = 1, *, table: int = TABLE, tenant: UUID = TENANT, key_class: str = "identity"
) -> SealedColumn:
    return SealedColumn(tenant, table, key_class, suite=suite)


def key(
    subject: bytes,
    *,
    dek: bytes | None = None,
    kid: bytes | None = None,
    tenant: UUID = TENANT,
    key_class: str = "identity",
) -> DocumentKey:
    return DocumentKey(dek or os.urandom(32), kid or os.urandom(16), tenant.bytes, subject, key_class)
