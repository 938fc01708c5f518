"""The typed table of settings. Each has a default, a unit, a check and a line of documentation.

Values come from the environment (`KONTOR_…`) or from a file named by `KONTOR_<NAME>_FILE` for secrets. A wrong value
stops the start with one sentence in an operator's language that names the variable and the way out.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SettingsError(Exception):
    """Settings that can't be used. The message lists every problem, one a line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: environment name, parser, default as text, unit, documentation."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    unit: str
    doc: str
    secret: bool = False


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"-?\d+", text.strip()) else None
        if value is None or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return parse


def _never_or(low: int, high: int) -> Callable[[str], int]:
    number = _integer(0, high)

    def parse(text: str) -> int:
        value = number(text)
        if 0 < value < low:
            raise ValueError(f"must be 0 (never) or a whole number from {low} to {high}")
        return value

    return parse


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be true or false")


def _database_url(text: str) -> str:
    if not re.match(r"postgresql(\+psycopg2)?://", text):
        raise ValueError("must be a PostgreSQL address such as postgresql://user:password@host:5432/kontor")
    return text.replace("postgresql://", "postgresql+psycopg2://", 1)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _networks(text: str) -> tuple[str, ...]:
    found = _names(text)
    for one in found:
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise ValueError(
                f'must be networks such as 10.0.0.0/8, separated by commas, and "{one}" is none'
            ) from None
    return found


def _path(text: str) -> Path:
    # Where the product is installed differs from machine to machine; the documentation can't name it.
    return Path(text.replace("{crm_server}", str(Path(__file__).parent))).expanduser()


def _text(text: str) -> str:
    return text


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of: {', '.join(allowed)}")
        return text

    return parse


TABLE: tuple[Setting, ...] = (
    Setting(
        "database_url",
        _database_url,
        None,
        "address",
        "PostgreSQL address of the application role. Required.",
        secret=True,
    ),
    Setting(
        "owner_database_url",
        _database_url,
        "",
        "address",
        "PostgreSQL address of the owner role; only migrations and `kontor db` use it.",
        secret=True,
    ),
    Setting(
        "sealer_database_url",
        _database_url,
        "",
        "address",
        "PostgreSQL address of the sealer's role; only `kontor sealer` uses it.",
        secret=True,
    ),
    Setting("pool_size", _integer(1, 200), "8", "connections", "Database connections kept by each process."),
    Setting("pool_timeout", _integer(1, 60), "5", "seconds", "How long a request waits for a connection."),
    Setting("connect_timeout", _integer(1, 60), "2", "seconds", "How long a new connection may take."),
    Setting(
        "statement_timeout", _integer(100, 600_000), "15000", "ms", "Longest time one statement may take."
    ),
    Setting(
        "request_deadline",
        _integer(1, 300),
        "20",
        "seconds",
        "How long a request may be retried after a lost connection or a serialization failure.",
    ),
    Setting(
        "hosts",
        _names,
        "localhost,127.0.0.1,[::1]",
        "names",
        "Host names under which the CRM is reached; every other Host header is refused.",
    ),
    Setting(
        "trusted_proxies",
        _networks,
        "",
        "addresses",
        "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    ),
    Setting(
        "outgoing_networks",
        _networks,
        "",
        "networks",
        "Networks beyond the public internet that outgoing HTTPS calls (single sign-on) may reach, such as 10.0.0.0/8.",
    ),
    Setting(
        "assets_dir",
        _path,
        "{crm_server}/web/assets/dist",
        "folder",
        "Where the built front-end assets lie; {crm_server} is the folder of the installed package.",
    ),
    Setting("state_dir", _path, "var", "folder", "Where processes keep sockets, logs and metrics."),
    Setting(
        "log_level", _choice("debug", "info", "warning", "error"), "info", "level", "Least severe log line."
    ),
    Setting("log_format", _choice("json", "text"), "json", "format", "How log lines are written."),
    Setting("metrics_port", _integer(0, 65535), "0", "port", "Port of /metrics; 0 switches it off."),
    Setting("body_limit", _integer(1024, 2**30), "10485760", "bytes", "Largest body of an API request."),
    Setting(
        "upload_limit", _integer(1024, 2**32), "104857600", "bytes", "Largest file that may be uploaded."
    ),
    Setting(
        "session_idle", _integer(60, 86_400), "1800", "seconds", "A session ends after this long without use."
    ),
    Setting(
        "session_idle_admin",
        _integer(60, 86_400),
        "900",
        "seconds",
        "The same for sessions of administrators.",
    ),
    Setting("session_absolute", _integer(300, 604_800), "43200", "seconds", "A session never lives longer."),
    Setting(
        "local_password_days",
        _never_or(30, 3650),
        "0",
        "days",
        "Passwords kept by Kontor have to be changed after this long; 0 means never. Only where a law or a contract "
        "demands it: NIST SP 800-63B advises against it, because people then choose weaker ones.",
    ),
    Setting(
        "local_password_blocklist",
        _path,
        "",
        "file",
        "Passwords that are refused beside those of the list that Kontor brings: UTF-8, one a line.",
    ),
    Setting(
        "directory_guesses",
        _integer(1, 50),
        "4",
        "per 30 minutes",
        "Wrong passwords of one person that are handed to a company directory; keep it below the number at which the "
        "directory locks an account.",
    ),
    Setting(
        "audit_log_name",
        _text,
        "",
        "name",
        "Name under which the audit log is signed, such as crm.example/audit; it stays for ever. Empty: made from "
        "the tenant's id.",
    ),
    Setting(
        "audit_mirror",
        _path,
        "",
        "folder",
        "The audit log as public files; the sealer writes it, the application reads it. Empty: `audit` in the state "
        "folder.",
    ),
    Setting(
        "audit_reads_wait",
        _boolean,
        "true",
        "true or false",
        "Whether the answer to a read waits until its audit event is on the disk and on the synchronous standby. "
        "false is quicker; a crash of PostgreSQL may then lose the events of its last second of reads.",
    ),
    Setting(
        "audit_standbys",
        _integer(0, 9),
        "0",
        "servers",
        "Synchronous standbys that must have an event before it is signed; 0 on a single server.",
    ),
    Setting(
        "audit_witnesses",
        _names,
        "",
        "addresses",
        "Witnesses that cosign the audit log, each `https://host/prefix KEY`.",
    ),
    Setting(
        "sealer_key",
        _path,
        "",
        "file",
        "The sealer's signing key; its state file lies beside it. Empty: `sealer/key.pem` in the state folder.",
    ),
    Setting(
        "sealer_trusted_keys",
        _names,
        "",
        "keys",
        "Verifier keys of the sealers of other nodes, whose log this one may take over.",
    ),
    Setting(
        "key_provider",
        _choice("passphrase", "pkcs11", "tpm"),
        "passphrase",
        "provider",
        "What protects the key ring: an HSM (pkcs11), the TPM of the machine, or a passphrase, which can't prove "
        "that a key was destroyed and is for trials.",
    ),
    Setting(
        "key_ring",
        _path,
        "",
        "folder",
        "The key ring. Keep copies apart from backups of the database. Empty: `keyring` in the state folder.",
    ),
    Setting(
        "key_passphrase",
        _text,
        "",
        "text",
        "Passphrase of the key ring, at least 12 characters. Empty: a file beside the ring, made at the first start "
        "of a trial.",
        secret=True,
    ),
    Setting("key_pkcs11_module", _path, "", "file", "The PKCS#11 library of the HSM."),
    Setting("key_pkcs11_token", _text, "kontor", "label", "Label of the HSM's token."),
    Setting("key_pkcs11_pin", _text, "", "text", "PIN of the HSM's token.", secret=True),
    Setting("key_tpm", _text, "device:/dev/tpmrm0", "TCTI", "Connection to the TPM, as tpm2-tss writes it."),
    Setting(
        "key_cache_entries", _integer(1, 65_536), "4096", "keys", "Data keys that a process keeps in memory."
    ),
    Setting(
        "key_cache_seconds",
        _integer(1, 600),
        "300",
        "seconds",
        "How long a data key is kept in memory; an erasure drops it within a second.",
    ),
    Setting(
        "key_away_seconds",
        _integer(60, 86_400),
        "3600",
        "seconds",
        "How long a running process goes on with the epochs it has opened while the provider of the key ring is away.",
    ),
    Setting("node_name", _text, "", "name", "Name of this machine among the nodes. Empty: its host name."),
    Setting(
        "key_rotation_days",
        _integer(1, 28),
        "14",
        "days",
        "An epoch of keys is followed by a new one after this long.",
    ),
    Setting(
        "key_destruction_days",
        _integer(3, 26),
        "7",
        "days",
        "Within this long a retired epoch is destroyed, after two days in which it can be refused. Together with "
        "rotation and escrow at most 28 days: so long an "
        "erased person can be read in a backup.",
    ),
    Setting(
        "key_escrow",
        _path,
        "",
        "folder",
        "Where sealed copies of the key table are written; keep it beside the backups. Empty: `escrow` in the state "
        "folder.",
    ),
    Setting("key_escrow_days", _integer(1, 28), "7", "days", "How long an escrow is kept."),
    Setting(
        "key_drill_days",
        _integer(1, 92),
        "30",
        "days",
        "The drill of erasure (back up, erase, rotate, destroy, restore, prove) runs by itself after this long, on a "
        "database of its own.",
    ),
    Setting(
        "crypto_profile",
        _choice("standard", "strict"),
        "standard",
        "profile",
        "Which algorithms are used: strict has those alone that NIST approves.",
    ),
    Setting("bin_days", _integer(1, 3650), "30", "days", "How long a deleted record stays in the bin."),
    Setting(
        "export_release_rows",
        _integer(0, 10_000),
        "10000",
        "records",
        "An export of more records takes a second person; 0 means every export.",
    ),
    Setting("change_days", _integer(1, 3650), "30", "days", "How long the change feed reaches back."),
    Setting(
        "worker_concurrency", _integer(1, 64), "2", "jobs", "Jobs that one worker runs at the same time."
    ),
    Setting("default_country", _text, "DE", "ISO 3166", "Country of phone numbers without a prefix."),
    Setting("default_currency", _text, "EUR", "ISO 4217", "Currency of new opportunities."),
    Setting(
        "default_locale", _choice("en", "zh_Hans"), "en", "language", "Language before a person chose one."
    ),
    Setting(
        "search_socket",
        _path,
        "",
        "socket",
        "Where the search service of this node is asked. Empty: `search.sock` in the state folder.",
    ),
    Setting(
        "search_processes",
        _integer(0, 64),
        "0",
        "processes",
        "Processes that read records when the search service starts; 0 takes one a core, four at most.",
    ),
    Setting(
        "search_limit",
        _integer(0, 100_000),
        "240",
        "per minute",
        "Searches over protected fields that one person may make in a minute; 0 sets no limit.",
    ),
    Setting("demo", _boolean, "false", "switch", "Shows on every page that the data is made up."),
)


@dataclass(frozen=True)
class Settings:
    """All settings by attribute: `settings.pool_size`."""

    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        # Another process, which unpickles settings, asks for special methods before there are values.
        if name.startswith("__") or name == "values":
            raise AttributeError(name)
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self) -> str:
        """Values may be secret."""
        return "<Settings>"


def default(name: str) -> Any:
    """The default of a setting, parsed."""
    item = next(row for row in TABLE if row.name == name)
    return item.parse(item.default or "")


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from the environment; `overrides` win (tests, commands).

    Raises:
        SettingsError: with every problem, each naming its variable and what would be right.
    """
    source = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems: list[str] = []
    for item in TABLE:
        variable = f"KONTOR_{item.name.upper()}"
        try:
            text = _raw(source, variable)
        except OSError as error:
            problems.append(f"{variable}_FILE: can't be read: {error.strerror}")
            continue
        if item.name in overrides:
            values[item.name] = overrides[item.name]
        elif text is None and item.default is None:
            problems.append(f"{variable} is not set. {item.doc}")
        elif text is None and item.default == "":
            values[item.name] = () if item.parse in {_names, _networks} else ""
        else:
            try:
                values[item.name] = item.parse(text if text is not None else str(item.default))
            except ValueError as error:
                problems.append(f"{variable}: {error}. {item.doc}")
    known = {f"KONTOR_{item.name.upper()}" for item in TABLE}
    problems += [
        f"{name}: no such setting; see docs/settings.md"
        for name in sorted(source)
        if name.startswith("KONTOR_")
        and not name.startswith(SHELL_PREFIXES)
        and name.removesuffix("_FILE") not in known | SHELL_VARIABLES
    ]
    if problems:
        raise SettingsError("Kontor can't start with these settings:\n  " + "\n  ".join(problems))
    return Settings(values)


# Read by the scripts around the application and not by the application itself.
SHELL_VARIABLES = frozenset({"KONTOR_PORT", "KONTOR_PYTHON", "KONTOR_SUPERUSER_URL", "KONTOR_BENCH_SIZES"})
SHELL_PREFIXES = ("KONTOR_PASSWORD_",)


def _raw(source: Mapping[str, str], variable: str) -> str | None:
    path = source.get(f"{variable}_FILE")
    if path:
        return Path(path).read_text(encoding="utf-8").strip()
    text = source.get(variable)
    return text or None
