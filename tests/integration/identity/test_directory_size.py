"""A directory of 5,000 people and a group of 2,500 (AUTH-5): read completely, and within the time that is
promised.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from security.identity.ldap import Directory, DirectorySettings, Flavour, ServerAddress
from security.identity.ldap.listing import find_groups, list_everybody
from tests.integration.identity.openldap_data import GROUPS, PEOPLE, group, group_dn, person_dn, user
from tests.integration.identity.servers import BASE, SERVICE_DN, SERVICE_PASSWORD, Authority, running_slapd

PEOPLE_COUNT, MEMBERS = 5_000, 2_500
PROMISED_SECONDS = 30


def large_ldif() -> str:
    parts = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n"]
    parts += [
        f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
        for unit in ("people", "groups")
    ]
    parts.append(
        f"dn: {SERVICE_DN}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"cn: service\nuserPassword: {SERVICE_PASSWORD}\n\n"
    )
    parts += [user(number, f"user{number}", f"Person {number}") for number in range(PEOPLE_COUNT)]
    parts.append(group("large", *(person_dn(number) for number in range(MEMBERS))))
    parts.append(group("outer", group_dn("large")))
    return "".join(parts)


@pytest.mark.slow
def test_5_000_people_and_a_group_of_2_500_are_listed_in_time(  # AUTH-5
    tmp_path: Path, authority: Authority
) -> None:
    with running_slapd(tmp_path / "large", authority, large_ldif()) as server:
        directory = Directory(
            DirectorySettings(
                servers=(ServerAddress("localhost", server.ldaps_port),),
                flavour=Flavour.OPENLDAP,
                bind_dn=SERVICE_DN,
                bind_password=SERVICE_PASSWORD,
                user_base=PEOPLE,
                group_base=GROUPS,
                ca_file=authority.ca_file,
            )
        )
        groups = {one.name: one.id for one in find_groups(directory, "")}
        start = time.monotonic()
        listing = list_everybody(directory, groups.values())
        took = time.monotonic() - start
    assert len(listing.people) == PEOPLE_COUNT
    assert {name: len(listing.members[key]) for name, key in groups.items()} == {
        "large": MEMBERS,
        "outer": MEMBERS,
    }
    assert took < PROMISED_SECONDS
    print(f"{PEOPLE_COUNT} people and a group of {MEMBERS}: {took:.1f} s")
