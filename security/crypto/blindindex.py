"""Blind index: exact search over sealed values by short keyed tokens.

``IK = KBKDF(BIK_e, "kontor/bidx/v1", CBOR[tenant, field, transform, partition], 32)``; ``token = first b bits of
HMAC-SHA-256(IK, CBOR[transform version, normalised value])``. Tokens are so short that several records share each
on purpose: a token is a hint, not a fingerprint. The query asks for the tokens of the current and the previous
epoch, opens the hits and compares exactly. Fields with few values (gender, status, country …) are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor, log2
from typing import Final, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from security.crypto import cbor
from security.crypto.errors import BitBudgetBroken
from security.crypto.keyring import EpochKeys
from security.crypto.normalise import NORMALISERS, Normaliser

# Semantic names that have too few values: their tokens would count people, however short they are.
NEVER_INDEXED: Final = frozenset(
    (
        "gender",
        "status",
        "country",
        "birth_year",
        "diagnosis",
        "boolean",
        "choice",
        "language",
        "currency",
        "timezone",
    )
)
MAX_SHARE: Final = 0.05
MAX_BITS: Final = 31


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """One blind index: field number, normaliser, bits a token, and partition (a number, 0 for the first)."""

    field: int
    transform: str
    bits: int
    partition: int = 0

    def __post_init__(self) -> None:
        if self.transform in NEVER_INDEXED or self.transform not in NORMALISERS:
            raise BitBudgetBroken(
                f"Field {self.field}: {self.transform!r} can't be indexed. Only text, email, phone, external_id can; "
                "a field with few values would reveal them."
            )
        if not 1 <= self.bits <= MAX_BITS:
            raise BitBudgetBroken(f"Field {self.field}: a token has between 1 and {MAX_BITS} bits.")

    @property
    def normaliser(self) -> Normaliser:
        """The normaliser in its current version."""
        return NORMALISERS[self.transform]


class BlindIndex:
    """The tokens of one index under one epoch. ``tenant`` is 16 bytes."""

    __slots__ = ("_prefix", "_shift", "_state", "epoch", "spec")

    def __init__(self, keys: EpochKeys, tenant: bytes, spec: IndexSpec) -> None:
        self.epoch = keys.epoch
        self.spec = spec
        key = keys.index_key(tenant, spec.field, spec.transform, spec.partition)
        # A keyed state, copied for each token, costs half of a fresh one.
        self._state = HMAC(key, hashes.SHA256()).copy
        self._shift = 32 - spec.bits
        self._prefix = b"\x82" + cbor.uint(spec.normaliser.version)

    def token(self, value: str) -> int:
        """Return the token of a value as a number of ``bits`` bits. Raises NotNormal."""
        return self.token_of_normal(self.spec.normaliser.apply(value))

    def token_of_normal(self, normal: str) -> int:
        """Return the token of a value in its normal form (for phones of a known region, and to share the work
        between two epochs).
        """
        state = self._state()
        state.update(self._prefix + cbor.tstr(normal))
        return int.from_bytes(state.finalize()[:4], "big") >> self._shift

    def __repr__(self) -> str:
        return f"BlindIndex(epoch={self.epoch}, field={self.spec.field})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Key material isn't pickled.")


def query_tokens(indexes: Iterable[BlindIndex], value: str) -> dict[int, int]:
    """Return epoch → token of a value for the current and the previous epoch's index of a field. Raises NotNormal."""
    found = list(indexes)
    if not found:
        return {}
    normal = found[0].spec.normaliser.apply(value)
    return {index.epoch: index.token_of_normal(normal) for index in found}


@dataclass(frozen=True, slots=True)
class BitBudget:
    """How many bits the indexes of a record may have in all, for a number of rows, and how many they have."""

    rows: int
    lowest: int
    highest: int
    used: int


def bit_bounds(rows: int) -> tuple[int, int]:
    """Return ceil(log2(sqrt N)) and floor(log2(N/2)) for N rows; (0, 1) for a table that is too small to say."""
    if rows < 4:
        return 0, 1
    return ceil(log2(rows) / 2), floor(log2(rows / 2))


def check_budget(specs: Iterable[IndexSpec], rows: int) -> BitBudget:
    """Return the budget of all indexes of one record type, or raise BitBudgetBroken (ENC-17).

    Below the lower bound a query opens more than sqrt(N) documents; above the upper bound a token names fewer than two.
    ``rows`` is the number of records that is expected soon, not that of an empty table. No index at all is in order.
    """
    used = sum(spec.bits for spec in specs)
    lowest, highest = bit_bounds(rows)
    if used > highest:
        raise BitBudgetBroken(
            f"The blind indexes use {used} bits, but {rows} rows allow {highest}: a token would name single persons. "
            "Take bits away from an index."
        )
    if 0 < used < lowest:
        raise BitBudgetBroken(
            f"The blind indexes use {used} bits, but {rows} rows need {lowest}: each search would open too many "
            "documents. Give bits to an index and build it anew."
        )
    return BitBudget(rows=rows, lowest=lowest, highest=highest, used=used)


def overfull_tokens(counts: Mapping[int, int], max_share: float = MAX_SHARE) -> dict[int, float]:
    """Return token → share for tokens that cover more than ``max_share`` of a field's rows: one value dominates."""
    total = sum(counts.values())
    return {token: count / total for token, count in counts.items() if total and count / total > max_share}
