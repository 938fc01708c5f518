"""List everybody in the directory and who is in which mapped group, for the regular comparison with our
accounts.

Called by the sync job. A listing is complete or it isn't, and says so: nobody is deprovisioned for being
absent from half a page (AUTH-8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from security.identity.ldap.client import Directory
from security.identity.ldap.escape import filter_value
from security.identity.ldap.groups import IN_CHAIN, MAX_LEVELS, read_group
from security.identity.ldap.people import (
    ID_ATTRIBUTE,
    PERSON_ATTRIBUTES,
    STATE_ATTRIBUTES,
    Group,
    Person,
    id_filter,
    person,
)
from security.identity.ldap.settings import Flavour
from security.identity.ldap.transport import Session


@dataclass(frozen=True, slots=True)
class Listing:
    """All people, and the members of the groups that were asked about."""

    people: Mapping[UUID, Person] = field(repr=False)
    members: Mapping[UUID, frozenset[UUID]] = field(repr=False)
    """Group id → ids of its people, nested ones included. A mapped group that no longer exists is absent."""
    unusable: int
    """Entries without an immutable id or a log-in name."""
    duplicates: tuple[str, ...] = field(repr=False)
    """Log-in names that more than one entry uses; none of those people can sign in."""


def list_everybody(directory: Directory, mapped_groups: Iterable[UUID]) -> Listing:
    """Read all people and the nested members of ``mapped_groups``.

    Raises DirectoryFailure if the listing can't be completed on any server; a partial one is never returned.
    """
    wanted = tuple(mapped_groups)
    return directory.run(lambda session: _list(directory, session, wanted))


def find_groups(directory: Directory, text: str, limit: int = 50) -> tuple[Group, ...]:
    """Return groups whose name contains ``text``, for the mapping page. Raises DirectoryFailure."""
    settings = directory.settings
    classes = "".join(f"(objectClass={name})" for name in ("group", "groupOfNames", "groupOfUniqueNames"))
    name_filter = f"(cn=*{filter_value(text)}*)" if text else "(cn=*)"
    query = f"(&(|{classes}){name_filter})"

    def search(session: Session) -> tuple[Group, ...]:
        entries = session.search(
            settings.group_base, query, ("cn", ID_ATTRIBUTE[settings.flavour]), limit=limit
        )
        groups = (read_group(settings, entry) for entry in entries)
        return tuple(sorted((group for group in groups if group), key=lambda group: group.name.casefold()))

    return directory.run(search)


def group_by_id(directory: Directory, identity: UUID) -> Group | None:
    """Return a group by its immutable id, or None. Raises DirectoryFailure."""
    settings = directory.settings

    def search(session: Session) -> Group | None:
        query = id_filter(settings, identity)
        wanted = ("cn", ID_ATTRIBUTE[settings.flavour])
        entries = session.search(settings.group_base, query, wanted, limit=1)
        return read_group(settings, entries[0]) if entries else None

    return directory.run(search)


def _list(directory: Directory, session: Session, wanted: tuple[UUID, ...]) -> Listing:
    settings = directory.settings
    attributes = dict.fromkeys(
        (*PERSON_ATTRIBUTES[settings.flavour], *STATE_ATTRIBUTES[settings.flavour], *settings.login_names)
    )
    now = directory.now()
    people: dict[UUID, Person] = {}
    logins: dict[str, int] = {}
    unusable = 0
    for entry in session.pages(settings.user_base, settings.people_filter, tuple(attributes)):
        one = person(settings, entry.dn, entry.attributes, now)
        if one is None:
            unusable += 1
            continue
        people[one.id] = one
        logins[one.login.casefold()] = logins.get(one.login.casefold(), 0) + 1
    resolve = _members_in_chain if settings.flavour is Flavour.ACTIVE_DIRECTORY else _members_downwards
    return Listing(
        people=people,
        members=resolve(session, wanted, people) if wanted else {},
        unusable=unusable,
        duplicates=tuple(sorted(login for login, count in logins.items() if count > 1)),
    )


def _members_in_chain(
    session: Session, wanted: tuple[UUID, ...], people: Mapping[UUID, Person]
) -> dict[UUID, frozenset[UUID]]:
    """Let Active Directory resolve the nesting; people come in pages, so large groups need no ranges."""
    settings = session.settings
    members: dict[UUID, frozenset[UUID]] = {}
    for group_id in wanted:
        for group in session.search(
            settings.group_base, id_filter(settings, group_id), ("cn", "objectSid"), limit=1
        ):
            query = f"(&{settings.people_filter}(memberOf:{IN_CHAIN}:={filter_value(group.dn)}))"
            found = {
                UUID(bytes_le=bytes(entry.attributes["objectguid"][0]))
                for entry in session.pages(settings.user_base, query, ("objectGUID",))
                if entry.attributes.get("objectguid")
            }
            sid = next((bytes(value) for value in group.attributes.get("objectsid", ())), b"")
            found.update(
                one.id
                for one in people.values()
                if one.sid
                and one.primary_group_rid is not None
                and sid
                # The primary group isn't in memberOf: compare its SID with the one the person points at.
                and one.sid[:-4] + one.primary_group_rid.to_bytes(4, "little") == sid
            )
            members[group_id] = frozenset(found) & people.keys()
    return members


def _members_downwards(
    session: Session, wanted: tuple[UUID, ...], people: Mapping[UUID, Person]
) -> dict[UUID, frozenset[UUID]]:
    """Read all groups once and follow the nesting here; a group that was seen isn't entered again."""
    settings = session.settings
    names = [name.lower() for name in settings.group_member_attributes]
    by_dn = {normal_dn(one.dn): one.id for one in people.values()}
    children: dict[str, list[str]] = {}
    ids: dict[UUID, str] = {}
    query = "(|" + "".join(f"({name}=*)" for name in settings.group_member_attributes) + ")"
    for entry in session.pages(
        settings.group_base, query, ("cn", ID_ATTRIBUTE[settings.flavour], *settings.group_member_attributes)
    ):
        group = read_group(settings, entry)
        if group is None:
            continue
        ids[group.id] = normal_dn(entry.dn)
        children[normal_dn(entry.dn)] = [
            normal_dn(value.decode("utf-8", errors="replace"))
            for name in names
            for value in entry.attributes.get(name, ())
        ]
    return {one: _closure(ids[one], children, by_dn) for one in wanted if one in ids}


def _closure(start: str, children: Mapping[str, list[str]], people: Mapping[str, UUID]) -> frozenset[UUID]:
    seen, level = {start}, [start]
    found: set[UUID] = set()
    for _ in range(MAX_LEVELS):
        below = [child for group in level for child in children.get(group, ())]
        found.update(people[child] for child in below if child in people)
        level = [child for child in dict.fromkeys(below) if child in children and child not in seen]
        seen.update(level)
        if not level:
            break
    return frozenset(found)


def normal_dn(dn: str) -> str:
    """Return a form in which two spellings of one name are equal: case and spaces around separators don't
    count.
    """
    parts: list[str] = []
    current = ""
    escaped = False
    for character in dn:
        if escaped:
            current += character
            escaped = False
        elif character == "\\":
            current += character
            escaped = True
        elif character in ",=+":
            parts.extend((current.strip().casefold(), character))
            current = ""
        else:
            current += character
    parts.append(current.strip().casefold())
    return "".join(parts)
