"""The database of a trial: found or brought along, then made and migrated. `kontor up` calls `prepare`.

In this order: an application address in KONTOR_DATABASE_URL is taken as it is; a superuser's address in
DATABASE_URL is used to make roles and database; else a private PostgreSQL is started.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from crm_server.local import postgres
from crm_server.local.errors import LocalError
from crm_server.migrations import manage

DATABASE = "kontor"


@dataclass(frozen=True, slots=True)
class Database:
    """Addresses of a migrated database; `owner_url` is empty where somebody else migrates."""

    url: str = field(repr=False)
    owner_url: str = field(repr=False)
    origin: str
    """Where it is, in words for a person."""
    sealer_url: str = field(default="", repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of processes that use it."""
        return {
            "KONTOR_DATABASE_URL": self.url,
            "KONTOR_OWNER_DATABASE_URL": self.owner_url,
            "KONTOR_SEALER_DATABASE_URL": self.sealer_url,
        }


def prepare(state_dir: Path, environ: Mapping[str, str]) -> Database:
    """A database that answers and has the schema of this release.

    Raises:
        LocalError: it doesn't answer, or its schema is newer than this release.
    """
    database = _find(state_dir, environ)
    if database.owner_url:
        try:
            manage.upgrade(database.owner_url)
        except OperationalError as error:
            raise LocalError(
                f"{database.origin} could not be migrated: {_reason(error)}",
                "Nothing was changed by the step that failed. Run the same command again.",
            ) from error
        except ProgrammingError as error:
            raise LocalError(
                f"{database.origin} has other tables than this release: {_reason(error)}.",
                "It was changed by hand, or made by an unreleased Kontor. See the differences with kontor db check, or "
                "begin with empty data: make reset",
            ) from error
        except CommandError as error:
            raise LocalError(
                f"{database.origin} was made by a newer Kontor: {error}.",
                "Start that version, or begin with empty data: make reset",
            ) from error
    return database


def _find(state_dir: Path, environ: Mapping[str, str]) -> Database:
    if given := environ.get("KONTOR_DATABASE_URL"):
        return Database(
            given,
            environ.get("KONTOR_OWNER_DATABASE_URL", ""),
            "The database of KONTOR_DATABASE_URL",
            environ.get("KONTOR_SEALER_DATABASE_URL", ""),
        )
    if superuser := environ.get("DATABASE_URL"):
        parts = make_url(superuser).set(drivername="postgresql+psycopg2")
        secret = postgres.secret_of(state_dir)
        passwords = {role: postgres.derived_password(secret, role) for role in manage.ROLES}
        origin = "The database of DATABASE_URL"
        _init(superuser, passwords, origin)
        app, owner, sealer = (
            parts.set(username=role, password=passwords[role], database=DATABASE).render_as_string(
                hide_password=False
            )
            for role in (manage.APP, manage.OWNER, manage.SEALER)
        )
        return Database(app, owner, origin, sealer)
    cluster = postgres.start(state_dir)
    origin = f"The private PostgreSQL {cluster.major} in {cluster.data}"
    _init(cluster.superuser_url, {role: cluster.password_of(role) for role in manage.ROLES}, origin)
    app, owner, sealer = (
        cluster.url_for(role, DATABASE) for role in (manage.APP, manage.OWNER, manage.SEALER)
    )
    return Database(app, owner, origin, sealer)


def _init(superuser_url: str, passwords: Mapping[str, str], origin: str) -> None:
    try:
        manage.init(superuser_url, DATABASE, passwords)
    except psycopg2.Error as error:
        raise LocalError(
            f"{origin} could not be prepared: {_reason(error)}",
            "Check the address, and that its user may create roles and databases.",
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]
