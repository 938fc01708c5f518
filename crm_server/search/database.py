"""The connection through which the service reads all records, as the system."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import make_url

from crm_server.models import datamap
from crm_server.search.reading import Vault, readers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_server.settings import Settings


class Database:
    """One connection in autocommit mode, for one thread; made again when it was lost."""

    def __init__(self, settings: Settings) -> None:
        self._url = (
            make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        )
        self._timeout: int = settings.connect_timeout
        self._connection: Any = None
        self._vault = Vault(settings)
        self.readers = readers(datamap(), self._vault)
        self._learned = False

    @property
    def connection(self) -> Any:
        """The open connection.

        Raises:
            psycopg2.OperationalError: PostgreSQL can't be reached.
        """
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(
                self._url,
                application_name="kontor-search",
                connect_timeout=self._timeout,
                tcp_user_timeout=10_000,
                # The index holds everything; row rules are judged where its answers are used.
                options="-c timezone=UTC -c datestyle=ISO -c kontor.rows=*",
            )
            self._connection.autocommit = True
        return self._connection

    def unlock(self) -> None:
        """Open the key ring now, and not when the first sealed record is waited for.

        Raises:
            KeysRefused: it can't be opened.
        """
        if any(reader.sealed for reader in self.readers.values()):
            self._vault.opener()

    def learn(self, cursor: Any, *, anew: bool = False) -> None:
        """Take notice of sealed custom fields, once or `anew`."""
        if anew or not self._learned:
            for reader in self.readers.values():
                reader.learn(cursor)
            self._learned = True

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor whose statements are transactions of their own."""
        try:
            with self.connection.cursor() as cursor:
                yield cursor
        except psycopg2.OperationalError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end(self) -> None:
        """Close the connection and forget all keys."""
        self.close()
        self._vault.close()
