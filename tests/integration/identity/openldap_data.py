"""The people and groups of the OpenLDAP server that the tests start."""

from __future__ import annotations

import base64

from tests.integration.identity.servers import BASE, PASSWORD, SERVICE_DN, SERVICE_PASSWORD

PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"

STRANGE_LOGINS = (
    "o*brien",
    "par(en)",
    "back\\slash",
    "com,ma",
    "pl+us",
    'quo"te',
    "less<more>",
    "semi;colon",
    "#hash",
    "equals=sign",
    "Zoë.Müller",
    "王小明",
    "пётр",
)


def _line(name: str, value: str) -> str:
    return f"{name}:: {base64.b64encode(value.encode()).decode()}"


def user(number: int, login: str, name: str, **extra: str) -> str:
    dn = extra.pop("dn", f"employeeNumber={number},{PEOPLE}")
    lines = [
        _line("dn", dn), "objectClass: inetOrgPerson", f"employeeNumber: {number}", _line("uid", login),
        _line("cn", name), _line("sn", name.partition(" ")[2]), _line("givenName", name.partition(" ")[0]),
        _line("mail", extra.pop("mail", f"user{number}@example.test")), f"userPassword: {PASSWORD}",
    ]  # fmt: skip
    return "\n".join([*lines, *(_line(key, value) for key, value in extra.items())]) + "\n\n"


def group(name: str, *members: str) -> str:
    lines = [f"dn: cn={name},{GROUPS}", "objectClass: groupOfNames", f"cn: {name}"]
    return "\n".join([*lines, *(_line("member", member) for member in members)]) + "\n\n"


def person_dn(number: int) -> str:
    return f"employeeNumber={number},{PEOPLE}"


def group_dn(name: str) -> str:
    return f"cn={name},{GROUPS}"


def openldap_ldif() -> str:
    """A small company: ordinary people, strange log-ins, states, nested groups and a circle of groups."""
    text = f"""dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

"""
    for unit in ("people", "groups", "policies", "elsewhere"):
        text += f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
    text += f"""dn: {SERVICE_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: service
userPassword: {SERVICE_PASSWORD}

dn: cn=default,ou=policies,{BASE}
objectClass: person
objectClass: pwdPolicy
cn: default
sn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 5
pwdLockoutDuration: 600
pwdMustChange: TRUE

dn: cn=brief,ou=policies,{BASE}
objectClass: person
objectClass: pwdPolicy
cn: brief
sn: brief
pwdAttribute: userPassword
pwdMaxAge: 1

"""
    text += user(1, "lena", "Lena Vogt", telephoneNumber="+49 30 1234567", displayName="Lena Vogt (Sales)")
    text += user(2, "omar", "Omar Haddad")
    text += user(3, "twin", "First Twin")
    text += user(4, "twin", "Second Twin")
    text += user(5, "disabled", "Dieter Disabled", pwdAccountLockedTime="000001010000Z")
    text += user(6, "locked", "Lotte Locked")
    text += user(7, "mustchange", "Mia Change", pwdReset="TRUE")
    text += user(
        8, "expired", "Emil Expired", pwdPolicySubentry=f"cn=brief,ou=policies,{BASE}",
        pwdChangedTime="20200101000000Z",
    )  # fmt: skip
    text += user(9, "huge", "Hugo Huge", displayName="x" * (10 * 1024 * 1024))
    text += user(10, "wanderer", "Wanda Wander")
    text += user(12, "clock", "Clara Clock")
    text += user(11, "left", "Leo Left", pwdEndTime="20200101000000Z")
    for offset, login in enumerate(STRANGE_LOGINS):
        text += user(100 + offset, login, f"Strange {offset}")
    for place in (f"ou=elsewhere,{BASE}", PEOPLE):
        text += f"dn: cn=pointer,{place}\nobjectClass: referral\nobjectClass: extensibleObject\ncn: pointer\n"
        text += "ref: ldap://203.0.113.9/dc=trap\n\n"
    text += group("sellers", person_dn(1), person_dn(2))
    text += group("sales-department", group_dn("sellers"), person_dn(10))
    text += group("company", group_dn("sales-department"))
    text += group("circle-a", group_dn("circle-b"), person_dn(10))
    text += group("circle-b", group_dn("circle-c"))
    text += group("circle-c", group_dn("circle-a"))
    text += group("strange", *(person_dn(100 + offset) for offset in range(len(STRANGE_LOGINS))))
    return text
