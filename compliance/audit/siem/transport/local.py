"""UDP and file. UDP may lose any event without a trace: it exists for old receivers, and set-up warns of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from compliance.audit.siem.transport import DeliveryError, Item, Refusal

UDP_LIMIT = 65_000


class UdpTransport:
    """RFC 5426: one datagram an event. Nothing is ever confirmed, so the cursor follows what was sent."""

    certificate_until: datetime | None = None

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self.confirmed = -1

    def open(self) -> str:
        """Resolve the address; UDP has no connection that could be proven."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.connect(address)
        except OSError as error:
            raise DeliveryError.of(self._address[0], "not sent", error) from error
        return f"{self._address[0]}:{self._address[1]}, UDP"

    def send(self, items: Sequence[Item]) -> None:
        """Send datagrams."""
        if self._socket is None:
            raise DeliveryError("the socket is not open")
        for item in items:
            content = item.line.encode()
            if len(content) > UDP_LIMIT:
                raise DeliveryError(
                    f"event {item.index} does not fit a datagram; lower the sink's message limit",
                    Refusal.TOO_LONG,
                )
            try:
                self._socket.send(content)
            except OSError as error:
                raise DeliveryError.of(self._address[0], "not sent", error) from error
            self.confirmed = item.index

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class FileTransport:
    """Appends lines to a file, flushed to disk; for air-gapped sites and agents that follow files."""

    certificate_until: datetime | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self.confirmed = -1

    def open(self) -> str:
        """Open for appending, readable by owner and group; a torn last line is ended first."""
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            end = os.lseek(self._handle, 0, os.SEEK_END)
            if end and os.pread(self._handle, 1, end - 1) != b"\n":
                os.write(self._handle, b"\n")
        except OSError as error:
            raise DeliveryError(f"{self._path}: {error.strerror}", Refusal.DISK) from error
        return str(self._path)

    def send(self, items: Sequence[Item]) -> None:
        """Append and flush."""
        if self._handle < 0:
            raise DeliveryError("the file is not open")
        try:
            view = memoryview("".join(item.line + "\n" for item in items).encode())
            while view:
                view = view[os.write(self._handle, view) :]
            os.fsync(self._handle)
        except OSError as error:
            raise DeliveryError(f"{self._path}: {error.strerror}", Refusal.DISK) from error
        if items:
            self.confirmed = items[-1].index

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
