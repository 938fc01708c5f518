"""The sinks of audit events: how they are set up, checked and tried (SIEM-1, SIEM-3, SIEM-6, SIEM-8).

Pages, API and command line call `SinkService`; the forwarder makes its transports with `transport_of`.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from sqlalchemy import select

from compliance.audit.siem import catalog
from compliance.audit.siem.event import Policy
from compliance.audit.siem.formats import Sender
from compliance.audit.siem.forwarder import SinkSettings, send_test
from compliance.audit.siem.transport.http import BulkTransport, HecTransport
from compliance.audit.siem.transport.local import FileTransport, UdpTransport
from compliance.audit.siem.transport.stream import StreamTransport, TlsSettings
from compliance.datamap.text import _
from crm_server.domain.approvals.services import ApprovalRequired
from crm_server.domain.audit import events
from crm_server.domain.audit.models import FORMATS, POLICIES, TRANSPORTS, Sink, SinkState
from crm_server.domain.audit.secrets import SinkSecrets, seal, unseal
from crm_server.kernel.clock import now
from crm_server.kernel.errors import Errors, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from uuid import UUID

    from sqlalchemy.orm import Session

    from compliance.audit.siem.transport import Transport
    from crm_server.settings import Settings

TEXTS = ("name", "transport", "address", "server_name", "format", "policy", "authorities", "certificate")
NUMBERS = ("message_limit", "enterprise")
SECRETS = ("key", "token")
FROZEN = ("transport", "address", "server_name", "format", "policy")
"""What stays as it is while a sink is enabled: whom events reach, and what they tell."""
STOP = "audit.sink"
"""Kind of two-person release: a sink that is enabled gets nothing more."""
INPUTS = (*TEXTS, *NUMBERS, *SECRETS, "from_now")

_SYSLOG_PORTS = {"tls": 6514, "tcp": 514, "udp": 514}
_JSON_FORMATS = frozenset({"ocsf", "ecs"})
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,500}", re.ASCII)
_LONGEST_PEM = 20_000


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink with how far its delivery is; `state` is None before the forwarder saw it."""

    sink: Sink
    state: SinkState | None

    @property
    def backlog(self) -> int | None:
        """Events that were not handed over; all uncertain ones while there is an error."""
        if self.state is None:
            return None
        return max(0, self.state.size - (self.state.position if self.state.error else self.state.sent))

    @property
    def certificates_until(self) -> datetime | None:
        """When the first of the certificates ends, the sink's or ours."""
        ends = [self.state.certificate_until if self.state else None, own_certificate_until(self.sink)]
        return min((end for end in ends if end is not None), default=None)

    def plain(self) -> dict[str, Any]:
        """As JSON, without secrets."""
        sink, state = self.sink, self.state
        shown = {name: getattr(sink, name) for name in (*TEXTS, *NUMBERS)}
        return {
            "id": sink.id,
            "version": sink.version,
            "enabled": sink.enabled,
            **shown,
            "has_secrets": sink.secrets is not None,
            "backlog": self.backlog,
            "position": state.position if state else None,
            "error": state.error if state else None,
            "cause": state.cause if state else None,
            "failing_since": state.failing_since if state else None,
            "peer": state.peer if state else None,
            "certificates_until": self.certificates_until,
        }


class SinkService:
    """Sets sinks up. It works in the session's transaction, on behalf of whom the session acts for."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings

    def listed(self) -> list[SinkView]:
        """All sinks by name."""
        query = select(Sink, SinkState).outerjoin(SinkState, SinkState.sink_id == Sink.id).order_by(Sink.name)
        return [SinkView(sink, state) for sink, state in self._session.execute(query)]

    def get(self, sink_id: UUID) -> SinkView:
        """One sink. Raises `NotFound`."""
        found = self._session.get(Sink, sink_id)
        if found is None:
            raise NotFound
        return SinkView(found, self._session.get(SinkState, sink_id))

    def named(self, name: str) -> SinkView:
        """The sink of a name. Raises `NotFound`."""
        found = self._session.scalars(select(Sink.id).where(Sink.name == name)).first()
        if found is None:
            raise NotFound
        return self.get(found)

    def save(self, values: Mapping[str, Any], sink: Sink | None = None, *, size: int = 0) -> Sink:
        """Set a sink up, or change one; secrets that aren't given stay as they are.

        Args:
            values: `INPUTS` by name, as text or numbers; those that are absent keep their value.
            sink: The one to change; None makes a new one, which stays disabled until `enable`.
            size: Size of the log; a new sink with `from_now` begins there, others at the first event.

        Raises:
            ValidationFailed: every problem, each at its field.
        """
        row = sink or Sink(policy="pseudonym", message_limit=8192, enterprise=32473)
        merged = {name: getattr(row, name) for name in (*TEXTS, *NUMBERS)} | {
            name: _cleaned(value) for name, value in values.items() if name in (*TEXTS, *NUMBERS)
        }
        before = SinkSecrets() if sink is None else unseal(self._session, sink)
        secrets = SinkSecrets(
            _cleaned(values.get("key")) or before.key, _cleaned(values.get("token")) or before.token
        )
        errors = Errors()
        self._check(merged, secrets, row, errors)
        for name in FROZEN if sink is not None and sink.enabled else ():
            if merged[name] != getattr(sink, name):
                errors.add(f"/{name}", "enabled", _("Disable the sink first; that takes a second person."))
        errors.raise_if_any()
        for name, value in merged.items():
            setattr(row, name, value)
        if sink is None:
            row.first_index = size if values.get("from_now") else 0
        self._session.add(row)
        self._session.flush()
        if secrets != before:
            seal(self._session, row, secrets)
            self._session.flush()
            events.record(self._session, events.sink_event("sink_secrets_set", row.id))
        return row

    def enable(self, sink: Sink) -> None:
        """Let the forwarder deliver to the sink. It takes notice within two seconds."""
        sink.enabled = True
        self._session.flush()

    def stop(self, sink: Sink, *, remove: bool) -> None:
        """Deliver to a sink no more; its cursor stays. Or forget it with its secrets and its cursor.

        Raises:
            ApprovalRequired: it is enabled, so a second person has to agree.
        """
        if sink.enabled:
            act = "remove" if remove else "disable"
            raise ApprovalRequired(STOP, {"sink": str(sink.id), "name": sink.name, "act": act})
        if remove:
            stop(self._session, sink.id, remove=True)

    def resend(self, sink: Sink, index: int) -> None:
        """Deliver again from an index on, for a sink that accepted events and lost them.

        Raises:
            ValidationFailed: there is no such event.
        """
        view = self.get(sink.id)
        errors = Errors()
        if view.state is None or not 0 <= index <= view.state.size:
            errors.add("/index", "range", _("There is no event with this number in the log."))
        errors.raise_if_any()
        sink.first_index, sink.begun_at = index, now()
        # The forwarder begins a changed sink anew, here at its first index.
        self._session.delete(view.state)
        self._session.flush()
        events.record(self._session, events.sink_event("sink_resend", sink.id, index=index))

    def try_out(self, sink: Sink) -> tuple[str, str]:
        """Send a test event; returns the rendered line and the peer (SIEM-8).

        Raises:
            DeliveryError: in words for the operator.
        """
        transport = transport_of(sink, unseal(self._session, sink), self._settings)
        event = catalog.sample("audit", "test")
        events.record(self._session, events.sink_event("sink_test", sink.id))
        return send_test(transport, event, settings_of(sink))

    def _check(self, values: dict[str, Any], secrets: SinkSecrets, row: Sink, errors: Errors) -> None:
        self._check_name(values["name"], row, errors)
        for field, allowed in (("transport", TRANSPORTS), ("format", FORMATS), ("policy", POLICIES)):
            if values[field] not in allowed:
                errors.add(f"/{field}", "choice", _("There is no such choice."))
        for field, low, high in (("message_limit", 4096, 1_000_000), ("enterprise", 1, 2**31 - 1)):
            values[field] = _number(values[field])
            if values[field] is None or not low <= values[field] <= high:
                text = _(
                    "A whole number from ${low} to ${high} is expected here.",
                    mapping={"low": low, "high": high},
                )
                errors.add(f"/{field}", "range", text)
        transport = values["transport"]
        if transport in TRANSPORTS and not _fits(transport, values["address"] or ""):
            errors.add("/address", "format", ADDRESS_HELP[transport])
        if transport in ("hec", "https") and values["format"] not in _JSON_FORMATS:
            errors.add("/format", "choice", _("HTTPS takes JSON: choose OCSF or the Elastic Common Schema."))
        if transport == "hec" and secrets.token is None:
            errors.add("/token", "required", _("Splunk needs the token of its collector."))
        if secrets.token is not None and not _TOKEN.fullmatch(secrets.token):
            errors.add("/token", "format", _("A token has no spaces and no letters beyond ASCII."))
        if values["server_name"] and not _HOST.fullmatch(values["server_name"]):
            errors.add("/server_name", "format", _("The name of a host is expected here."))
        if transport in ("tls", "https", "hec"):
            _check_tls(values, secrets, errors)

    def _check_name(self, name: str | None, row: Sink, errors: Errors) -> None:
        if not name or len(name) > 100:
            errors.add("/name", "required", _("Give a name of at most 100 characters."))
            return
        with self._session.no_autoflush:
            same = self._session.scalars(select(Sink.id).where(Sink.name == name))
            if any(key != row.id for key in same):
                errors.add("/name", "taken", _("There is a sink of this name."))


def stop(session: Session, sink_id: UUID, *, remove: bool) -> None:
    """Disable a sink, or remove it. Whoever calls this has the release of a second person, or the sink was disabled.

    Raises:
        NotFound: there is none any more.
    """
    sink = session.get(Sink, sink_id)
    if sink is None:
        raise NotFound
    if remove:
        session.delete(sink)
    else:
        sink.enabled = False
    session.flush()


def _check_tls(values: dict[str, Any], secrets: SinkSecrets, errors: Errors) -> None:
    for field, value in (
        ("authorities", values["authorities"]),
        ("certificate", values["certificate"]),
        ("key", secrets.key),
    ):
        if value and len(value) > _LONGEST_PEM:
            errors.add(f"/{field}", "max_length", _("This is too long for a certificate or key."))
            return
    if values["certificate"] and not secrets.key:
        errors.add("/key", "required", _("Our certificate needs its private key."))
        return
    try:
        TlsSettings(values["authorities"], "example", None, None).context()
    except (OSError, ValueError):
        errors.add("/authorities", "format", _("This is no certificate in PEM form."))
    try:
        TlsSettings(None, "example", values["certificate"], secrets.key).context()
    except (OSError, ValueError):
        text = _("Certificate and private key must be PEM, belong together, and have no passphrase.")
        errors.add("/certificate", "format", text)


ADDRESS_HELP = {
    "tls": _("Name or address of a host, with a port if it isn't 6514: siem.example.com:6514"),
    "tcp": _("Name or address of a host, with a port if it isn't 514: siem.example.com:514"),
    "udp": _("Name or address of a host, with a port if it isn't 514: siem.example.com:514"),
    "https": _("An address that begins with https://"),
    "hec": _("An address that begins with https://"),
    "file": _("A plain name such as audit.log; the file lies in the folder for SIEM files."),
}

UNSAFE = {
    "udp": _(
        "UDP loses events without anyone noticing and shows them to the network. Use TLS wherever possible."
    ),
    "tcp": _("Without TLS everybody on the way can read and change the events. Use it on one machine only."),
}
"""What is said of a transport that shows or loses events."""


def _cleaned(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.replace("\r\n", "\n").strip() or None


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,10}", value, re.ASCII) else None


def _fits(transport: str, address: str) -> bool:
    if transport == "file":
        return _FILE_NAME.fullmatch(address) is not None
    if transport in ("https", "hec"):
        try:
            parts = urlsplit(address)
            return (
                parts.scheme == "https"
                and bool(parts.hostname)
                and parts.username is None
                and parts.port != 0
            )
        except ValueError:
            return False
    return _host_port(transport, address) is not None


def _host_port(transport: str, address: str) -> tuple[str, int] | None:
    found = re.fullmatch(rf"({_HOST.pattern})(?::([0-9]{{1,5}}))?", address, re.ASCII)
    if found is None:
        return None
    port = int(found[2]) if found[2] else _SYSLOG_PORTS[transport]
    return (found[1].strip("[]"), port) if 0 < port < 65536 else None


def siem_folder(settings: Settings) -> Path:
    """Where file sinks write: a name can't lead out of it."""
    folder: Path = settings.state_dir / "siem"
    return folder


def transport_of(sink: Sink, secrets: SinkSecrets, settings: Settings) -> Transport:
    """The connection to a sink, not open yet.

    Raises:
        ValueError, OSError: what is stored can't be used; `save` would have refused it.
    """
    if sink.transport == "file":
        folder = siem_folder(settings)
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        return FileTransport(folder / sink.address)
    if sink.transport in ("https", "hec"):
        tls = TlsSettings(sink.authorities, "", sink.certificate, secrets.key)
        if sink.transport == "hec":
            return HecTransport(sink.address, tls, secrets.token or "")
        header = {"Authorization": f"Bearer {secrets.token}"} if secrets.token else {}
        return BulkTransport(sink.address, tls, header)
    where = _host_port(sink.transport, sink.address)
    if where is None:
        raise ValueError("the address of the sink is none")
    host, port = where
    if sink.transport == "udp":
        return UdpTransport(host, port)
    if sink.transport == "tcp":
        return StreamTransport(host, port)
    return StreamTransport(
        host, port, TlsSettings(sink.authorities, sink.server_name or host, sink.certificate, secrets.key)
    )


def settings_of(sink: Sink) -> SinkSettings:
    """Format, policy and limits of a sink."""
    sender = Sender(socket.gethostname(), version("kontor"), sink.enterprise)
    return SinkSettings(sink.format, sender, Policy(sink.policy), sink.message_limit)


def own_certificate_until(sink: Sink) -> datetime | None:
    """When our own certificate for a sink ends."""
    if not sink.certificate:
        return None
    try:
        return x509.load_pem_x509_certificate(sink.certificate.encode()).not_valid_after_utc.astimezone(UTC)
    except ValueError:
        return None


__all__ = ["SinkService", "SinkView", "settings_of", "transport_of"]
