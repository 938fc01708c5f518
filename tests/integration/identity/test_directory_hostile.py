"""Servers that lie, dribble or can't prove who they are: what the directory client does about them (AUTH-1,
AUTH-9).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from security.identity.ldap import Directory, DirectorySettings, Flavour, Outcome, ServerAddress, Tls
from tests.integration.identity.openldap_data import PEOPLE, openldap_ldif
from tests.integration.identity.servers import Authority, running_slapd

SECRET = "a service password nobody may see"
Behaviour = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(behaviour: Behaviour) -> Iterator[int]:
    """Serve one behaviour for every connection; yields the port."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    stop = threading.Event()

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(20)
            behaviour(client)

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        stop.set()
        thread.join(5)
        server.close()


def directory(port: int, ca_file: Path, host: str = "localhost", tls: Tls = Tls.LDAPS) -> Directory:
    return Directory(
        DirectorySettings(
            servers=(ServerAddress(host, port, tls),),
            flavour=Flavour.OPENLDAP,
            bind_dn="cn=service,dc=example,dc=test",
            bind_password=SECRET,
            user_base=PEOPLE,
            group_base=PEOPLE,
            ca_file=ca_file,
            connect_timeout=1,
            operation_timeout=2,
        )
    )


def handshake(
    certificate: tuple[Path, Path], then: Behaviour, newest: ssl.TLSVersion | None = None
) -> Behaviour:
    def behave(client: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if newest is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
        context.load_cert_chain(*certificate)
        with context.wrap_socket(client, server_side=True) as secured:
            then(secured)

    return behave


def silence(client: socket.socket) -> None:
    client.recv(4096)
    time.sleep(20)


def dribble(client: socket.socket) -> None:
    """Announce a megabyte and send one byte after another, each before any packet time-out."""
    client.recv(4096)
    client.sendall(b"\x30\x83\x10\x00\x00")
    while True:
        client.sendall(b"\x00")
        time.sleep(0.2)


def nonsense(client: socket.socket) -> None:
    client.recv(4096)
    client.sendall(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x7f" + b"\xff" * 64)


class TestCertificates:
    """Whoever can't prove the name that we were told gets no password (AUTH-1)."""

    @pytest.mark.parametrize(
        "case,detail",
        [
            ("other authority", "unable to get local issuer certificate"),
            ("other name", "Hostname mismatch"),
            ("expired", "certificate has expired"),
        ],
    )
    def test_a_wrong_certificate_ends_the_conversation(
        self, tmp_path: Path, authority: Authority, case: str, detail: str
    ) -> None:
        other = Authority(tmp_path, "Somebody else")
        certificates = {
            "other authority": lambda: other.issue("a", "localhost"),
            "other name": lambda: authority.issue("b", "ldap.elsewhere.test"),
            "expired": lambda: authority.issue("c", "localhost", valid=-dt.timedelta(hours=1)),
        }
        heard = bytearray()

        def listen(client: socket.socket) -> None:
            heard.extend(client.recv(4096))

        with listening(handshake(certificates[case](), listen)) as port:
            result = directory(port, authority.ca_file).authenticate("lena", "password")
        assert result.outcome is Outcome.UNAVAILABLE
        assert detail in result.detail
        assert heard == b""

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_tls_older_than_1_2_is_refused(self, authority: Authority) -> None:
        certificate = authority.issue("old", "localhost")
        with listening(handshake(certificate, silence, ssl.TLSVersion.TLSv1_1)) as port:
            result = directory(port, authority.ca_file).authenticate("lena", "password")
        assert result.outcome is Outcome.UNAVAILABLE
        assert "tls" in result.detail

    def test_without_starttls_nothing_is_sent_in_the_clear(self, authority: Authority) -> None:
        heard = bytearray()

        def refuse(client: socket.socket) -> None:
            """Answer STARTTLS with protocolError, as a server without TLS does, and record what follows."""
            heard.extend(client.recv(4096))
            client.sendall(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00")
            while data := client.recv(4096):
                heard.extend(data)

        with listening(refuse) as port:
            result = directory(port, authority.ca_file, tls=Tls.STARTTLS).authenticate("lena", "password")
        assert result.outcome is Outcome.UNAVAILABLE
        assert b"1.3.6.1.4.1.1466.20037" in heard
        assert SECRET.encode() not in heard
        assert b"cn=service" not in heard

    def test_a_real_server_without_tls_gets_nothing_either(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        with running_slapd(tmp_path / "plain", authority, openldap_ldif(), tls=False) as server:
            result = directory(server.ldap_port, authority.ca_file, tls=Tls.STARTTLS).authenticate(
                "lena", "x"
            )
        assert result.outcome is Outcome.UNAVAILABLE


class TestPatience:
    @pytest.mark.parametrize("behaviour", [silence, dribble, nonsense])
    def test_a_server_that_wastes_time_is_left_within_the_limit(  # AUTH-9
        self, authority: Authority, behaviour: Behaviour
    ) -> None:
        certificate = authority.issue(f"slow-{behaviour.__name__}", "localhost")
        with listening(handshake(certificate, behaviour)) as port:
            start = time.monotonic()
            result = directory(port, authority.ca_file).authenticate("lena", "password")
            took = time.monotonic() - start
        assert result.outcome is Outcome.UNAVAILABLE
        assert took < 4

    def test_a_server_that_accepts_and_says_nothing_is_left(self, authority: Authority) -> None:
        with listening(lambda _: time.sleep(20)) as port:
            start = time.monotonic()
            assert directory(port, authority.ca_file).authenticate("lena", "x").outcome is Outcome.UNAVAILABLE
            assert time.monotonic() - start < 4
