"""The closed vocabularies of the data map.

A word of these lists decides how a value is stored, shown, sealed, logged, exported and erased, so a list grows
only together with the engines that read it.
"""

from __future__ import annotations

from enum import StrEnum


class Semantic(StrEnum):
    """What a value means. Drives SQL type, validation, JSON schema, form widget and display."""

    ID = "id"
    REFERENCE = "reference"
    TEXT = "text"
    LONG_TEXT = "long_text"
    EMAIL = "email"
    PHONE = "phone"
    URL = "url"
    INTEGER = "integer"
    SMALL_INTEGER = "small_integer"
    MONEY = "money"
    PERCENT = "percent"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"
    COUNTRY = "country"
    LANGUAGE = "language"
    CURRENCY = "currency"
    TIMEZONE = "timezone"
    JSON = "json"
    BYTES = "bytes"
    UUID_LIST = "uuid_list"


class Privacy(StrEnum):
    """The privacy class of a value, after GDPR Art. 4(1) and Art. 9."""

    NONE = "none"
    IDENTIFIER = "identifier"
    CONTACT = "contact"
    FINANCIAL = "financial"
    SPECIAL = "special"
    EMPLOYEE = "employee"
    FREE_TEXT = "free_text"


# fideslang data categories (https://ethyca.github.io/fideslang/), so that a data map can be exchanged.
FIDES_CATEGORY = {
    Privacy.NONE: "system.operations",
    Privacy.IDENTIFIER: "user.name",
    Privacy.CONTACT: "user.contact",
    Privacy.FINANCIAL: "user.financial",
    Privacy.SPECIAL: "user.health_and_medical",
    Privacy.EMPLOYEE: "user.workplace",
    Privacy.FREE_TEXT: "user.content",
}


class KeyClass(StrEnum):
    """Which of a data subject's keys seals the value. A class has its own retention and its own erasure (ENC)."""

    NONE = "none"
    IDENTITY = "identity"
    MARKETING = "marketing"
    CONTRACT = "contract"
    SUPPORT = "support"
    EMPLOYEE = "employee"
    HEALTH = "health"
    AUTH = "auth"
    AUDIT = "audit"


class Search(StrEnum):
    """How a value can be found: not at all, by exact match, or as text (prefix, substring, fuzzy)."""

    NONE = "none"
    EXACT = "exact"
    TEXT = "text"


class Audit(StrEnum):
    """What the audit log keeps of a change: the old and new value (sealed), the fact alone, or nothing."""

    VALUE = "value"
    FACT = "fact"
    OFF = "off"


class Erasure(StrEnum):
    """What erasing the data subject does to the value."""

    DELETE = "delete"
    KEEP = "keep"
    ANONYMISE = "anonymise"
    NOT_PERSONAL = "not_personal"


class Retention(StrEnum):
    """The retention class. Its duration and legal source are dated rules, not code."""

    RELATIONSHIP = "relationship"
    SALES = "sales"
    CONTRACT = "contract"
    SERVICE = "service"
    EMPLOYMENT = "employment"
    SECURITY = "security"
    OPERATION = "operation"
    EVIDENCE = "evidence"


class Access(StrEnum):
    """The group of fields that a role may see, see masked, or write, as one."""

    GENERAL = "general"
    PERSONAL = "personal"
    FINANCIAL = "financial"
    SPECIAL = "special"
    SYSTEM = "system"
    SECRET = "secret"  # noqa: S105 - a group's name; such fields never leave the server


class EntityKind(StrEnum):
    """A record has pages and an API of its own; a part belongs to a record; a technical table serves the system."""

    RECORD = "record"
    PART = "part"
    TECHNICAL = "technical"
