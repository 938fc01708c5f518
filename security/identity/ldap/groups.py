"""Which groups a person belongs to, nested ones included.

On Active Directory the server resolves the nesting with the in-chain matching rule; elsewhere groups are
followed upwards level by level, and a group that was seen is not followed again, so circles end (AUTH-5).
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from security.identity.ldap.escape import filter_value
from security.identity.ldap.people import ID_ATTRIBUTE, Group, Person, entry_id, first_text
from security.identity.ldap.settings import DirectorySettings, Flavour
from security.identity.ldap.transport import Entry, Session

IN_CHAIN = "1.2.840.113556.1.4.1941"
"""LDAP_MATCHING_RULE_IN_CHAIN of Active Directory ([MS-ADTS] 3.1.1.3.4.4.3)."""

MAX_LEVELS = 32
_BATCH = 50


def groups_of(session: Session, person: Person) -> tuple[Group, ...]:
    """Return all groups of ``person`` below the group base, nested ones and the primary group included."""
    if session.settings.flavour is Flavour.ACTIVE_DIRECTORY:
        return _in_chain(session, person)
    return _upwards(session, person)


def _in_chain(session: Session, person: Person) -> tuple[Group, ...]:
    found = _search_groups(session, f"(member:{IN_CHAIN}:={filter_value(person.dn)})")
    primary = _primary_group_sid(person)
    if primary is not None:
        # The primary group isn't listed in "member"; it and what it is nested in are asked for separately.
        for group in _search_groups(session, f"(objectSid={filter_value(primary)})").values():
            found[group.id] = group
            found.update(_search_groups(session, f"(member:{IN_CHAIN}:={filter_value(group.dn)})"))
    return _sorted(found)


def _upwards(session: Session, person: Person) -> tuple[Group, ...]:
    found: dict[UUID, Group] = {}
    level = [person.dn]
    for _ in range(MAX_LEVELS):
        fresh: dict[UUID, Group] = {}
        for start in range(0, len(level), _BATCH):
            query = _member_filter(session.settings, level[start : start + _BATCH])
            fresh.update(
                (id_, group) for id_, group in _search_groups(session, query).items() if id_ not in found
            )
        if not fresh:
            break
        found.update(fresh)
        level = [group.dn for group in fresh.values()]
    return _sorted(found)


def read_group(settings: DirectorySettings, entry: Entry) -> Group | None:
    """Read a group entry, or return None if it has no immutable id."""
    found = entry_id(settings, entry.attributes)
    if found is None:
        return None
    return Group(found, entry.dn, first_text(entry.attributes, "cn") or entry.dn)


def _search_groups(session: Session, query: str) -> dict[UUID, Group]:
    settings = session.settings
    entries = session.pages(settings.group_base, query, ("cn", ID_ATTRIBUTE[settings.flavour]))
    groups = (read_group(settings, entry) for entry in entries)
    return {group.id: group for group in groups if group is not None}


def _member_filter(settings: DirectorySettings, names: Iterable[str]) -> str:
    parts = [
        f"({attribute}={filter_value(name)})"
        for name in names
        for attribute in settings.group_member_attributes
    ]
    return f"(|{''.join(parts)})"


def _primary_group_sid(person: Person) -> bytes | None:
    """The primary group's SID: the person's own with the last sub-authority replaced."""
    if person.sid is None or person.primary_group_rid is None or len(person.sid) < 12:
        return None
    return person.sid[:-4] + person.primary_group_rid.to_bytes(4, "little")


def _sorted(groups: dict[UUID, Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups.values(), key=lambda group: (group.name.casefold(), str(group.id))))
