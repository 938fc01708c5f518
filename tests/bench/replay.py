"""The statements of one request, as PostgreSQL's log shows them, become the script of pgbench."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from sqlalchemy import text

from crm_server.migrations import manage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crm_server.local.postgres import Cluster

_WITHOUT_FLUSH = "SET LOCAL synchronous_commit = off"
_EXECUTE = re.compile(r"EXECUTE (\w+)\((.*)\)\s*$", re.DOTALL)


def statements(
    cluster: Cluster,
    database: str,
    log: Path,
    ask: Callable[[], object],
    definitions: dict[str, tuple[str, list[str]]],
) -> tuple[str, str]:
    """The SQL of one request as a script of pgbench, and its settings.

    Args:
        cluster: Where the application's database is.
        database: Its name; others may be busy beside it.
        log: The log of the server.
        ask: Makes the request once.
        definitions: Statements that connections have prepared, by name; grows.

    Returns:
        The script, its prepared statements written out; and the settings that the request states: row scopes, and
        whether commits wait for the disk (those of a read tell the audit log of it and don't).
    """
    superuser = manage.owner_engine(cluster.superuser_url).execution_options(isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        connection.execute(text("alter system set log_statement = 'all'"))
        connection.execute(text("select pg_reload_conf()"))
        time.sleep(0.5)
        try:
            start = log.stat().st_size
            # Often enough that each worker has prepared its statement, then once more for the record.
            for _ in range(40):
                ask()
            time.sleep(0.3)
            mark, since = log.stat().st_size, time.time() - 0.1
            ask()
            time.sleep(0.3)
        finally:
            connection.execute(text("alter system reset log_statement"))
            connection.execute(text("select pg_reload_conf()"))
    for name, sql, types in _prepared(log.read_text()[start:], database):
        definitions[name] = (sql, types)
    recorded = log.read_text()[mark:]
    entries = "\n".join(_entries(recorded, database))
    options = "-c kontor.rows=" + re.findall(r"set_config\('kontor.rows', '([^']*)'", entries)[-1]
    if _WITHOUT_FLUSH in entries:
        options += " -c synchronous_commit=off"
    return _as_script(recorded, database, definitions, since), options


def _prepared(recorded: str, database: str) -> Iterator[tuple[str, str, list[str]]]:
    for line in _entries(recorded, database):
        found = re.match(r"PREPARE (\w+)(?:\(([^)]*)\))? AS (.*)", line, re.DOTALL)
        if found:
            yield found[1], found[3], [part.strip() for part in (found[2] or "").split(",") if part.strip()]


def _entries(recorded: str, database: str) -> list[str]:
    """The statements of a log in one database, in order; continuation lines belong to the one before."""
    entries: list[str] = []
    ours = False
    for line in recorded.splitlines():
        if not line.startswith("\t"):
            found = re.match(rf"^\d{{4}}-\d\d-\d\d .*?@{database} LOG:  statement: (.*)", line)
            ours = found is not None
            if found:
                entries.append(found[1])
        elif ours:
            entries[-1] += "\n" + line.strip()
    return entries


def _as_script(
    recorded: str, database: str, definitions: dict[str, tuple[str, list[str]]], since: float
) -> str:
    lines = []
    for entry in _entries(recorded, database):
        statement = entry.strip().rstrip(";")
        if any(part in statement for part in _OTHERS):
            continue
        tail = statement.rpartition("; ")[2] if "; EXECUTE" in statement else statement
        found = _EXECUTE.search(tail)
        if found and found[1] in definitions:
            sql, types = definitions[found[1]]
            statement = _written_out(sql, _arguments(found[2]), types)
        elif tail.startswith("PREPARE"):
            continue
        lines.append(" ".join(statement.split()) + ";")
    return _renewed("\n".join(lines) + "\n", since)


def _arguments(text_: str) -> list[str]:
    """Split the arguments of EXECUTE at the commas outside of quotes."""
    parts, depth, quoted, current = [], 0, False, ""
    for sign in text_:
        if sign == "'":
            quoted = not quoted
        if not quoted and sign in "([":
            depth += 1
        if not quoted and sign in ")]":
            depth -= 1
        if sign == "," and not quoted and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += sign
    return [*parts, current.strip()]


def _written_out(sql: str, arguments: list[str], types: list[str]) -> str:
    return re.sub(
        r"\$(\d+)",
        lambda found: (
            f"({arguments[int(found[1]) - 1]})::{types[int(found[1]) - 1]}"
            if int(found[1]) <= len(arguments)
            else found[0]
        ),
        sql,
    )


# What the measurement itself, /readyz and the search service say belongs to no request; COPY has no place in a script.
_OTHERS = ("pg_reload_conf", "alter system", "version_num", "kontor_feed", "select uuid_send(", "copy ")
# The id of a new data key: 16 random bytes.
_KID = re.compile(r"'\\x([0-9a-f]{32})'::bytea")
_UUID7 = re.compile(r"""(['"])([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\1""")


def _renewed(script: str, since: float) -> str:
    """Replace the keys that the request made (UUIDv7 younger than `since`) by random ones of each run."""
    keys: dict[str, str] = {}

    def fresh(found: re.Match[str]) -> str:
        if int(found[2] + found[3], 16) / 1000 < since:
            return found[0]
        variable = keys.setdefault(found[0][1:-1], f"key{len(keys)}")
        made = f"('00000000-0000-4000-8000-' || lpad(to_hex(:{variable}::bigint), 12, '0'))"
        if found[1] == '"':  # within a document
            return "\"' || " + made + " || '\""
        # A setting is text; everything else is a key.
        return made if "set_config" in found.string[: found.start()].rpartition("\n")[2] else f"{made}::uuid"

    def kid(found: re.Match[str]) -> str:
        if "insert into keys.data_key" not in found.string[: found.start()].rpartition("\n")[2]:
            return found[0]
        variable = keys.setdefault(found[0], f"key{len(keys)}")
        return f"decode(lpad(to_hex(:{variable}::bigint), 32, '0'), 'hex')"

    body = _KID.sub(kid, _UUID7.sub(fresh, script))
    # pgbench takes a colon before a letter or a digit for a variable, within quotes too.
    body = re.sub(r'":(?=\w)', '": ', re.sub(r"T(\d\d):(\d\d):(\d\d)", r"T\1\2\3", body))
    return "".join(f"\\set {name} random(1, {2**47})\n" for name in keys.values()) + body
