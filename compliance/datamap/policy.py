"""The value objects of a declaration: what is said of an entity and of each of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dc_field
from typing import TYPE_CHECKING

from compliance.datamap.vocabulary import (
    FIDES_CATEGORY,
    Access,
    Audit,
    EntityKind,
    Erasure,
    KeyClass,
    Privacy,
    Retention,
    Search,
    Semantic,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compliance.datamap.text import Text


OF_A_PERSON = frozenset(KeyClass) - {KeyClass.NONE, KeyClass.AUTH, KeyClass.AUDIT}
"""The key classes whose keys belong to a data subject. Log-in secrets and audit payloads have forms of their own."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a field is left out of a data subject's export; the reason is shown to the person."""

    reason: str


@dataclass(frozen=True, slots=True)
class Handling:
    """How values of one kind are treated, said once and shared by the fields of that kind.

    Attributes:
        clear: For personal data without a key class: why it is stored in clear. Shown in the data map.
    """

    privacy: Privacy
    key_class: KeyClass
    retention: Retention
    audit: Audit
    erasure: Erasure
    access: Access
    export: bool | Withheld = True
    clear: str | None = None


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """The complete declaration of one field.

    Attributes:
        number: Stable for ever within its entity and never reused; sealed documents and the audit log name
            a field by it.
        label: In the user's words, translatable.
        target: For references, the name of the entity that is pointed at.
        choices: For choices, the stored key and the label shown.
        managed: Set by the system; no client may write it.
        category: A fideslang data category.
    """

    number: int
    semantic: Semantic
    label: Text
    handling: Handling
    search: Search = Search.NONE
    required: bool = False
    managed: bool = False
    max_length: int | None = None
    target: str | None = None
    choices: Mapping[str, Text] = dc_field(default_factory=dict)
    help: Text | None = None
    category: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    currency_field: str | None = None

    @property
    def personal(self) -> bool:
        """Whether the value is personal data in the sense of GDPR Art. 4(1)."""
        return self.handling.privacy is not Privacy.NONE

    @property
    def sealed(self) -> bool:
        """Whether the value belongs into a sealed document of its row, under a key of its data subject."""
        return self.handling.key_class in OF_A_PERSON

    @property
    def fides(self) -> str:
        """The fideslang data category under which the field is exchanged."""
        return self.category or FIDES_CATEGORY[self.handling.privacy]


@dataclass(frozen=True, slots=True)
class EntityPolicy:
    """The declaration of one entity (a table).

    Attributes:
        number: Stable for ever and never reused; associated data of sealed documents names a table by it.
        name: Singular, as in `/api/v1` payloads and permissions: "contact".
        collection: Plural, as in addresses: "contacts".
        title: The field that names a record to a person.
        subject: The column that leads to the data subject, or None for entities that hold no personal data.
        about_employee: Personal data of this entity is about the company's own staff.
        parent: For parts, the reference field that leads to the record they belong to.
    """

    number: int
    name: str
    collection: str
    label: Text
    label_plural: Text
    kind: EntityKind = EntityKind.RECORD
    title: str = "name"
    subject: str | None = None
    parent: str | None = None
    list_fields: tuple[str, ...] = ()
    icon: str = "file"
