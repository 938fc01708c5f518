"""Why a connection to another machine failed, by kind: pages have words for each, in every language."""

from __future__ import annotations

import errno
import socket
import ssl
from enum import StrEnum


class Cause(StrEnum):
    """Kinds of failures."""

    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNKNOWN_NAME = "unknown_name"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"
    """Nobody whom we trust signed the other side's certificate."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    CERTIFICATE = "certificate"
    """Anything else that is wrong with the other side's certificate."""
    REFUSES_US = "refuses_us"
    """The other side doesn't accept our certificate."""
    ASKS_FOR_OURS = "asks_for_ours"
    """The other side asks for a certificate of ours, and there is none."""
    NO_TLS = "no_tls"
    CLOSED = "closed"
    OTHER = "other"


# OpenSSL's verify codes, X509_V_ERR_*.
_OF_CERTIFICATES = {
    9: Cause.NOT_YET_VALID,
    10: Cause.EXPIRED,
    18: Cause.UNTRUSTED,  # self-signed
    19: Cause.UNTRUSTED,  # self-signed, in the chain
    20: Cause.UNTRUSTED,  # issuer not known
    21: Cause.UNTRUSTED,  # first certificate can't be verified
    62: Cause.WRONG_NAME,
    64: Cause.WRONG_NAME,  # of an IP address
}
_OF_NUMBERS = {
    errno.ENETUNREACH: Cause.UNREACHABLE,
    errno.EHOSTUNREACH: Cause.UNREACHABLE,
    errno.ENETDOWN: Cause.UNREACHABLE,
}
_OF_KINDS: tuple[tuple[type[Exception], Cause], ...] = (
    (ssl.SSLEOFError, Cause.CLOSED),
    (ssl.SSLZeroReturnError, Cause.CLOSED),
    (ssl.SSLError, Cause.NO_TLS),
    (TimeoutError, Cause.TIMED_OUT),
    (ConnectionRefusedError, Cause.REFUSED),
    (ConnectionError, Cause.CLOSED),
    (socket.gaierror, Cause.UNKNOWN_NAME),
)


def cause_of(error: Exception) -> Cause:
    """The kind of a network error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_CERTIFICATES.get(error.verify_code, Cause.CERTIFICATE)
    if isinstance(error, ssl.SSLError) and _is_about_us(error):
        return Cause.ASKS_FOR_OURS if _said(error).endswith("certificate required") else Cause.REFUSES_US
    for kind, cause in _OF_KINDS:
        if isinstance(error, kind):
            return cause
    return _OF_NUMBERS.get(getattr(error, "errno", None) or 0, Cause.OTHER)


def reason_of(error: Exception) -> str:
    """What the network or the other side said, in English, without anything that was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        text = _said(error)
        return f"it refused our certificate ({text})" if _is_about_us(error) else text
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__


def _is_about_us(error: ssl.SSLError) -> bool:
    text = _said(error)
    return "certificate" in text or "unknown ca" in text


def _said(error: ssl.SSLError) -> str:
    return (error.reason or "").lower().replace("_", " ")
