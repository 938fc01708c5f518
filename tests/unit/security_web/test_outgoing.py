"""The guard of outgoing calls: where they may go, and that nothing gets round it (ASVS 5.0 V1.3.6)."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_server.local import certificate
from security.web.outgoing import Outgoing, OutgoingFailed, OutgoingRefused


def guard(*addresses: str, networks: tuple[str, ...] = ()) -> Outgoing:
    return Outgoing(networks, resolver=lambda _host, _port: list(addresses))


class TestWhereCallsMayGo:
    @pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
    def test_public_addresses_may_be_called(self, address: str) -> None:
        assert guard(address).check("https://sso.example.com/x?y=1").path == "/x?y=1"

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",  # metadata of clouds
            "100.64.0.1",
            "100.100.100.200",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "not an address",
        ],
    )
    def test_other_addresses_may_not_however_they_are_written(self, address: str) -> None:
        with pytest.raises(OutgoingRefused, match="KONTOR_OUTGOING_NETWORKS"):
            guard(address).check("https://sso.example.com/")

    def test_one_bad_address_among_good_ones_is_enough_to_refuse(self) -> None:
        with pytest.raises(OutgoingRefused):
            guard("93.184.216.34", "127.0.0.1").check("https://sso.example.com/")

    def test_a_network_of_the_settings_may_be_called_and_its_neighbour_may_not(self) -> None:
        ours = ("10.1.0.0/16",)
        assert guard("10.1.2.3", networks=ours).check("https://sso.intern/").address == "10.1.2.3"
        assert guard("::ffff:10.1.2.3", networks=ours).check("https://sso.intern/")
        with pytest.raises(OutgoingRefused):
            guard("10.2.0.1", networks=ours).check("https://sso.intern/")

    @pytest.mark.parametrize(
        "url",
        [
            "http://sso.example.com/",
            "ftp://sso.example.com/",
            "file:///etc/passwd",
            "https://",
            "https:///path",
            "https://user:pass@sso.example.com/",
            "https://user@sso.example.com/",
            "https://sso.example.com/#fragment",
            "https://sso.example.com:0x50/",
            "https://sso.example.com:99999/",
            "https://sso.example.com/\r\nHost: evil",
            "https://sso.example.com/a b",
            "https://sso.example.com\\@evil.example/",
            "https://ss\u00f6.example.com/",
            "https://" + "a" * 3000,
            "//sso.example.com/",
            "javascript:alert(1)",
        ],
    )
    def test_addresses_that_are_none_of_ours_are_refused_before_the_name_is_asked(self, url: str) -> None:
        asked: list[str] = []
        outgoing = Outgoing(resolver=lambda host, _port: asked.append(host) or ["93.184.216.34"])
        with pytest.raises(OutgoingRefused):
            outgoing.check(url)
        assert asked == []

    @pytest.mark.parametrize(
        "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]"]
    )
    def test_other_spellings_of_loopback_lead_to_loopback_and_are_refused(self, host: str) -> None:
        with pytest.raises((OutgoingRefused, OutgoingFailed)):
            Outgoing().check(f"https://{host}/")

    @given(st.text(max_size=80))
    def test_no_text_breaks_the_check(self, text: str) -> None:
        with pytest.raises((OutgoingRefused, OutgoingFailed)):
            guard("127.0.0.1").check(text)


Serve = Callable[[socket.socket], None]


@contextmanager
def server(tmp_path: Path, serve: Serve) -> Iterator[tuple[str, str]]:
    """A TLS server on loopback that treats each connection with `serve`; gives its address and authority."""
    tls = certificate.ensure(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.chain, tls.key)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def run() -> None:
        try:
            plain, _peer = listener.accept()
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(65536)
                serve(connection)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}/", tls.authority.read_text()
    finally:
        listener.close()
        thread.join(10)


LOOPBACK = Outgoing(("127.0.0.0/8", "::1"), resolver=lambda _host, _port: ["127.0.0.1"])


class TestCalls:
    def test_an_answer_comes_whole_and_redirects_are_not_followed(self, tmp_path: Path) -> None:
        body = b"HTTP/1.1 302 Found\r\nLocation: https://169.254.169.254/\r\nContent-Length: 2\r\n\r\nok"
        with server(tmp_path, lambda one: one.sendall(body)) as (url, authority):
            answer = LOOPBACK.call("GET", url, authorities=authority)
        assert (answer.status, answer.body, answer.headers["location"]) == (
            302,
            b"ok",
            "https://169.254.169.254/",
        )

    def test_the_name_is_proved_by_tls_although_the_address_was_fixed(self, tmp_path: Path) -> None:
        with (
            server(tmp_path, lambda one: one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as (url, authority),
            pytest.raises(OutgoingFailed, match="certificate"),
        ):
            LOOPBACK.call("GET", url.replace("localhost", "sso.example.com"), authorities=authority)

    def test_an_unknown_authority_is_refused(self, tmp_path: Path) -> None:
        with (
            server(tmp_path, lambda one: one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as (url, _authority),
            pytest.raises(OutgoingFailed, match="certificate"),
        ):
            LOOPBACK.call("GET", url)

    def test_the_name_service_is_asked_once_so_that_its_second_answer_counts_for_nothing(
        self, tmp_path: Path
    ) -> None:
        answers = iter([["127.0.0.1"], ["169.254.169.254"]])
        outgoing = Outgoing(("127.0.0.0/8",), resolver=lambda _host, _port: next(answers))
        with server(tmp_path, lambda one: one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as (
            url,
            authority,
        ):
            assert outgoing.call("GET", url, authorities=authority).status == 200

    def test_a_server_that_sends_a_byte_now_and_then_is_left_in_time(self, tmp_path: Path) -> None:
        def drip(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(60):
                connection.sendall(b"x")
                time.sleep(0.1)

        with server(tmp_path, drip) as (url, authority):
            started = time.monotonic()
            with pytest.raises(OutgoingFailed, match="within 1 seconds"):
                LOOPBACK.call("GET", url, authorities=authority, seconds=1)
            assert time.monotonic() - started < 4

    def test_an_answer_that_is_too_large_is_left(self, tmp_path: Path) -> None:
        def flood(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)

        with (
            server(tmp_path, flood) as (url, authority),
            pytest.raises(OutgoingFailed, match="larger than 1000 bytes"),
        ):
            LOOPBACK.call("GET", url, authorities=authority, limit=1000)

    def test_nobody_there_and_a_name_without_address_are_told_apart(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with pytest.raises(OutgoingFailed, match="no connection"):
            LOOPBACK.call("GET", f"https://localhost:{port}/")

        def unknown(_host: str, _port: int) -> list[str]:
            raise socket.gaierror

        with pytest.raises(OutgoingFailed, match="no address"):
            Outgoing(resolver=unknown).check("https://sso.example.com/")

    def test_authorities_that_cannot_be_read_are_told_as_such(self) -> None:
        with pytest.raises(OutgoingRefused, match="PEM"):
            LOOPBACK.call("GET", "https://localhost/", authorities="nonsense")
