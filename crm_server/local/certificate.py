"""HTTPS on localhost without preparation: an authority of this machine alone, and a certificate signed by it.

`kontor up` calls `ensure` at each start. A browser warns until the person imports `ca.pem` or accepts the
certificate once; the authority's key can sign nothing but local names (RFC 5280 §4.2.1.10).
"""

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
LEAF_DAYS = 180  # browsers refuse leaves of more than 398 days
RENEW_DAYS = 30

_NAMES = ("localhost",)
_ADDRESSES = tuple(map(ipaddress.ip_address, ("127.0.0.1", "::1")))


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of PEM files: `chain` and `key` for the server, `authority` for whoever wants to trust it."""

    chain: Path
    key: Path
    authority: Path


def ensure(folder: Path) -> Certificate:
    """The certificate in `folder`, made or renewed if it is missing or ends within 30 days."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = Certificate(folder / "localhost.pem", folder / "localhost.key", folder / "ca.pem")
    if not _is_fresh(paths.authority):
        _make_authority(folder)
        paths.chain.unlink(missing_ok=True)
    if not (_is_fresh(paths.chain) and paths.key.exists()):
        _make_leaf(folder, paths)
    return paths


def _is_fresh(path: Path) -> bool:
    """Whether the file holds a certificate that stays valid for longer than the time of renewal."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_after_utc - _now() > dt.timedelta(days=RENEW_DAYS)


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Kontor trial on this machine")])
    permitted = [x509.DNSName(name) for name in _NAMES]
    permitted_networks = [x509.IPAddress(ipaddress.ip_network(address)) for address in _ADDRESSES]
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints([*permitted, *permitted_networks], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / "ca.key", key)
    _write(folder / "ca.pem", _pem(certificate), 0o644)


def _make_leaf(folder: Path, paths: Certificate) -> None:
    authority = x509.load_pem_x509_certificate(paths.authority.read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - `_make_authority` wrote it
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [*map(x509.DNSName, _NAMES), *map(x509.IPAddress, _ADDRESSES)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAMES[0])])
    certificate = (
        _builder(subject, authority.subject, key.public_key(), LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    _write_key(paths.key, key)
    _write(paths.chain, _pem(certificate) + _pem(authority), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    # A clock may be a little behind: the certificate is valid since yesterday.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - dt.timedelta(days=1))
        .not_valid_after(_now() + dt.timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write under another name and rename it, so that a server never reads half a file."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123 - by descriptor
        file.write(content)
    fresh.rename(path)
