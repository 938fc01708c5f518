"""People and groups as the directory describes them, and what their account state is.

Parses raw attributes of Active Directory and of OpenLDAP with the password policy overlay into one shape.
Called by ``client`` and ``listing``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from security.identity.ldap.escape import filter_value
from security.identity.ldap.outcome import Outcome
from security.identity.ldap.settings import DirectorySettings, Flavour

Attributes = Mapping[str, Sequence[bytes]]
"""Raw values by lower-case attribute name."""

_UAC_DISABLED = 0x2
_UAC_COMPUTED_LOCKED = 0x10
_UAC_COMPUTED_PASSWORD_EXPIRED = 0x800000
_UAC_NEVER_EXPIRES = 0x10000
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_FILETIME_NEVER = (0, 0x7FFFFFFFFFFFFFFF)
_MAX_TEXT = 1024

STATE_ATTRIBUTES = {
    Flavour.ACTIVE_DIRECTORY: (
        "userAccountControl",
        "msDS-User-Account-Control-Computed",
        "accountExpires",
        "pwdLastSet",
    ),
    Flavour.OPENLDAP: ("pwdAccountLockedTime", "pwdReset", "pwdEndTime", "nsAccountLock"),
}
PERSON_ATTRIBUTES = {
    Flavour.ACTIVE_DIRECTORY: (
        "objectGUID",
        "objectSid",
        "primaryGroupID",
        "sAMAccountName",
        "userPrincipalName",
        "displayName",
        "cn",
        "givenName",
        "sn",
        "mail",
        "telephoneNumber",
    ),
    Flavour.OPENLDAP: ("entryUUID", "uid", "displayName", "cn", "givenName", "sn", "mail", "telephoneNumber"),
}
ID_ATTRIBUTE = {Flavour.ACTIVE_DIRECTORY: "objectGUID", Flavour.OPENLDAP: "entryUUID"}


class AccountState(enum.Enum):
    """What the directory says about an account, in the order in which one state outranks another."""

    DISABLED = "disabled"
    ACCOUNT_EXPIRED = "account_expired"
    LOCKED = "locked"
    PASSWORD_EXPIRED = "password_expired"  # noqa: S105 - a state, not a secret.
    MUST_CHANGE_PASSWORD = "must_change_password"  # noqa: S105 - as above.
    ACTIVE = "active"

    @property
    def keeps_account(self) -> bool:
        """True if the person still belongs to the company; a lock or an old password is no reason to
        deprovision.
        """
        return self not in (AccountState.DISABLED, AccountState.ACCOUNT_EXPIRED)


STATE_OUTCOMES = {
    AccountState.DISABLED: Outcome.DISABLED,
    AccountState.ACCOUNT_EXPIRED: Outcome.ACCOUNT_EXPIRED,
    AccountState.LOCKED: Outcome.LOCKED,
    AccountState.PASSWORD_EXPIRED: Outcome.PASSWORD_EXPIRED,
    AccountState.MUST_CHANGE_PASSWORD: Outcome.MUST_CHANGE_PASSWORD,
}


@dataclass(frozen=True, slots=True)
class Group:
    """A group that a person belongs to, directly or through other groups."""

    id: UUID
    """objectGUID or entryUUID: survives renaming and moving."""
    dn: str = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class Person:
    """A directory entry of a person. ``repr`` shows the immutable id and the state only."""

    id: UUID
    """objectGUID or entryUUID: the identity key (AUTH-3)."""
    dn: str = field(repr=False)
    login: str = field(repr=False)
    display_name: str = field(repr=False)
    given_name: str | None = field(repr=False)
    family_name: str | None = field(repr=False)
    email: str | None = field(repr=False)
    phone: str | None = field(repr=False)
    state: AccountState
    sid: bytes | None = field(default=None, repr=False)
    """Active Directory only: security identifier, to find the primary group."""
    primary_group_rid: int | None = field(default=None, repr=False)


def entry_id(settings: DirectorySettings, attributes: Attributes) -> UUID | None:
    """Return the immutable id of an entry, or None if the directory didn't give a usable one."""
    values = attributes.get(ID_ATTRIBUTE[settings.flavour].lower(), ())
    if len(values) != 1:
        return None
    try:
        if settings.flavour is Flavour.ACTIVE_DIRECTORY:
            return UUID(bytes_le=bytes(values[0]))
        return UUID(values[0].decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None


def id_filter(settings: DirectorySettings, value: UUID) -> str:
    """Return the filter that finds one entry by its immutable id."""
    raw: str | bytes = value.bytes_le if settings.flavour is Flavour.ACTIVE_DIRECTORY else str(value)
    return f"({ID_ATTRIBUTE[settings.flavour]}={filter_value(raw)})"


def person(settings: DirectorySettings, dn: str, attributes: Attributes, now: datetime) -> Person | None:
    """Read one entry, or return None if it has no immutable id or no log-in name."""
    found = entry_id(settings, attributes)
    login = first_text(attributes, *settings.login_names)
    if found is None or login is None:
        return None
    return Person(
        id=found,
        dn=dn,
        login=login,
        display_name=first_text(attributes, "displayName", "cn") or login,
        given_name=first_text(attributes, "givenName"),
        family_name=first_text(attributes, "sn"),
        email=first_text(attributes, "mail"),
        phone=first_text(attributes, "telephoneNumber"),
        state=account_state(settings.flavour, attributes, now),
        sid=next((bytes(value) for value in attributes.get("objectsid", ())), None),
        primary_group_rid=_number(attributes, "primaryGroupID"),
    )


def first_text(attributes: Attributes, *names: str) -> str | None:
    """Return the first non-empty value among ``names`` as text of at most 1,024 characters."""
    for name in names:
        for value in attributes.get(name.lower(), ()):
            text = (
                value[: 4 * _MAX_TEXT]
                .decode("utf-8", errors="replace")
                .replace("\x00", "")
                .strip()[:_MAX_TEXT]
            )
            if text:
                return text
    return None


def account_state(flavour: Flavour, attributes: Attributes, now: datetime) -> AccountState:
    """Return the highest-ranking state that the attributes show (AUTH-6)."""
    if flavour is Flavour.ACTIVE_DIRECTORY:
        return _active_directory_state(attributes, now)
    return _openldap_state(attributes, now)


def _active_directory_state(attributes: Attributes, now: datetime) -> AccountState:
    control = _number(attributes, "userAccountControl") or 0
    computed = _number(attributes, "msDS-User-Account-Control-Computed") or 0
    expires = _number(attributes, "accountExpires")
    if control & _UAC_DISABLED:
        return AccountState.DISABLED
    if expires is not None and expires not in _FILETIME_NEVER and filetime(expires) <= now:
        return AccountState.ACCOUNT_EXPIRED
    if computed & _UAC_COMPUTED_LOCKED:
        return AccountState.LOCKED
    if _number(attributes, "pwdLastSet") == 0 and not control & _UAC_NEVER_EXPIRES:
        return AccountState.MUST_CHANGE_PASSWORD
    if computed & _UAC_COMPUTED_PASSWORD_EXPIRED:
        return AccountState.PASSWORD_EXPIRED
    return AccountState.ACTIVE


def _openldap_state(attributes: Attributes, now: datetime) -> AccountState:
    if (first_text(attributes, "nsAccountLock") or "").casefold() == "true":
        return AccountState.DISABLED
    end = generalized_time(first_text(attributes, "pwdEndTime"))
    if end is not None and end <= now:
        return AccountState.ACCOUNT_EXPIRED
    locked = first_text(attributes, "pwdAccountLockedTime")
    if locked is not None and locked.startswith("000001010000"):
        # The overlay's way of saying "locked by an administrator, for good".
        return AccountState.DISABLED
    if locked is not None:
        return AccountState.LOCKED
    if (first_text(attributes, "pwdReset") or "").casefold() == "true":
        return AccountState.MUST_CHANGE_PASSWORD
    return AccountState.ACTIVE


def filetime(value: int) -> datetime:
    """Convert a Windows FILETIME (100 ns since 1601) to an aware time; values beyond year 9999 become the
    maximum.
    """
    try:
        return _FILETIME_EPOCH + timedelta(microseconds=value // 10)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def generalized_time(text: str | None) -> datetime | None:
    """Read an LDAP generalized time in UTC (``20261122120000Z``, with or without a fraction), else None."""
    if not text or not text.endswith("Z"):
        return None
    try:
        return datetime.strptime(text[:-1].split(".")[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _number(attributes: Attributes, name: str) -> int | None:
    values = attributes.get(name.lower(), ())
    try:
        return int(values[0]) if values else None
    except ValueError:
        return None
