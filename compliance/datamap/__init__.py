"""The data map: every column is declared once, and everything else is derived from that declaration.

Models import `field`, `Handling` and the vocabulary from here; engines take a frozen `DataMap`.
"""

from compliance.datamap.base import Base, Entity
from compliance.datamap.field import field
from compliance.datamap.policy import EntityPolicy, FieldPolicy, Handling, Withheld
from compliance.datamap.registry import DataMap, EntityDef, FieldDef
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
    "Search",
    "Semantic",
    "Withheld",
    "field",
]
