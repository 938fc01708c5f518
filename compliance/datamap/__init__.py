"""The data map: every column is declared once, and everything else is derived from that declaration.

Models import `field`, `Handling` and the vocabulary from here; engines take a frozen `DataMap`.
"""

from compliance.datamap.base import Base, Entity
from compliance.datamap.field import field
from compliance.datamap.policy import EntityPolicy, FieldPolicy, Handling, Withheld
from compliance.datamap.registry import DataMap, DocumentDef, EntityDef, FieldDef
from compliance.datamap.sealed import Sealed, document_version, sealed, sealed_document
from compliance.datamap.vocabulary import (
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

__all__ = [
    "Access",
    "Audit",
    "Base",
    "DataMap",
    "DocumentDef",
    "Entity",
    "EntityDef",
    "EntityKind",
    "EntityPolicy",
    "Erasure",
    "FieldDef",
    "FieldPolicy",
    "Handling",
    "KeyClass",
    "Privacy",
    "Retention",
    "Sealed",
    "Search",
    "Semantic",
    "Withheld",
    "document_version",
    "field",
    "sealed",
    "sealed_document",
]
