"""The inventory of algorithms and keys, as a CycloneDX 1.6 CBOM that is generated from the source (ENC-20).

It parses Python files, resolves imports, and lists each use of a cryptographic primitive with file and line; in C it
looks for what OpenSSL calls them. Uses that
:mod:`security.crypto.algorithms` doesn't know are returned apart, and a test keeps that list empty for this package.
Callers: ``kontor keys inventory``, the release bundle, and the compliance report.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from security.crypto.algorithms import ALGORITHMS, KEY_KINDS, SYMBOLS, Algorithm, KeyKind
from security.crypto.keyring import EpochInfo, EpochState

# Names below these are cryptography; whatever of them isn't in the table is reported.
_WATCHED: Final = (
    "cryptography.hazmat.primitives.ciphers",
    "cryptography.hazmat.primitives.keywrap",
    "cryptography.hazmat.primitives.kdf",
    "cryptography.hazmat.primitives.hmac",
    "cryptography.hazmat.primitives.hashes",
    "cryptography.hazmat.primitives.cmac",
    "cryptography.hazmat.primitives.poly1305",
    "cryptography.hazmat.primitives.asymmetric",
    "hashlib",
    "hmac",
    "pkcs11.Mechanism",
    "argon2",
)
# In C: an algorithm that is fetched or got by its name, a function of OpenSSL that is named after one, or one of ours.
_C_USE: Final = re.compile(
    r"""\bEVP_\w+_fetch\([^"]*"(?P<fetched>[^"]+)"|\bEVP_(?P<got>[a-z]\w*)\("""
    r"""|\b(?P<named>SHA\d*|MD\d|AES|DES|RC\d|CAMELLIA|HMAC|CMAC|RAND|RSA|EC)_\w+\("""
    r"""|\b(?P<own>hmac_prepare|kbkdf|key_wrap)\("""
)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a primitive in the source."""

    symbol: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """Uses of known algorithms, and uses that the table doesn't know."""

    known: dict[str, tuple[Use, ...]]
    unknown: tuple[Use, ...]


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Return local name → dotted name of what was imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                names[item.asname or item.name.split(".")[0]] = (
                    item.name if item.asname else item.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for item in node.names:
                names[item.asname or item.name] = f"{node.module}.{item.name}"
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, names)
        return None if base is None else f"{base}.{node.attr}"
    return None


def _uses(file: str, source: str) -> Iterator[Use]:
    tree = ast.parse(source)
    names = _aliases(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    digests: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func, names) in (
            "hmac.digest",
            "hmac.new",
            "hashlib.new",
        ):
            texts = [item.value for item in (*node.args, *(word.value for word in node.keywords))
                     if isinstance(item, ast.Constant) and isinstance(item.value, str)]  # fmt: skip
            digests.add(id(node.func))
            yield Use(f"{_dotted(node.func, names)}:{','.join(texts) or '?'}", file, node.lineno)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner and id(node) not in digests:
            symbol = _dotted(node, names)
            watched = symbol is not None and any(symbol.startswith(prefix + ".") for prefix in _WATCHED)
            if symbol is not None and (symbol in SYMBOLS or watched):
                yield Use(symbol, file, node.lineno)


def _uses_in_c(file: str, source: str) -> Iterator[Use]:
    for number, line in enumerate(source.splitlines(), 1):
        for found in _C_USE.finditer(line):
            library = "_native" if found["own"] else "openssl"
            yield Use(f"{library}.{found[found.lastgroup or 0]}", file, number)


def _entry(symbol: str) -> str | None:
    """Return the entry of the table that stands for a use: itself, or what it is an attribute of."""
    while symbol not in SYMBOLS:
        symbol, dot, _rest = symbol.rpartition(".")
        if not dot:
            return None
    return symbol


def scan(root: Path, folders: Iterable[str] = ("security/crypto",)) -> Inventory:
    """Find all uses of primitives in the files of ``folders`` below ``root``, in Python and C."""
    known: dict[str, list[Use]] = {}
    unknown: list[Use] = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.[cp]*")):
            uses = {".py": _uses, ".c": _uses_in_c}.get(path.suffix)
            if uses is None:
                continue
            for use in uses(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")):
                symbol = _entry(use.symbol)
                if symbol is None:
                    unknown.append(use)
                    continue
                algorithm = SYMBOLS[symbol]
                if algorithm is not None:
                    known.setdefault(algorithm.name, []).append(use)
    return Inventory(
        {name: tuple(sorted(set(uses), key=str)) for name, uses in known.items()}, tuple(unknown)
    )


def _algorithm_component(algorithm: Algorithm, uses: tuple[Use, ...]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "primitive": algorithm.primitive,
        "executionEnvironment": "software-plain-ram",
        "cryptoFunctions": list(algorithm.functions),
        "classicalSecurityLevel": algorithm.bits,
        "nistQuantumSecurityLevel": algorithm.quantum,
    }
    if algorithm.mode is not None:
        properties["mode"] = algorithm.mode
    crypto: dict[str, Any] = {"assetType": "algorithm", "algorithmProperties": properties}
    if algorithm.oid is not None:
        crypto["oid"] = algorithm.oid
    return {
        "type": "cryptographic-asset",
        "bom-ref": f"algorithm/{algorithm.name}",
        "name": algorithm.name,
        "description": f"{algorithm.purpose}. {algorithm.standard}.",
        "cryptoProperties": crypto,
        "evidence": {
            "occurrences": [{"location": use.file, "line": use.line, "symbol": use.symbol} for use in uses],
        },
        "properties": [{"name": "kontor:approved", "value": str(algorithm.approved).lower()}],
    }


def _key_component(kind: KeyKind) -> dict[str, Any]:
    return {
        "type": "cryptographic-asset",
        "bom-ref": f"key/{kind.name}",
        "name": kind.name,
        "description": f"{kind.purpose}. Life: {kind.life}.",
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": {
                "type": "secret-key",
                "size": kind.size,
                **({"securedBy": {"mechanism": kind.wrapped_by}} if kind.wrapped_by else {}),
            },
        },
    }


_STATES: Final = {
    EpochState.LIVE: "active",
    EpochState.DESTROYING: "deactivated",
    EpochState.DESTROYED: "destroyed",
}


def _epoch_component(info: EpochInfo) -> dict[str, Any]:
    return {
        "type": "cryptographic-asset",
        "bom-ref": f"epoch/{info.number}",
        "name": f"Epoch {info.number}",
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": {
                "type": "secret-key",
                "id": str(info.number),
                "state": _STATES[info.state],
                "size": 512,
                "creationDate": info.created_at.isoformat(),
            },
        },
    }


def cbom(
    inventory: Inventory,
    *,
    version: str,
    epochs: Iterable[EpochInfo] = (),
    modules: Iterable[str] = (),
    serial: UUID | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """Return the CBOM as plain data for JSON. ``version`` is the product's, ``modules`` are those that compute, with
    their versions; ``serial`` and ``at`` may be fixed so that the same source gives the same bytes.
    """
    used = [algorithm for algorithm in ALGORITHMS if algorithm.name in inventory.known]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial or uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": (at or datetime.now(UTC)).isoformat(),
            "component": {"type": "application", "bom-ref": "kontor", "name": "kontor", "version": version},
        },
        "components": [
            *(_algorithm_component(algorithm, inventory.known[algorithm.name]) for algorithm in used),
            *({"type": "library", "bom-ref": f"module/{name}", "name": name} for name in modules),
            *(_key_component(kind) for kind in KEY_KINDS),
            *(_epoch_component(info) for info in epochs),
        ],
    }
