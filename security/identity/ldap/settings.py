"""How a directory is reached and read. Checked when it is made, so that a wrong setting never reaches the
network.

There is deliberately no setting for plain-text LDAP and none that weakens certificate checks (AUTH-1).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

MAX_LOGIN_CHARACTERS = 256


class Flavour(enum.Enum):
    """Which dialect the directory speaks beyond the common standard."""

    ACTIVE_DIRECTORY = "active_directory"
    OPENLDAP = "openldap"


class Tls(enum.Enum):
    """How TLS is reached: from the first byte (LDAPS), or by the STARTTLS operation before anything else."""

    LDAPS = "ldaps"
    STARTTLS = "starttls"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One directory server. ``host`` must stand in its certificate."""

    host: str
    port: int = 636
    tls: Tls = Tls.LDAPS

    def __str__(self) -> str:
        return f"{self.tls.value}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class DirectorySettings:
    """Everything that ``Directory`` needs. Raises ValueError with the field, the reason and the way out."""

    servers: tuple[ServerAddress, ...]
    flavour: Flavour
    bind_dn: str
    bind_password: str = field(repr=False)
    user_base: str
    group_base: str
    ca_file: Path | None = None
    """PEM file of the authorities to trust; None means the operating system's."""
    ca_data: str | None = field(default=None, repr=False)
    """The same as PEM text, for settings that are kept in a database. Goes before ``ca_file``."""
    user_filter: str = ""
    """Which entries are people; empty means the usual filter of the flavour."""
    login_attributes: tuple[str, ...] = ()
    """Attributes that a log-in name is compared with; empty means the usual ones of the flavour."""
    group_member_attributes: tuple[str, ...] = ("member", "uniqueMember")
    connect_timeout: int = 4
    """Seconds to wait for a server to accept the connection, and for each of its packets."""
    operation_timeout: int = 15
    """Seconds that one operation may take in all, however busily the server keeps dribbling."""
    page_size: int = 500
    max_operation_bytes: int = 8 * 1024 * 1024
    """An answer to one operation (one page of a listing) that is longer is refused."""
    failures_to_open: int = 2
    """Failures in a row after which a server is left alone for ``rest_seconds``."""
    rest_seconds: int = 30

    def __post_init__(self) -> None:
        """Refuse settings that can't work or are not safe."""
        problems = (
            (not self.servers, "servers: name at least one server"),
            (not self.bind_dn, "bind_dn: name the service account that searches for people"),
            (
                not self.bind_password,
                "bind_password: the service account needs a password; an empty one binds nobody",
            ),
            (not self.user_base, "user_base: say where people are, for example ou=people,dc=example,dc=com"),
            (
                not self.group_base,
                "group_base: say where groups are, for example ou=groups,dc=example,dc=com",
            ),
            (not 1 <= self.page_size <= 1000, "page_size: choose 1 to 1000; Active Directory allows no more"),
            (any(not server.host for server in self.servers), "servers: each server needs a host name"),
            (any(not 1 <= server.port <= 65535 for server in self.servers), "servers: ports are 1 to 65535"),
        )
        for wrong, message in problems:
            if wrong:
                raise ValueError(f"directory.{message}")

    @property
    def people_filter(self) -> str:
        """The filter that all people match."""
        if self.user_filter:
            return self.user_filter
        if self.flavour is Flavour.ACTIVE_DIRECTORY:
            return "(&(objectCategory=person)(objectClass=user)(!(objectClass=computer)))"
        return "(objectClass=inetOrgPerson)"

    @property
    def login_names(self) -> tuple[str, ...]:
        """Attributes that hold log-in names."""
        if self.login_attributes:
            return self.login_attributes
        return (
            ("sAMAccountName", "userPrincipalName") if self.flavour is Flavour.ACTIVE_DIRECTORY else ("uid",)
        )
