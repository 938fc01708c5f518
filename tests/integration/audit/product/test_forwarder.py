"""From an act to a receiver: `kontor siem` sets sinks up, and the forwarder's process delivers. # SIEM-1 … SIEM-8"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.conftest import Client
from tests.integration.audit.certificates import Authority
from tests.integration.audit.product.conftest import KONTOR, Site
from tests.integration.audit.product.test_trail import work
from tests.integration.audit.test_siem import Rsyslog, free_port


def start_forwarder(site: Site) -> subprocess.Popen[bytes]:
    with (site.state / "forwarder.log").open("ab") as log:
        made = subprocess.Popen([KONTOR, "siem", "forward"], env=site.environment, stdout=log, stderr=log)
    site.processes.append(made)
    return made


def set_up(site: Site, name: str, **options: str) -> None:
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    done = site.kontor("siem", "set", name, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert site.kontor("siem", "enable", name).returncode == 0


def states(site: Site) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(site.kontor("siem", "list", "--json").stdout)}


def until(what: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


def indexes(path: Path) -> list[int]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(json.loads(line)["metadata"]["sequence"]) for line in lines]


@contextmanager
def deaf_listener() -> Iterator[int]:
    """Takes every connection and reads nothing: a receiver that hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca", "authority")


class TestDelivery:
    def test_real_rsyslog_over_mutual_tls_gets_everything_and_the_cursor_says_so(
        self, site: Site, login: Callable[..., Client], authority: Authority, tmp_path: Path
    ) -> None:
        (tmp_path / "rsyslog").mkdir()
        receiver = Rsyslog(tmp_path / "rsyslog", "gtls", authority, authority.issue("siem.example"))
        receiver.start()
        try:
            certificate, key = authority.issue("crm1.example")
            tls = {"authorities": str(authority.path), "certificate": str(certificate), "key": str(key)}
            where = {"address": f"127.0.0.1:{receiver.port}", "server_name": "siem.example"}
            set_up(site, "rsyslog", transport="tls", format="rfc5424", **where, **tls)
            stored = site.run("select secrets from audit.sink")[0][0]
            assert b"PRIVATE KEY" not in bytes(stored)
            site.start_sealer()
            forwarder = start_forwarder(site)
            work(login("Manager"))
            size = site.wait_until_sealed()
            received = receiver.received(size, 30)
            assert sorted({int(item["index"]) for item in received}) == list(range(size))
            assert all("@" not in str(item) for item in received), "pseudonyms only"
            tried = site.kontor("siem", "test", "rsyslog", "--json")
            shown = json.loads(tried.stdout)
            assert ", commonName=siem.example, " in shown["peer"]
            assert 'action="test"' in shown["line"]
            forwarder.send_signal(signal.SIGTERM)
            assert forwarder.wait(90) == 0
            state = states(site)["rsyslog"]
            assert state["position"] >= size, "an orderly end confirms what was sent"
            assert state["error"] is None
            assert state["certificates_until"] is not None
        finally:
            receiver.stop()

    def test_sinks_that_are_down_or_hang_hold_up_neither_others_nor_work(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        site.start_sealer()
        with deaf_listener() as port:
            set_up(site, "down", transport="tcp", address=f"127.0.0.1:{free_port()}", format="cef")
            set_up(site, "deaf", transport="tcp", address=f"127.0.0.1:{port}", format="leef")
            set_up(site, "file", transport="file", address="audit.log", format="ocsf")
            start_forwarder(site)
            client = login("Manager")
            for _ in range(3):
                work(client)
            size = site.wait_until_sealed()
            path = site.state / "siem" / "audit.log"
            until(lambda: indexes(path)[-1:] == [size - 1] or indexes(path)[-1:] >= [size - 1])
            assert indexes(path) == list(range(len(indexes(path))))
            down = until(lambda: states(site)["down"]["error"] and states(site)["down"])
            assert down["backlog"] >= size
            assert down["failing_since"] is not None
            findings = json.loads(site.kontor("doctor", "--json").stdout)["findings"]
            (told,) = [item for item in findings if item["check"] == "siem" and "down" in item["text"]]
            assert told["level"] == "warning"

    def test_a_week_without_the_sink_loses_nothing_and_a_kill_only_repeats(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        site.start_sealer()
        port = free_port()
        set_up(site, "back", transport="tcp", address=f"127.0.0.1:{port}", format="rfc5424+json")
        forwarder = start_forwarder(site)
        work(login("Manager"))
        size = site.wait_until_sealed()
        until(lambda: states(site)["back"]["error"])
        site.run("update audit.sink_state set failing_since = now() - interval '7 days'")
        forwarder.kill()
        forwarder.wait()
        got: list[bytes] = []
        with socket.create_server(("127.0.0.1", port)) as server:
            threading.Thread(target=_collect, args=(server, got), daemon=True).start()
            start_forwarder(site)
            until(lambda: b"".join(got).count(b'"index":') >= size)
            until(lambda: states(site)["back"]["backlog"] == 0)  # although the log doesn't grow any more
        lines = b"".join(got)
        assert all(f'"index":"{number}"'.encode() in lines for number in range(size))

    def test_a_sink_that_accepted_and_lost_gets_events_again_from_the_missing_one(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        site.start_sealer()
        set_up(site, "file", transport="file", address="audit.log", format="ocsf")
        start_forwarder(site)
        work(login("Manager"))
        size = site.wait_until_sealed()
        path = site.state / "siem" / "audit.log"
        until(lambda: len(indexes(path)) >= size)
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:2]))  # The receiver lost the rest.
        assert site.kontor("siem", "resend", "file", "--from", "2").returncode == 0
        until(lambda: set(range(size)) <= set(indexes(path)))
        refused = site.kontor("siem", "resend", "file", "--from", "999999999")
        assert refused.returncode == 1
        assert "no event with this number" in refused.stderr

    def test_a_full_disk_of_a_file_sink_is_told_and_mended_without_loss(
        self, site: Site, login: Callable[..., Client]
    ) -> None:
        site.start_sealer()
        set_up(site, "file", transport="file", address="audit.log", format="ocsf")
        (site.state / "siem").mkdir(exist_ok=True)
        path = site.state / "siem" / "audit.log"
        path.symlink_to("/dev/full")  # Every write answers ENOSPC.
        start_forwarder(site)
        work(login("Manager"))
        size = site.wait_until_sealed()
        assert "No space left" in until(lambda: states(site)["file"]["error"])
        path.unlink()
        until(lambda: set(range(size)) <= set(indexes(path)), 60)

    def test_a_wrong_client_certificate_and_an_expired_one_are_told_by_name(
        self, site: Site, login: Callable[..., Client], authority: Authority, tmp_path: Path
    ) -> None:
        (tmp_path / "rsyslog").mkdir()
        (tmp_path / "other").mkdir()
        receiver = Rsyslog(tmp_path / "rsyslog", "gtls", authority, authority.issue("siem.example", days=-1))
        receiver.start()
        try:
            certificate, key = Authority(tmp_path / "other", "other").issue("crm1.example")
            tls = {"authorities": str(authority.path), "certificate": str(certificate), "key": str(key)}
            where = {"address": f"127.0.0.1:{receiver.port}", "server_name": "siem.example"}
            set_up(site, "expired", transport="tls", format="rfc5424", **where, **tls)
            tried = site.kontor("siem", "test", "expired")
            assert tried.returncode == 1
            assert "expired" in tried.stderr
        finally:
            receiver.stop()


def _collect(server: socket.socket, got: list[bytes]) -> None:
    while True:
        try:
            connection, _peer = server.accept()
            with connection:
                while part := connection.recv(65536):
                    got.append(part)
        except OSError:
            return


class TestSettingUp:
    @pytest.mark.parametrize(
        "options, problem",
        [
            (("--transport", "tls", "--address", "no port:x", "--format", "cef"), "address"),
            (("--transport", "https", "--address", "http://siem.example/", "--format", "ocsf"), "address"),
            (("--transport", "https", "--address", "https://siem.example/", "--format", "cef"), "format"),
            (("--transport", "hec", "--address", "https://siem.example/", "--format", "ocsf"), "token"),
            (("--transport", "file", "--address", "../../etc/passwd", "--format", "ocsf"), "address"),
            (("--transport", "file", "--address", ".hidden", "--format", "ocsf"), "address"),
            (
                ("--transport", "file", "--address", "a", "--format", "ocsf", "--message-limit", "10"),
                "message_limit",
            ),
        ],
    )
    def test_what_cannot_work_is_refused_at_its_field(
        self, site: Site, options: tuple[str, ...], problem: str
    ) -> None:
        done = site.kontor("siem", "set", "wrong", *options)
        assert done.returncode == 1
        assert f"{problem}:" in done.stderr
        assert site.run("select count(*) from audit.sink") == [(0,)]

    def test_a_key_that_belongs_to_another_certificate_is_refused(
        self, site: Site, authority: Authority
    ) -> None:
        certificate, _key = authority.issue("crm1.example")
        _certificate, other = authority.issue("crm2.example")
        tls = ("--authorities", str(authority.path), "--certificate", str(certificate), "--key", str(other))
        done = site.kontor(
            "siem", "set", "x", "--transport", "tls", "--address", "h", "--format", "cef", *tls
        )
        assert done.returncode == 1
        assert "belong together" in done.stderr

    def test_the_content_pack_is_written(self, site: Site, tmp_path: Path) -> None:
        done = site.kontor("siem", "pack", "--out", str(tmp_path / "pack"))
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "pack" / "fields.csv").is_file()
        assert "missing" in (tmp_path / "pack" / "queries.txt").read_text()
        assert list((tmp_path / "pack" / "sigma").glob("*.yml"))
