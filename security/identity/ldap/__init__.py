"""The company directory: OpenLDAP and Active Directory, over TLS only.

``Directory`` is the way in. It signs people in by search and bind, reads their nested groups, lists everybody
for the nightly comparison and diagnoses itself. It never stores anything and never decides about roles; that
is the application's part.
"""

from security.identity.ldap.client import Authentication, Directory
from security.identity.ldap.outcome import DirectoryFailure, Outcome
from security.identity.ldap.people import AccountState, Group, Person
from security.identity.ldap.settings import DirectorySettings, Flavour, ServerAddress, Tls

__all__ = [
    "AccountState",
    "Authentication",
    "Directory",
    "DirectoryFailure",
    "DirectorySettings",
    "Flavour",
    "Group",
    "Outcome",
    "Person",
    "ServerAddress",
    "Tls",
]
