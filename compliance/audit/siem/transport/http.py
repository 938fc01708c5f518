"""HTTPS: bulk lines (NDJSON) with the answer as acknowledgement, and Splunk HEC with its own
acknowledgements.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from compliance.audit.siem.transport import DeliveryError, Item, Refusal
from compliance.audit.siem.transport.stream import TlsSettings, describe_peer, peer_until


class _Https:
    """One kept-alive HTTPS connection; never follows redirects."""

    def __init__(self, url: str, tls: TlsSettings, headers: Mapping[str, str], timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("the address of an HTTPS sink begins with https://")
        self.host, self.path = parts.hostname, parts.path or "/"
        self._headers, self._timeout = dict(headers), timeout
        self._connection = http.client.HTTPSConnection(
            parts.hostname, parts.port or 443, timeout=timeout, context=tls.context()
        )
        self.certificate_until: datetime | None = None

    def connect(self) -> str:
        try:
            self._connection.connect()
        except OSError as error:
            raise DeliveryError.of(self.host, "no connection", error) from error
        self.certificate_until = peer_until(self._connection.sock)
        return f"{self.host}, {describe_peer(self._connection.sock)}"

    def post(self, path: str, body: bytes, kind: str) -> bytes:
        """Send one request; raises `DeliveryError` for anything but a 2xx answer."""
        try:
            self._connection.request("POST", path, body, {**self._headers, "Content-Type": kind})
            answer = self._connection.getresponse()
            content = answer.read(1 << 20)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise DeliveryError.of(self.host, "the connection broke", error) from error
        if not 200 <= answer.status < 300:
            raise DeliveryError(f"{self.host}: answered {answer.status} {answer.reason}", Refusal.ANSWERED)
        return content

    def close(self) -> None:
        self._connection.close()


class BulkTransport:
    """POST of newline-delimited JSON; a 2xx answer confirms the batch.

    Args:
        url: https address of the receiver.
        tls: Authority, name and client certificate.
        headers: For example `Authorization`.
    """

    def __init__(
        self, url: str, tls: TlsSettings, headers: Mapping[str, str] | None = None, timeout: float = 15.0
    ) -> None:
        self._http = _Https(url, tls, headers or {}, timeout)
        self.confirmed = -1

    @property
    def certificate_until(self) -> datetime | None:
        """See `Transport.certificate_until`."""
        return self._http.certificate_until

    def open(self) -> str:
        """Connect; returns the peer."""
        return self._http.connect()

    def send(self, items: Sequence[Item]) -> None:
        """Send one batch."""
        body = "".join(item.line + "\n" for item in items).encode()
        self._http.post(self._http.path, body, "application/x-ndjson")
        if items:
            self.confirmed = items[-1].index

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class HecTransport:
    """Splunk HTTP Event Collector with indexer acknowledgement.

    A 200 says that Splunk has the batch in memory. Only its acknowledgement says that the batch is on disk,
    so `confirmed` follows those, and batches that stay unacknowledged for `patience` seconds are an error,
    after which the forwarder sends them again.
    """

    def __init__(
        self, url: str, tls: TlsSettings, token: str, *, timeout: float = 15.0, patience: float = 60.0
    ) -> None:
        self._http = _Https(
            url,
            tls,
            {"Authorization": f"Splunk {token}", "X-Splunk-Request-Channel": str(uuid.uuid4())},
            timeout,
        )
        self._patience = patience
        self._waiting: list[tuple[int, int, float]] = []
        self.confirmed = -1

    @property
    def certificate_until(self) -> datetime | None:
        """See `Transport.certificate_until`."""
        return self._http.certificate_until

    def open(self) -> str:
        """Connect; acknowledgements of an earlier connection are forgotten and their batches sent again."""
        self._waiting.clear()
        return self._http.connect()

    def send(self, items: Sequence[Item]) -> None:
        """Send one batch as events and ask for acknowledgements of earlier ones."""
        if items:
            body = "".join(json.dumps({"event": json.loads(item.line), "source": "kontor"}) for item in items)
            answer = self._json(
                self._http.post("/services/collector/event", body.encode(), "application/json")
            )
            acknowledgement = answer.get("ackId")
            if not isinstance(acknowledgement, int):
                raise DeliveryError(
                    f"{self._http.host}: no ackId: switch on indexer acknowledgement for this token",
                    Refusal.UNACKNOWLEDGED,
                )
            self._waiting.append((acknowledgement, items[-1].index, time.monotonic()))
        self.poll()

    def poll(self) -> None:
        """Ask which batches are on disk; raises `DeliveryError` if one has waited too long."""
        if not self._waiting:
            return
        body = json.dumps({"acks": [item[0] for item in self._waiting]}).encode()
        acks = self._json(self._http.post("/services/collector/ack", body, "application/json")).get(
            "acks", {}
        )
        done = acks if isinstance(acks, dict) else {}
        while self._waiting and done.get(str(self._waiting[0][0])) is True:
            self.confirmed = self._waiting.pop(0)[1]
        if self._waiting and time.monotonic() - self._waiting[0][2] > self._patience:
            raise DeliveryError(
                f"{self._http.host}: a batch was accepted but never acknowledged", Refusal.UNACKNOWLEDGED
            )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _json(self, content: bytes) -> dict[str, object]:
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise DeliveryError(f"{self._http.host}: the answer is not JSON", Refusal.ANSWERED) from error
        if not isinstance(answer, dict):
            raise DeliveryError(f"{self._http.host}: the answer is not a JSON object", Refusal.ANSWERED)
        return answer
