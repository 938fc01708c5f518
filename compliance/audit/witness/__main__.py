"""The command of the witness; see the package."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance.audit.log import keyfile
from compliance.audit.log.note import COSIGNATURE, NoteError, Signer, VerifierKey
from compliance.audit.witness.protocol import Witness
from compliance.audit.witness.server import serve as bind

NEEDED = ("name", "key", "directory", "logs")


@click.group()
def main() -> None:
    """A witness of transparency logs (C2SP tlog-witness)."""


@main.command()
@click.option("--name", required=True, help="Name under which it cosigns, such as witness.example.")
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, help="File to make; it must not exist yet."
)
def keygen(name: str, key: Path) -> None:
    """Make the witness's key and print what the log's owner has to know of it."""
    if key.exists():
        raise click.ClickException(f"{key} exists already; a witness keeps its key.")
    click.echo(_signer(name, keyfile.create(key)).key.text())


@main.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
def serve(config: Path) -> None:
    """Answer until SIGTERM. CONFIG is JSON: name, key (file), directory, logs (verifier keys), host, port."""
    witness, host, port = load(config)
    with bind(witness, host, port) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: threading.Thread(target=server.shutdown).start())
        click.echo(f"The witness answers on {host}:{server.server_address[1]}", err=True)
        server.serve_forever()


def load(config: Path) -> tuple[Witness, str, int]:
    """The witness of a configuration, and where it listens.

    Raises:
        click.ClickException: what is missing or wrong, in a sentence.
    """
    try:
        settings = json.loads(config.read_text("utf-8"))
        missing = [name for name in NEEDED if not settings.get(name)]
    except (ValueError, AttributeError) as error:
        raise click.ClickException(f"{config} is no JSON object.") from error
    if missing:
        raise click.ClickException(f"{config} lacks {', '.join(missing)}.")
    logs: dict[str, list[VerifierKey]] = {}
    try:
        signer = _signer(str(settings["name"]), keyfile.load(Path(settings["key"])))
        for line in settings["logs"]:
            key = VerifierKey.parse(line)
            logs.setdefault(key.name, []).append(key)
    except (keyfile.KeyFileError, NoteError) as error:
        raise click.ClickException(f"{config}: {error}.") from error
    directory = Path(settings["directory"])
    return (
        Witness(signer, logs, directory),
        str(settings.get("host", "127.0.0.1")),
        int(settings.get("port", 8480)),
    )


def _signer(name: str, private: Ed25519PrivateKey) -> Signer:
    return Signer(name, private, COSIGNATURE)


if __name__ == "__main__":
    main()
