"""Syslog over TCP and TLS: RFC 6587 and RFC 5425 octet-counted frames, `<length> <message>`.

TLS 1.3 ends the handshake for the client before the server has looked at the client's certificate, so a
refusal arrives with the first bytes, after events would already be gone. Therefore `open` probes: it waits
a moment for anything to come from the server, which for syslog can only be an alert or an end.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compliance.audit.siem.transport import DeliveryError, Item, Refusal, Window
from security.network import Cause, cause_of, reason_of


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How a TLS sink is known and how this sender proves itself.

    Each of the three is a file, or its content as text: a private key from the database never touches a disk.

    Attributes:
        ca: PEM of the authority that signed the sink's certificate; None believes those of the operating system.
        server_name: Name that the certificate must carry; usually the host.
        certificate: PEM with this sender's certificate chain, if the sink asks for one.
        key: PEM of its private key.
    """

    ca: Path | str | None
    server_name: str
    certificate: Path | str | None = None
    key: Path | str | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """Return a context with TLS ≥ 1.2, the given authority only, and the host name verified.

        Raises `ssl.SSLError` or `OSError` for what is no PEM, or a key that doesn't belong to the certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is None:
            context.load_default_certs()
        else:
            with _as_file(self.ca) as authority:
                context.load_verify_locations(authority)
        if self.certificate is not None:
            with _as_file(self.certificate) as chain, _as_file(self.key or self.certificate) as key:
                context.load_cert_chain(chain, key, password="")
        return context


@contextmanager
def _as_file(value: Path | str) -> Iterator[Path]:
    """A path for a library that reads files only: text lies in memory while it does."""
    if not isinstance(value, str):
        yield value
        return
    handle = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(handle, value.encode())
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def frame(line: str) -> bytes:
    """Return one octet-counted frame, RFC 5425 §4.3."""
    content = line.encode()
    return b"%d " % len(content) + content


class StreamTransport:
    """Octet-counted syslog over a stream; TLS if settings are given.

    Args:
        host: Name or address of the sink.
        port: 6514 for TLS by convention.
        tls: None sends in clear, for a relay on the same host only.
        timeout: Seconds for connecting and for each write.
        probe: Seconds to wait for a late refusal.
        window: What is sent again after a break.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: TlsSettings | None = None,
        *,
        timeout: float = 10.0,
        probe: float = 0.3,
        window: Window | None = None,
    ) -> None:
        self._address, self._tls, self._timeout, self._probe = (host, port), tls, timeout, probe
        self._window = window or Window()
        self._socket: socket.socket | None = None
        self.certificate_until: datetime | None = None

    @property
    def confirmed(self) -> int:
        """See `Transport.confirmed`."""
        return self._window.confirmed

    def open(self) -> str:
        """Connect, verify the host name, and wait for a late refusal. Returns the peer in words."""
        where = f"{self._address[0]}:{self._address[1]}"
        try:
            raw = socket.create_connection(self._address, self._timeout)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is None:
                self._socket, peer = raw, f"{where}, TCP"
            else:
                wrapped = self._tls.context().wrap_socket(raw, server_hostname=self._tls.server_name)
                self._socket, peer = wrapped, f"{where}, {describe_peer(wrapped)}"
                self.certificate_until = peer_until(wrapped)
        except OSError as error:
            raise DeliveryError.of(where, "no connection", error) from error
        self._expect_silence(self._probe)
        return peer

    def send(self, items: Sequence[Item]) -> None:
        """Write frames; raises `DeliveryError` also if the sink said anything, since it can only be a
        refusal.
        """
        if self._socket is None:
            raise DeliveryError("the connection is not open")
        self._expect_silence(0)
        try:
            self._socket.sendall(b"".join(frame(item.line) for item in items))
        except OSError as error:
            raise self._broken(reason_of(error), cause_of(error)) from error
        self._window.add(time.monotonic(), [item.index for item in items])

    def close(self) -> None:
        """Send close_notify and wait until the sink has read everything and closed its side."""
        if self._socket is None:
            return
        connection, self._socket = self._socket, None
        try:
            orderly = _part(connection, self._timeout)
        except (OSError, ValueError):
            orderly = False
        finally:
            connection.close()
        if orderly:
            self._window.finish()
        else:
            self._window.broken()

    def _expect_silence(self, seconds: float) -> None:
        """Raise if the sink sent an alert or closed within `seconds`."""
        if self._socket is None:
            return
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        if not pending and not select.select([self._socket], [], [], seconds)[0]:
            return
        self._socket.settimeout(0)
        try:
            received = self._socket.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            return  # A session ticket or a key update of TLS 1.3: bytes, but nothing for us.
        except OSError as error:
            raise self._broken(reason_of(error), cause_of(error)) from error
        finally:
            if self._socket is not None:
                self._socket.settimeout(self._timeout)
        if received:
            raise self._broken("it answered, which syslog never does", Refusal.ANSWERED)
        raise self._broken("it closed the connection", Cause.CLOSED)

    def _broken(self, reason: str, cause: Cause | Refusal) -> DeliveryError:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._window.broken()
        where = f"{self._address[0]}:{self._address[1]}"
        return DeliveryError(f"{where}: the connection broke: {reason}", cause)


def _part(connection: socket.socket, timeout: float) -> bool:
    """End our side and read until the sink ended its own; raises `OSError` for a reset or silence.

    Some receivers (rsyslog with GnuTLS) end the connection without a close_notify of their own. That they
    ended it after ours, without a reset, says that they have read everything before it.
    """
    connection.settimeout(timeout)
    if isinstance(connection, ssl.SSLSocket):
        try:
            plain = connection.unwrap()
        except ssl.SSLEOFError:
            return True
        with plain:
            plain.shutdown(socket.SHUT_WR)
            return plain.recv(1) == b""
    connection.shutdown(socket.SHUT_WR)
    return connection.recv(1) == b""


def describe_peer(connection: ssl.SSLSocket) -> str:
    """Protocol, cipher, subject and validity of the peer (ISO 8601), for the set-up page (SIEM-8)."""
    certificate: dict[str, Any] = connection.getpeercert() or {}
    subject = ", ".join("=".join(pair) for part in certificate.get("subject", ()) for pair in part)
    cipher = connection.cipher() or ("?",)
    begin, end = (_moment(certificate, name) for name in ("notBefore", "notAfter"))
    valid = f"{begin:%Y-%m-%d}/{end:%Y-%m-%d}" if begin and end else "?"
    return f"{connection.version()} {cipher[0]}, {subject}, {valid}"


def peer_until(connection: ssl.SSLSocket) -> datetime | None:
    """When the peer's certificate ends."""
    return _moment(connection.getpeercert() or {}, "notAfter")


def _moment(certificate: Mapping[str, Any], name: str) -> datetime | None:
    value = certificate.get(name)
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(value)), UTC) if value else None
