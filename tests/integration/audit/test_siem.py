"""Delivery to real receivers: rsyslog with both TLS drivers, TCP, UDP, HTTPS. # SIEM-1, SIEM-2, SIEM-4,
SIEM-8
"""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compliance.audit.log.leaf import encode
from compliance.audit.siem.event import AuditEvent, visible
from compliance.audit.siem.formats import Sender, render
from compliance.audit.siem.forwarder import FileCursor, Forwarder, SinkSettings, missing, send_test
from compliance.audit.siem.transport import DeliveryError, Item, Window
from compliance.audit.siem.transport.http import BulkTransport, HecTransport
from compliance.audit.siem.transport.local import FileTransport, UdpTransport
from compliance.audit.siem.transport.stream import StreamTransport, TlsSettings
from security.network import Cause

from .certificates import Authority

SENDER = Sender("crm1.example", "1.2.3")
LOG = "kontor.example/audit"
NASTY = [
    "plain",
    'a|b=c\\d]e"f',
    "line\nfeed\r\n",
    "nul\0",
    "\u2028\u202eevil",
    "שלום עולם",
    "客户张三",
    "😀\u0301",
    "end\\",
    "]",
]
PLUGINS = Path("/usr/lib/x86_64-linux-gnu/rsyslog")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def leaf(number: int, **changes: Any) -> bytes:
    return encode(
        {
            "event_id": f"01934a6b-7c1e-7a3b-8f00-{number:012x}",
            "occurred_at": "2026-11-21T08:15:30.123456Z",
            "tenant": "t1",
            "class": "read",
            "action": "view",
            "outcome": "success",
            "reason": None,
            "severity": 1,
            "actor_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
            "auth_method": "password",
            "session_ref": None,
            "request_id": None,
            "origin": "web",
            "object_type": 3,
            "object_ref": "6f9619ff-8b86-4d01-b42d-00cf4fc964f1",
            "subject_ref": [],
            "purpose": "sales",
            "policy_version": 1,
            "meta": {"n": number},
            "payload_commit": None,
        }
        | changes
    )


def leaves(start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    for number in range(start, stop):
        yield number, leaf(number)


def items(start: int, stop: int) -> list[Item]:
    events = (AuditEvent.from_leaf(LOG, number, content) for number, content in leaves(start, stop))
    return [Item(event.index, render("rfc5424", event, SENDER)) for event in events]


class Rsyslog:
    """A receiver of its own on a loopback port."""

    def __init__(
        self, folder: Path, driver: str | None, authority: Authority, server: tuple[Path, Path]
    ) -> None:
        self.folder, self.port, self.output = folder, free_port(), folder / "received"
        tls = ""
        if driver is not None:
            tls = (
                f'StreamDriver.Name="{driver}" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" '
                'PermittedPeer=["crm1.example"]'
            )
        self.configuration = folder / "rsyslog.conf"
        self.configuration.write_text(
            f"""
            global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
                   {f'defaultNetstreamDriver="{driver}"' if driver else ""}
                   defaultNetstreamDriverCAFile="{authority.path}"
                   defaultNetstreamDriverCertFile="{server[0]}" defaultNetstreamDriverKeyFile="{server[1]}")
            module(load="imtcp" {tls})
            module(load="imudp")
            module(load="mmpstrucdata")
            input(type="imtcp" address="127.0.0.1" port="{self.port}")
            input(type="imudp" address="127.0.0.1" port="{self.port}")
            action(type="mmpstrucdata")
            template(name="json" type="list") {{
                property(name="$!all-json") constant(value="\\t") property(name="msg") constant(value="\\n")
            }}
            action(type="omfile" file="{self.output}" template="json" flushOnTXEnd="on")
            """
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ("rsyslogd", "-n", "-f", str(self.configuration), "-i", str(self.folder / "pid"))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("rsyslogd did not start: " + (self.folder / "log").read_text())

    def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        (self._process.kill if kill else self._process.terminate)()
        self._process.wait(90)
        self._process = None

    def received(self, count: int = 0, seconds: float = 90) -> list[dict[str, str]]:
        """What has arrived, waiting for `count` events at most."""
        deadline = time.monotonic() + seconds
        while True:
            # The last line may be half written.
            lines = self.output.read_text().split("\n")[:-1] if self.output.exists() else []
            found = [
                json.loads(line.split("\t")[0]).get("rfc5424-sd", {}).get("kontor@32473") for line in lines
            ]
            good = [item for item in found if item]
            if len({item["index"] for item in good}) >= count or time.monotonic() > deadline:
                return good
            time.sleep(0.05)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture
def rsyslog(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Rsyslog]]:
    for name in ("lmnsd_gtls.so", "lmnsd_ossl.so", "mmpstrucdata.so"):
        if shutil.which("rsyslogd") is None or not list(Path("/usr/lib").glob(f"*/rsyslog/{name}")):
            pytest.fail(
                "rsyslog is not installed: apt-get install rsyslog rsyslog-gnutls rsyslog-openssl",
                pytrace=False,
            )
    made: list[Rsyslog] = []

    def make(driver: str | None, server: tuple[Path, Path] | None = None) -> Rsyslog:
        receiver = Rsyslog(tmp_path, driver, authority, server or authority.issue("siem.example"))
        made.append(receiver)
        receiver.start()
        return receiver

    yield make
    for receiver in made:
        receiver.stop()


def tls(authority: Authority, **changes: Any) -> TlsSettings:
    certificate, key = authority.issue("crm1.example")
    return TlsSettings(
        **{"ca": authority.path, "server_name": "siem.example", "certificate": certificate, "key": key}
        | changes
    )


@pytest.mark.parametrize("driver", ["gtls", "ossl"])
class TestTls:
    def test_100_of_100_arrive(
        self, driver: str, rsyslog: Callable[..., Rsyslog], authority: Authority
    ) -> None:
        receiver = rsyslog(driver)
        transport = StreamTransport("127.0.0.1", receiver.port, tls(authority))
        peer = transport.open()
        assert "TLSv1." in peer
        assert "siem.example" in peer
        for number in range(0, 100, 10):
            transport.send(items(number, number + 10))
        transport.close()
        assert missing([int(item["index"]) for item in receiver.received(100)], 0, 99) == []

    def test_any_unicode_reads_the_same_on_the_other_side(
        self, driver: str, rsyslog: Callable[..., Rsyslog], authority: Authority
    ) -> None:
        receiver = rsyslog(driver)
        transport = StreamTransport("127.0.0.1", receiver.port, tls(authority))
        transport.open()
        events = [
            AuditEvent.from_leaf(LOG, number, leaf(number, reason=text, purpose=text, meta={"x": text}))
            for number, text in enumerate(NASTY)
        ]
        transport.send([Item(event.index, render("rfc5424", event, SENDER)) for event in events])
        transport.close()
        found = {int(item["index"]): item for item in receiver.received(len(NASTY))}
        for event in events:
            assert {key.lower(): visible(value) for key, value in event.flat().items()} == {
                key.lower(): value for key, value in found[event.index].items()
            }

    def test_a_refused_client_certificate_is_noticed_before_any_event_is_sent(
        self, driver: str, rsyslog: Callable[..., Rsyslog], authority: Authority, tmp_path: Path
    ) -> None:
        receiver = rsyslog(driver)
        (tmp_path / "other").mkdir()
        foreign = Authority(tmp_path / "other", "other").issue("crm1.example")
        stranger = authority.issue("stranger.example")
        # The OpenSSL driver of Debian 12 (8.2302) lets any name in that the authority signed, whatever it
        # permits.
        for certificate, key in (foreign, (None, None), *([stranger] if driver == "gtls" else [])):
            transport = StreamTransport(
                "127.0.0.1", receiver.port, tls(authority, certificate=certificate, key=key), probe=2.0
            )
            with pytest.raises(DeliveryError, match="connection") as refused:
                transport.open()
            expected = (Cause.REFUSES_US if certificate else Cause.ASKS_FOR_OURS, Cause.CLOSED)
            assert refused.value.cause in expected, str(refused.value)
            assert transport.confirmed == -1
        assert receiver.received() == []

    def test_a_sink_that_is_killed_gets_the_window_again(
        self, driver: str, rsyslog: Callable[..., Rsyslog], authority: Authority, tmp_path: Path
    ) -> None:
        receiver = rsyslog(driver)
        transport = StreamTransport("127.0.0.1", receiver.port, tls(authority), window=Window(1000, 30))
        clock = [0.0]
        forwarder = Forwarder(
            LOG,
            transport,
            FileCursor(tmp_path / "cursor"),
            SinkSettings("rfc5424", SENDER, batch=50),
            now=lambda: clock[0],
        )
        for _ in range(10):
            forwarder.step(leaves, 2000)
        receiver.stop(kill=True)
        errors = 0
        for _ in range(5):
            errors += forwarder.step(leaves, 2000).error is not None
            clock[0] += 100
        assert errors
        receiver.start()
        for _ in range(60):
            progress = forwarder.step(leaves, 2000)
            clock[0] += 100
        assert progress.error is None
        forwarder.stop()
        assert missing([int(item["index"]) for item in receiver.received(2000)], 0, 1999) == []
        assert forwarder.progress(2000).cursor == 2000


class TestTrust:
    def test_name_authority_and_expiry_of_the_sink_are_checked(
        self, rsyslog: Callable[..., Rsyslog], authority: Authority, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        unknown = Authority(tmp_path / "other", "unknown")
        receiver = rsyslog("ossl")
        for settings, reason, cause in (
            (tls(authority, server_name="other.example"), "Hostname mismatch", Cause.WRONG_NAME),
            (tls(authority, ca=unknown.path), "unable to get local issuer|self-signed", Cause.UNTRUSTED),
        ):
            with pytest.raises(DeliveryError, match=reason) as refused:
                StreamTransport("127.0.0.1", receiver.port, settings).open()
            assert refused.value.cause is cause

    def test_an_expired_certificate_is_refused(
        self, rsyslog: Callable[..., Rsyslog], authority: Authority
    ) -> None:
        receiver = rsyslog("gtls", authority.issue("siem.example", days=-1))
        with pytest.raises(DeliveryError, match="expired") as refused:
            StreamTransport("127.0.0.1", receiver.port, tls(authority)).open()
        assert refused.value.cause is Cause.EXPIRED

    def test_each_kind_of_failure_is_told_apart(self, authority: Authority) -> None:
        def greet() -> None:
            with talking.accept()[0] as connection:
                connection.sendall(b"220 mail.example\r\n")

        local = ("127.0.0.1", 0)
        with socket.create_server(local) as silent, socket.create_server(local) as talking:
            greeting = threading.Thread(target=greet)
            greeting.start()
            for host, port, cause in (
                ("127.0.0.1", free_port(), Cause.REFUSED),
                ("127.0.0.1", talking.getsockname()[1], Cause.NO_TLS),
                ("127.0.0.1", silent.getsockname()[1], Cause.TIMED_OUT),
                ("nobody.invalid", 6514, Cause.UNKNOWN_NAME),
            ):
                with pytest.raises(DeliveryError) as refused:
                    StreamTransport(host, port, tls(authority), timeout=0.5).open()
                assert refused.value.cause is cause, str(refused.value)
            greeting.join()

    def test_the_set_up_page_shows_the_line_and_the_peer(
        self, rsyslog: Callable[..., Rsyslog], authority: Authority
    ) -> None:
        receiver = rsyslog("ossl")
        event = AuditEvent.from_leaf(LOG, 5, leaf(5))
        transport = StreamTransport("127.0.0.1", receiver.port, tls(authority))
        line, peer = send_test(transport, event, SinkSettings("rfc5424", SENDER))
        assert 'index="5"' in line
        assert ", commonName=siem.example, " in peer
        assert [item["index"] for item in receiver.received(1)] == ["5"]


class TestOthers:
    def test_tcp_and_udp_arrive(self, rsyslog: Callable[..., Rsyslog]) -> None:
        receiver = rsyslog(None)
        tcp = StreamTransport("127.0.0.1", receiver.port)
        assert tcp.open().endswith(", TCP")
        tcp.send(items(0, 50))
        tcp.close()
        udp = UdpTransport("127.0.0.1", receiver.port)
        assert udp.open().endswith(", UDP")
        udp.send(items(50, 60))
        udp.close()
        assert len({item["index"] for item in receiver.received(60)}) == 60

    def test_a_file_gets_whole_lines_even_after_a_torn_one(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        path.write_bytes(b"torn")
        transport = FileTransport(path)
        transport.open()
        transport.send(items(0, 3))
        transport.close()
        lines = path.read_text().splitlines()
        assert lines[0] == "torn"
        assert lines[1:] == [item.line for item in items(0, 3)]
        assert transport.confirmed == 2

    def test_a_sink_that_is_away_loses_nothing_and_blocks_nothing(self, tmp_path: Path) -> None:  # SIEM-1
        clock = [0.0]
        path = tmp_path / "away" / "out"
        forwarder = Forwarder(
            LOG,
            FileTransport(path),
            FileCursor(tmp_path / "cursor"),
            SinkSettings("ecs", SENDER, batch=100),
            now=lambda: clock[0],
        )
        began = time.monotonic()
        for minute in range(7 * 24 * 60):
            clock[0] += 60
            progress = forwarder.step(leaves, minute)
        assert time.monotonic() - began < 20
        assert progress.backlog == 7 * 24 * 60 - 1
        assert "No such file" in str(progress.error)
        path.parent.mkdir()
        clock[0] += 60
        while forwarder.step(leaves, 700).backlog:
            pass
        indexes = [json.loads(line)["event"]["sequence"] for line in path.read_text().splitlines()]
        assert indexes == list(range(700))


class Collector(http.server.BaseHTTPRequestHandler):
    """Behaves as the documentation of Splunk HEC with indexer acknowledgement says; `lose` never
    acknowledges.
    """

    received: list[dict[str, Any]]
    lose = False
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer: dict[str, Any] = {"text": "Success", "code": 0}
        if self.path.endswith("/ack"):
            answer = {"acks": {str(number): not self.lose for number in json.loads(body)["acks"]}}
        elif "collector" in self.path:
            assert self.headers["Authorization"] == "Splunk token"
            assert self.headers["X-Splunk-Request-Channel"]
            decoder, position = json.JSONDecoder(), 0
            while position < len(body):
                document, position = decoder.raw_decode(body, position)
                self.received.append(document["event"])
            answer["ackId"] = len(self.received)
        else:
            self.received.extend(json.loads(line) for line in body.splitlines())
        content = json.dumps(answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass

    protocol_version = "HTTP/1.1"


class TestHttps:
    @pytest.fixture
    def collector(self, authority: Authority) -> Iterator[tuple[int, type[Collector]]]:
        handler = type("Handler", (Collector,), {"received": []})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("localhost"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], handler
        server.shutdown()
        server.server_close()
        thread.join()

    def ecs_items(self, start: int, stop: int) -> list[Item]:
        return [
            Item(number, render("ecs", AuditEvent.from_leaf(LOG, number, content), SENDER))
            for number, content in leaves(start, stop)
        ]

    def test_bulk_confirms_by_the_answer(
        self, collector: tuple[int, type[Collector]], authority: Authority
    ) -> None:
        port, handler = collector
        transport = BulkTransport(f"https://localhost:{port}/bulk", tls(authority, server_name="localhost"))
        assert "TLSv1.3" in transport.open()
        transport.send(self.ecs_items(0, 20))
        assert transport.confirmed == 19
        handler.status = 503
        with pytest.raises(DeliveryError, match="503"):
            transport.send(self.ecs_items(20, 40))
        assert transport.confirmed == 19
        transport.close()
        assert len(handler.received) == 40

    def test_hec_confirms_only_what_splunk_acknowledged(
        self, collector: tuple[int, type[Collector]], authority: Authority
    ) -> None:
        port, handler = collector
        transport = HecTransport(
            f"https://localhost:{port}", tls(authority, server_name="localhost"), "token", patience=0.2
        )
        transport.open()
        transport.send(self.ecs_items(0, 5))
        assert transport.confirmed == 4
        handler.lose = True
        transport.send(self.ecs_items(5, 10))
        assert transport.confirmed == 4
        time.sleep(0.3)
        with pytest.raises(DeliveryError, match="never acknowledged"):
            transport.send([])
        transport.close()

    def test_plain_http_and_wrong_names_are_refused(
        self, collector: tuple[int, type[Collector]], authority: Authority
    ) -> None:
        with pytest.raises(ValueError, match="https"):
            BulkTransport("http://localhost/", tls(authority))
        with pytest.raises(DeliveryError):
            BulkTransport(f"https://127.0.0.1:{collector[0]}/", tls(authority)).open()
