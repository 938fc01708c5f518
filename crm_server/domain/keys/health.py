"""What is wrong with the keys, for `kontor doctor`: (level, sentence, way out). It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from crm_server.domain.keys.queries import KeyState, state_of, warnings_of
from crm_server.kernel.keyring import KeysRefused, horizon_of, open_ring
from crm_server.kernel.keys import Keys
from security.crypto.errors import CryptoError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crm_server.settings import Settings


class Trouble(NamedTuple):
    """One thing to know; `level` is "ok", "warning" or "error"."""

    level: str
    text: str
    remedy: str = ""


def troubles(settings: Settings, connection: Connection) -> Iterator[Trouble]:
    """What is late, missing or away; one line that all is well otherwise."""
    begun = connection.exec_driver_sql("select count(*) from keys.epoch").scalar_one()
    if not begun:
        yield Trouble("ok", "No epoch of keys yet; the first start makes it.")
        return
    try:
        horizon_of(settings)
        keys = Keys(settings, connection.engine, open_ring(settings), listen=False, restored=True)
        reason = keys.ledger.quarantined()
        state = state_of(connection, keys, settings)
    except KeysRefused as refused:
        yield Trouble("error", str(refused), "docs/runbooks/keys.md says what to do.")
        return
    except CryptoError as error:
        yield Trouble(
            "error", f"The key ring can't be read: {error}", "docs/runbooks/keys.md says what to do."
        )
        return
    found = list(_troubles(state, reason))
    yield from found
    if not found:
        yield Trouble(
            "ok", f"Epoch {state.active} protects {state.live + state.held:,} keys ({state.provider})."
        )


def _troubles(state: KeyState, quarantine: str | None) -> Iterator[Trouble]:
    late = warnings_of(state)
    if quarantine is not None:
        yield Trouble(
            "error", f"The database is in quarantine: {quarantine}.", "Run: kontor keys replay --escrow FILE"
        )
    if state.away is not None:
        yield Trouble(
            "error",
            f"The key ring doesn't answer: {state.away}",
            "Bring the device back. Running processes go on for a while; none can be started.",
        )
    if late.behind:
        yield Trouble(
            "warning",
            f"{late.behind:,} keys are under an earlier epoch.",
            "Finish it: kontor keys rotate --finish",
        )
    if late.late_rotation_days:
        yield Trouble(
            "warning",
            f"The epoch should have ended {late.late_rotation_days} days ago.",
            "Run: kontor keys rotate",
        )
    for epoch in late.late_destructions:
        yield Trouble(
            "warning",
            f"Epoch {epoch} should be destroyed by now; whoever was erased is readable in old backups.",
            f"See what stands against it: kontor keys destroy {epoch} --dry-run",
        )
    if late.escrow_missing:
        yield Trouble("warning", "There is no escrow of the keys.", "Make one: kontor keys escrow --check")
    if late.drill_failed:
        yield Trouble(
            "error",
            "The last drill of erasure failed: it isn't proven that erased people stay unreadable after a restore.",
            "Run it and read its steps: kontor keys drill",
        )
    elif late.drill_late:
        yield Trouble("warning", "The drill of erasure is overdue.", "Run it: kontor keys drill")
    for epoch, nodes in late.pending:
        yield Trouble(
            "warning",
            f"Nodes that haven't attested that epoch {epoch} is gone: {', '.join(nodes)}.",
            "Start them, or remove those that are gone: kontor keys forget-node NAME",
        )
