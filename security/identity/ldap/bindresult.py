"""What a refused or accepted bind means: error-49 sub-codes of Active Directory, password policy control of
OpenLDAP.
"""

from __future__ import annotations

import re
from typing import Any

from pyasn1.codec.ber import decoder
from pyasn1.error import PyAsn1Error

from security.identity.ldap.outcome import Outcome

PASSWORD_POLICY_CONTROL = "1.3.6.1.4.1.42.2.27.8.5.1"  # noqa: S105 - an object identifier.

_SUBCODE = re.compile(r"\bdata ([0-9a-fA-F]{1,8})\b")
_SUBCODES = {
    0x525: Outcome.UNKNOWN_USER,
    0x52E: Outcome.WRONG_PASSWORD,
    0x530: Outcome.OUTSIDE_HOURS,
    0x531: Outcome.OUTSIDE_HOURS,
    0x532: Outcome.PASSWORD_EXPIRED,
    0x533: Outcome.DISABLED,
    0x701: Outcome.ACCOUNT_EXPIRED,
    0x773: Outcome.MUST_CHANGE_PASSWORD,
    0x775: Outcome.LOCKED,
}
_POLICY_ERRORS = {
    0: Outcome.PASSWORD_EXPIRED,
    1: Outcome.LOCKED,
    2: Outcome.MUST_CHANGE_PASSWORD,
}
_RESULT_OUTCOMES = {
    19: Outcome.LOCKED,  # constraintViolation, by which some servers report a lock-out
    32: Outcome.UNKNOWN_USER,  # noSuchObject
    49: Outcome.WRONG_PASSWORD,  # invalidCredentials
}


def read_bind_result(code: int, message: str, controls: dict[str, Any]) -> Outcome | None:
    """Return the outcome of a bind, or None if the result code says nothing about the person (busy,
    unavailable …).

    ``code`` is the LDAP result code, ``message`` the diagnostic message. An accepted bind with a policy error
    is not a log-in: the directory wants the password changed first.
    """
    policy = _policy_error(controls.get(PASSWORD_POLICY_CONTROL, {}).get("value"))
    if code == 0:
        return _POLICY_ERRORS.get(policy, Outcome.SIGNED_IN) if policy is not None else Outcome.SIGNED_IN
    outcome = _RESULT_OUTCOMES.get(code)
    if outcome is not Outcome.WRONG_PASSWORD:
        return outcome
    if policy is not None:
        return _POLICY_ERRORS.get(policy, outcome)
    match = _SUBCODE.search(message)
    return _SUBCODES.get(int(match.group(1), 16), outcome) if match else outcome


def _policy_error(value: object) -> int | None:
    """Read ``error`` from PasswordPolicyResponseValue (draft-behera-ldap-password-policy §6.2)."""
    if not isinstance(value, bytes) or not value:
        return None
    try:
        sequence, _ = decoder.decode(value, asn1Spec=_response_spec())
    except PyAsn1Error:
        return None
    error = sequence["error"]
    return int(error) if error.isValue else None


def _response_spec() -> Any:
    from pyasn1.type import namedtype, tag, univ

    def context(number: int, form: int) -> Any:
        return tag.Tag(tag.tagClassContext, form, number)

    warning = univ.Choice(
        componentType=namedtype.NamedTypes(
            namedtype.NamedType(
                "timeBeforeExpiration",
                univ.Integer().subtype(implicitTag=context(0, tag.tagFormatSimple)),
            ),
            namedtype.NamedType(
                "graceAuthNsRemaining",
                univ.Integer().subtype(implicitTag=context(1, tag.tagFormatSimple)),
            ),
        )
    ).subtype(explicitTag=context(0, tag.tagFormatConstructed))
    error = univ.Enumerated().subtype(implicitTag=context(1, tag.tagFormatSimple))
    return univ.Sequence(
        componentType=namedtype.NamedTypes(
            namedtype.OptionalNamedType("warning", warning), namedtype.OptionalNamedType("error", error)
        )
    )
