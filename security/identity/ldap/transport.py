"""Connections to one directory server: TLS without a way round it, a deadline an operation, a bound on
answers.

Wraps ldap3, whose own TLS settings are lax by default (no verification, a private host name check). Here the
standard library verifies the chain and the host name in the handshake, before a byte of LDAP is trusted.
Referrals are never followed: a directory could otherwise send our service account's password to any address
(AUTH-1, AUTH-5).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import ldap3
from ldap3.core.exceptions import LDAPException

from security.identity.ldap.bindresult import PASSWORD_POLICY_CONTROL, read_bind_result
from security.identity.ldap.outcome import IncompleteListing, Misconfigured, Outcome, ServerTrouble
from security.identity.ldap.settings import DirectorySettings, ServerAddress, Tls
from security.network import Cause, cause_of

_SUCCESS = 0
_NO_SUCH_OBJECT = 32
_TRANSIENT = {1, 2, 3, 51, 52, 80}  # operationsError, protocolError, timeLimit, busy, unavailable, other
_SIZE_LIMIT = 4
_MAX_EMPTY_PAGES = 100
_PAGED_CONTROL = "1.2.840.113556.1.4.319"
_BROKEN = (LDAPException, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError)
"""What ldap3 raises when a server sends nonsense: its own errors and those of its decoders."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One search result. Attribute names are in lower case, values are raw."""

    dn: str = field(repr=False)
    attributes: Mapping[str, Sequence[bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the handshake agreed on; shown on the diagnosis page."""

    version: str
    cipher: str
    subject: str
    expires: str


class _BoundedSocket:
    """A TLS socket that enforces the deadline and the size of one operation, however the server dribbles."""

    def __init__(self, inner: ssl.SSLSocket, settings: DirectorySettings) -> None:
        self._inner = inner
        self._settings = settings
        self.renew()

    def renew(self) -> None:
        self._deadline = time.monotonic() + self._settings.operation_timeout
        self._left = self._settings.max_operation_bytes

    def recv(self, size: int) -> bytes:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the operation took longer than allowed")
        self._inner.settimeout(min(remaining, self._settings.operation_timeout))
        data = self._inner.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError("the answer is longer than allowed")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _StrictTls(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """TLS 1.2 or newer, chain and host name verified by the standard library.

    Nothing here can be switched off.
    """

    def __init__(self, settings: DirectorySettings) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._directory = settings
        self.failure: Exception | None = None

    def wrap_socket(self, connection: Any, do_handshake: object = None) -> None:
        """Replace the connection's socket; called by ldap3 for LDAPS and after STARTTLS.

        The handshake is always made here, whatever ``do_handshake`` says.
        """
        pem, file = self._directory.ca_data, self._directory.ca_file
        try:
            context = ssl.create_default_context(cafile=str(file) if file and not pem else None, cadata=pem)
        except (ssl.SSLError, OSError) as error:
            self.failure = error
            raise
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            wrapped = context.wrap_socket(
                connection.socket, server_hostname=connection.server.host, do_handshake_on_connect=True
            )
        except (OSError, ValueError) as error:
            self.failure = error
            raise
        connection.socket = _BoundedSocket(wrapped, self._directory)


class Session:
    """An open, verified connection to one server, bound as the service account."""

    def __init__(self, settings: DirectorySettings, server: ServerAddress) -> None:
        self.settings = settings
        self.server = server
        self._connection = _open(settings, server, settings.bind_dn, settings.bind_password)

    def __enter__(self) -> Self:
        try:
            code, message, _ = _bind(self._connection)
        except BaseException:
            _close(self._connection)
            raise
        if code != _SUCCESS:
            _close(self._connection)
            error = ServerTrouble if code in _TRANSIENT else Misconfigured
            raise error("service account", f"bind refused with result {code}: {message[:200]}")
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._connection)

    @property
    def tls(self) -> TlsFacts:
        """Facts about the TLS connection, for the diagnosis page."""
        return _tls_facts(self._connection)

    def search(self, base: str, query: str, attributes: Sequence[str], *, limit: int = 0) -> list[Entry]:
        """Search the subtree of ``base``. With ``limit`` at most that many entries come back."""
        result, entries = self._search_once(base, query, attributes, limit=limit)
        if result["result"] == _SIZE_LIMIT and limit:
            return entries[:limit]
        _require_success(result, base)
        return entries

    def read(self, dn: str, attributes: Sequence[str]) -> Entry | None:
        """Read one entry by name, or return None if it isn't there."""
        result, entries = self._search_once(dn, "(objectClass=*)", attributes, scope=ldap3.BASE)
        if result["result"] == _NO_SUCH_OBJECT:
            return None
        _require_success(result, dn)
        return entries[0] if entries else None

    def pages(self, base: str, query: str, attributes: Sequence[str]) -> Iterator[Entry]:
        """Yield all matches page by page (RFC 2696).

        Raises IncompleteListing if the server stops short (a limit, a lost connection) or repeats itself.
        Cookies can't tell that: some servers send the same one with every page.
        """
        cookie: bytes | None = None
        empty_pages = 0
        seen: set[str] = set()
        while True:
            try:
                result, entries = self._search_once(
                    base, query, attributes, paged_size=self.settings.page_size, paged_cookie=cookie
                )
            except ServerTrouble as error:
                raise IncompleteListing(error.detail) from error
            if result["result"] != _SUCCESS:
                if cookie is None:
                    _require_success(result, base)
                raise IncompleteListing(f"result {result['result']} in the middle of the listing")
            names = {entry.dn for entry in entries}
            if names and names <= seen:
                raise IncompleteListing("the server repeats a page")
            seen |= names
            yield from entries
            control = (result.get("controls") or {}).get(_PAGED_CONTROL)
            if control is None:
                if len(entries) >= self.settings.page_size:
                    raise IncompleteListing("the server doesn't support paged results")
                return
            cookie = control["value"]["cookie"]
            if not cookie:
                return
            if not entries:
                empty_pages += 1
                if empty_pages > _MAX_EMPTY_PAGES:
                    raise IncompleteListing("the server goes on without sending anything")

    def bind_as(self, dn: str, password: str) -> Outcome:
        """Try ``password`` for ``dn`` on a connection of its own to the same server.

        Raises ServerTrouble if the answer says nothing about the person.
        """
        connection = _open(self.settings, self.server, dn, password)
        try:
            code, message, controls = _bind(connection)
        finally:
            _close(connection)
        outcome = read_bind_result(code, message, controls)
        if outcome is None:
            raise ServerTrouble("bind", f"result {code}")
        return outcome

    def _search_once(
        self, base: str, query: str, attributes: Sequence[str], *, limit: int = 0, **more: Any
    ) -> tuple[dict[str, Any], list[Entry]]:
        connection = self._connection
        scope = more.pop("scope", ldap3.SUBTREE)

        def run() -> None:
            connection.search(
                base,
                query,
                search_scope=scope,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=list(attributes),
                size_limit=limit,
                time_limit=self.settings.operation_timeout,
                **more,
            )

        _guarded(connection, "search", run)
        entries = []
        for item in connection.response or ():
            # Everything else is a search reference, a pointer to another server: never followed.
            if item.get("type") == "searchResEntry":
                raw = {name.lower(): list(values) for name, values in item["raw_attributes"].items()}
                entries.append(Entry(item["dn"], raw))
        return connection.result, entries


def _open(settings: DirectorySettings, server: ServerAddress, dn: str, password: str) -> ldap3.Connection:
    """Connect and finish the TLS handshake. Raises ServerTrouble that names the step."""
    tls = _StrictTls(settings)
    target = ldap3.Server(
        server.host,
        port=server.port,
        use_ssl=server.tls is Tls.LDAPS,
        tls=tls,
        get_info=ldap3.NONE,
        connect_timeout=settings.connect_timeout,
    )
    connection = ldap3.Connection(
        target,
        user=dn,
        password=password,
        authentication=ldap3.SIMPLE,
        client_strategy=ldap3.SYNC,
        auto_referrals=False,
        check_names=False,
        raise_exceptions=False,
        receive_timeout=settings.connect_timeout,
        read_only=True,
    )
    try:
        connection.open(read_server_info=False)
        if server.tls is Tls.STARTTLS:
            connection.start_tls(read_server_info=False)
    except _BROKEN as error:
        _close(connection)
        raise _connect_trouble(tls.failure or error) from error
    if not isinstance(connection.socket, _BoundedSocket):
        _close(connection)
        raise ServerTrouble("tls", "the server did not start TLS", Cause.NO_TLS)
    return connection


def _connect_trouble(error: Exception) -> ServerTrouble:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerTrouble("certificate", error.verify_message or "not verified", cause_of(error))
    if isinstance(error, ssl.SSLError):
        return ServerTrouble("tls", error.reason or "handshake failed", cause_of(error))
    # ldap3 says so of a name that has no address.
    if isinstance(error, socket.gaierror) or str(error) == "invalid server address":
        return ServerTrouble("connect", "the host name can't be resolved", Cause.UNKNOWN_NAME)
    return ServerTrouble("connect", str(error)[:200], cause_of(error))


def _bind(connection: ldap3.Connection) -> tuple[int, str, dict[str, Any]]:
    if not connection.password:
        # RFC 4513 §5.1.2: a bind without a password succeeds as "unauthenticated". It is never sent.
        raise ServerTrouble("bind", "an empty password is never sent")
    _guarded(
        connection,
        "bind",
        lambda: connection.bind(read_server_info=False, controls=[(PASSWORD_POLICY_CONTROL, False, None)]),
    )
    result = connection.result or {}
    return int(result.get("result", -1)), str(result.get("message") or ""), result.get("controls") or {}


def _guarded(connection: ldap3.Connection, step: str, action: Callable[[], object]) -> None:
    if isinstance(connection.socket, _BoundedSocket):
        connection.socket.renew()
    try:
        action()
    except _BROKEN as error:
        raise ServerTrouble(step, f"{type(error).__name__}: {str(error)[:200]}", cause_of(error)) from error


def _require_success(result: Mapping[str, Any], base: str) -> None:
    code = int(result["result"])
    if code == _SUCCESS:
        return
    detail = f"result {code} ({result.get('description')}) for {base}"
    raise (ServerTrouble if code in _TRANSIENT else Misconfigured)("search", detail)


def _close(connection: ldap3.Connection) -> None:
    with contextlib.suppress(*_BROKEN):
        connection.unbind()
    with contextlib.suppress(*_BROKEN):
        connection.socket.close()


def _tls_facts(connection: ldap3.Connection) -> TlsFacts:
    certificate = connection.socket.getpeercert() or {}
    subject = ", ".join(f"{name}={value}" for part in certificate.get("subject", ()) for name, value in part)
    cipher = connection.socket.cipher()
    return TlsFacts(
        version=connection.socket.version() or "",
        cipher=cipher[0] if cipher else "",
        subject=subject,
        expires=str(certificate.get("notAfter", "")),
    )
