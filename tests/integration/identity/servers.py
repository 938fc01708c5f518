"""Real directory servers for the tests of this folder: slapd and a Samba domain controller, on loopback."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BASE = "dc=example,dc=test"
SERVICE_DN = f"cn=service,{BASE}"
SERVICE_PASSWORD = "service password of the tests"
PASSWORD = "velvet otter compiles"


def need(program: str, package: str) -> str:
    """Return the path of ``program``; without it fail in CI and skip elsewhere, naming the package."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        message = f"{program} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class Authority:
    """A certificate authority that lives as long as the tests."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self.name, self.key.public_key(), dt.timedelta(days=1))
        certificate = certificate.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        self.certificate = certificate.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, label: str, *names: str, valid: dt.timedelta = dt.timedelta(days=1)) -> tuple[Path, Path]:
        """Make a server certificate for DNS names and addresses; returns the files of certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        builder = self._builder(subject, key.public_key(), valid)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        certificate_file, key_file = self.folder / f"{label}.pem", self.folder / f"{label}.key"
        certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        key_file.chmod(0o600)
        return certificate_file, key_file

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, valid: dt.timedelta
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        authority_key = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + valid)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_key), critical=False
            )
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Slapd:
    """A running OpenLDAP server."""

    ldaps_port: int
    ldap_port: int
    authority: Authority
    folder: Path
    process: subprocess.Popen[bytes]
    arguments: list[str]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(90)

    def start(self) -> None:
        self.process = _start(self.arguments, self.folder / "log", [("127.0.0.1", self.ldaps_port)])

    def modify(self, ldif: str) -> None:
        """Change the directory as its administrator."""
        need("ldapmodify", "ldap-utils")
        url = f"ldap://127.0.0.1:{self.ldap_port}"
        subprocess.run(
            ["ldapmodify", "-x", "-H", url, "-D", f"cn=admin,{BASE}", "-w", "admin"],
            input=ldif.encode(), check=True, capture_output=True,
        )  # fmt: skip


_SLAPD_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {folder}/slapd.pid
{tls}
sizelimit 100
database mdb
maxsize 268435456
suffix "{base}"
rootdn "cn=admin,{base}"
limits dn.exact="{service}" size.soft=100 size.hard=100 size.pr=1000 size.prtotal=unlimited
rootpw admin
directory {folder}/db
dbnosync
index objectClass,uid,member,cn,entryUUID eq
overlay memberof
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{base}"
ppolicy_use_lockout
"""


@contextlib.contextmanager
def running_slapd(folder: Path, authority: Authority, ldif: str, *, tls: bool = True) -> Iterator[Slapd]:
    """Load ``ldif`` and serve it on free loopback ports, by LDAPS and by plain LDAP with STARTTLS."""
    slapd, slapadd = need("slapd", "slapd"), need("slapadd", "slapd")
    (folder / "db").mkdir(parents=True)
    certificate, key = authority.issue(f"slapd-{folder.name}", "localhost", "127.0.0.1")
    tls_lines = (
        f"TLSCACertificateFile {authority.ca_file}\nTLSCertificateFile {certificate}\n"
        f"TLSCertificateKeyFile {key}\nTLSProtocolMin 3.3"
    )
    configuration = folder / "slapd.conf"
    configuration.write_text(
        _SLAPD_CONF.format(folder=folder, base=BASE, service=SERVICE_DN, tls=tls_lines if tls else "")
    )
    source = folder / "data.ldif"
    source.write_text(ldif, encoding="utf-8")
    subprocess.run([slapadd, "-q", "-f", configuration, "-l", source], check=True, capture_output=True)
    ldaps_port, ldap_port = free_port(), free_port()
    urls = f"ldap://127.0.0.1:{ldap_port}" + (f" ldaps://127.0.0.1:{ldaps_port}" if tls else "")
    arguments = [slapd, "-f", str(configuration), "-h", urls, "-d", "0"]
    process = _start(arguments, folder / "log", [("127.0.0.1", ldap_port)])
    server = Slapd(ldaps_port, ldap_port, authority, folder, process, arguments)
    try:
        yield server
    finally:
        server.stop()


@dataclass
class DomainController:
    """A running Samba Active Directory domain controller."""

    address: str
    base: str
    administrator: str
    password: str
    authority: Authority


@contextlib.contextmanager
def running_domain_controller(folder: Path, authority: Authority) -> Iterator[DomainController]:
    """Provision and start a domain controller that serves LDAP only, on a loopback address of its own."""
    tool, samba = (
        need("samba-tool", "samba samba-ad-dc samba-dsdb-modules winbind"),
        need("samba", "samba-ad-dc"),
    )
    if os.geteuid() != 0:
        message = "a domain controller listens on ports 389 and 636: run this test as root"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    address = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}.1"
    password = "Adm1n-of-the-tests"
    subprocess.run(
        [
            tool, "domain", "provision", "--realm=AD.EXAMPLE.TEST", "--domain=EXAMPLE", "--server-role=dc",
            "--dns-backend=NONE", f"--adminpass={password}", f"--targetdir={folder}/dc", "--host-name=dc1",
            f"--option=interfaces={address}/8", "--option=bind interfaces only=yes",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate, key = authority.issue("dc", address)
    smb = folder / "dc/etc/smb.conf"
    lines = [
        "server services = ldap",
        f"tls certfile = {certificate}",
        f"tls keyfile = {key}",
        f"tls cafile = {authority.ca_file}",
        f"interfaces = {address}/8",
        "bind interfaces only = yes",
        f"pid directory = {folder}/dc",
        f"ncalrpc dir = {folder}/dc/ncalrpc",
        f"log file = {folder}/dc/log.%m",
    ]
    kept = [
        line
        for line in smb.read_text().splitlines()
        if line.split("=")[0].strip() not in {one.split("=")[0].strip() for one in lines}
    ]
    smb.write_text("\n".join(kept).replace("[global]", "[global]\n\t" + "\n\t".join(lines)) + "\n")
    (folder / "dc/ncalrpc").mkdir(exist_ok=True)
    arguments = [samba, "-s", str(smb), "-F", "--no-process-group", "-M", "single"]
    process = _start(arguments, folder / "log", [(address, 636)])
    try:
        yield DomainController(
            address,
            "DC=ad,DC=example,DC=test",
            "CN=Administrator,CN=Users,DC=ad,DC=example,DC=test",
            password,
            authority,
        )
    finally:
        process.terminate()
        process.wait(90)


def _start(arguments: list[str], log: Path, ports: list[tuple[str, int]]) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        process = subprocess.Popen(arguments, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    for address in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                sys.stderr.write(log.read_text(errors="replace"))
                pytest.fail(f"{arguments[0]} did not start; its log is above")
            time.sleep(0.05)
    return process
