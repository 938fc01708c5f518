"""HTTPS calls to addresses that an administrator typed: single sign-on now, webhooks and sinks later.

An address that somebody may type is a way to make the server call where only the server can reach: metadata
services, databases, its own ports (server-side request forgery; OWASP ASVS 5.0 V1.3.6). So the name is
resolved once, every address it has must be allowed, the connection goes to the address that was checked, and
TLS still proves the name. Redirects are never followed. The time limit is for the whole call, so that a server
that sends a byte a second can't hold it.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], list[str]]

MAX_URL = 2000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class OutgoingRefused(ValueError):
    """The address may not be called; the message says why and the way out."""


class OutgoingFailed(Exception):
    """The call got no usable answer. The message is for operators and holds no secrets."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address: where to connect, and the name that TLS must prove."""

    host: str
    port: int
    address: str
    path: str


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the operating system sees them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


class Outgoing:
    """Calls over HTTPS. One for a process; safe to share between threads."""

    def __init__(self, networks: Iterable[str] = (), *, resolver: Resolver = resolve) -> None:
        """Take the networks beyond the public internet that may be reached, such as "10.0.0.0/8"."""
        self._networks: tuple[Network, ...] = tuple(
            ipaddress.ip_network(one, strict=False) for one in networks
        )
        self._resolve = resolver

    def check(self, url: str) -> Target:
        """Check an address and resolve it.

        Raises:
            OutgoingRefused: it isn't https, carries a password, or leads where it may not.
            OutgoingFailed: the name can't be resolved.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError:
            raise OutgoingRefused(
                "the address can't be read; it should look like https://sso.example.com"
            ) from None
        if parts.scheme != "https" or not parts.hostname or len(url) > MAX_URL or not url.isascii():
            raise OutgoingRefused("the address must begin with https:// and a host name")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise OutgoingRefused("the address must not carry a user name, a password or a fragment")
        if any(ord(letter) <= 0x20 or letter in '\\"<>' for letter in url):
            raise OutgoingRefused("the address holds a character that no address may hold")
        host = parts.hostname
        try:
            addresses = self._resolve(host, port)
        except OSError:
            raise OutgoingFailed(f"{host}: this name has no address here") from None
        if not addresses:
            raise OutgoingFailed(f"{host}: this name has no address here")
        for address in addresses:
            if not self.allows(address):
                raise OutgoingRefused(
                    f"{host} is {address}, which is not a public address; if it is yours, add its network to "
                    "KONTOR_OUTGOING_NETWORKS"
                )
        path = parts.path or "/"
        return Target(host, port, addresses[0], f"{path}?{parts.query}" if parts.query else path)

    def allows(self, address: str) -> bool:
        """Whether an address may be called: a public one, or one of the networks of the settings."""
        try:
            found = _plain(ipaddress.ip_address(address))
        except ValueError:
            return False
        if any(found in network for network in self._networks):
            return True
        tunnelled = isinstance(found, ipaddress.IPv6Address) and (found.sixtofour or found.teredo)
        return bool(found.is_global and not found.is_multicast and not found.is_reserved and not tunnelled)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        authorities: str | None = None,
        seconds: float = 8.0,
        limit: int = 512 * 1024,
    ) -> Answer:
        """Make one request and read the whole answer.

        Args:
            method: GET or POST.
            url: Checked by `check`.
            headers: Sent as they are.
            body: Sent as it is.
            authorities: PEM certificates to trust instead of those of the operating system.
            seconds: Time for everything from connecting to the last byte.
            limit: Most bytes of an answer.

        Raises:
            OutgoingRefused: as `check`.
            OutgoingFailed: no connection, wrong certificate, too slow, or too large.
        """
        target = self.check(url)
        until = time.monotonic() + seconds
        context = _context(authorities)
        connection = _Pinned(target, context, seconds)
        guard = threading.Timer(seconds, connection.cut)
        guard.daemon = True
        guard.start()
        try:
            connection.request(
                method, target.path, body=body, headers={"Connection": "close", **(headers or {})}
            )
            answer = connection.getresponse()
            content = answer.read(limit + 1)
            if time.monotonic() > until:
                raise TimeoutError
            if len(content) > limit:
                raise OutgoingFailed(f"{target.host}: the answer is larger than {limit} bytes")
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, content)
        except ssl.SSLCertVerificationError as error:
            raise OutgoingFailed(
                f"{target.host}: the certificate is not valid: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            slow = time.monotonic() > until or isinstance(error, TimeoutError)
            reason = (
                f"no answer within {seconds:g} seconds" if slow else f"no connection ({type(error).__name__})"
            )
            raise OutgoingFailed(f"{target.host}: {reason}") from error
        finally:
            guard.cancel()
            connection.close()


class _Pinned(http.client.HTTPSConnection):
    """Connects to the address that was checked, and lets TLS prove the name."""

    def __init__(self, target: Target, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(target.host, target.port, timeout=seconds, context=context)
        self._target = target
        self._tls = context

    def connect(self) -> None:
        """Connect without asking the name service again: its answer may have changed since the check."""
        plain = socket.create_connection((self._target.address, self._target.port), self.timeout)
        self.sock = plain
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._target.host)

    def cut(self) -> None:
        """End the conversation from another thread, whatever it is waiting for."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _context(authorities: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except ssl.SSLError as error:
        raise OutgoingRefused("the certificate authorities can't be read; give them as PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one wraps, so that no way of writing it passes by the check."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
