"""A key ring sealed by the TPM 2.0 of the machine, through the commands of tpm2-tools.

The material of an epoch is a sealed object under the storage hierarchy whose policy is PolicyNV: a monotonic
counter in the TPM must have exactly the value it had when the epoch was made (TPM 2.0 Library, part 3,
TPM2_PolicyNV). To destroy an epoch is to increment the counter. Counters never go back, and one that is deleted and
defined anew starts above all that ever were, so no copy of the files opens the epoch again. Counters are few, so
epochs take turns in a small number of slots; a slot with a live epoch isn't reused.

The secret goes to the tools through pipes, never through a file or an argument, and comes back in an encrypted
session. Context files hold public or TPM-encrypted data, and lie in a private temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from translationstring import TranslationStringFactory

from security.crypto.errors import (
    DestructionFailed,
    EpochDestroyed,
    ProviderRefused,
    ProviderUnavailable,
    RingCorrupt,
)
from security.crypto.keyring import Capabilities, EpochState
from security.crypto.providers.ring import FileRing

_ = TranslationStringFactory("kontor")

NAME: Final = "tpm2"
STATEMENT: Final = _(
    "This key ring is sealed by the TPM of this machine. Each epoch is bound to the value of a counter in the TPM; "
    "when the counter has moved on, no copy of the files opens the epoch again, on this machine or any other."
)
RESOURCE_MANAGER: Final = "device:/dev/tpmrm0"
FIRST_INDEX: Final = 0x0150_4B00
SLOTS: Final = 8
TIMEOUT: Final = 60.0
_COUNTER: Final = "ownerread|authread|ownerwrite|nt=counter|no_da"


class TpmRing(FileRing):
    """A key ring sealed by a TPM. ``tcti`` is the connection in the notation of tpm2-tss."""

    _sealed_fields: ClassVar[tuple[str, ...]] = ("public", "private")

    def __init__(self, folder: Path, tcti: str = RESOURCE_MANAGER, first_index: int = FIRST_INDEX) -> None:
        super().__init__(folder)
        self._tcti = tcti
        self._first_index = first_index

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can promise."""
        return Capabilities(
            name=NAME,
            can_prove_destruction=True,
            hardware=True,
            needs_secret=False,
            strict=True,
            statement=STATEMENT,
        )

    # The three steps -------------------------------------------------------------------------------------------------

    def _protect(self, number: int, material: bytes, *, taken_over: bool) -> dict[str, str]:
        index = self._free_slot()
        with self._workspace() as work:
            if not self._defined(work, index):
                self._tool(work, "tpm2_nvdefine", index, "-C", "o", "-a", _COUNTER)
            # A step forward, so that nothing that was ever sealed in this slot is alive beside the new epoch.
            self._tool(work, "tpm2_nvincrement", index, "-C", "o")
            value = self._counter(work, index)
            self._policy(work, index, value, trial=True)
            self._primary(work)
            arguments = ("-C", "primary.ctx", "-i-", "-u", "public", "-r", "private", "-L", "policy")
            self._tool(
                work,
                "tpm2_create",
                *arguments,
                "-a",
                "fixedtpm|fixedparent|noda",
                "-Q",
                given=material,
                flush=True,
            )
            return {
                "index": index,
                "counter": value.hex(),
                "public": (work / "public").read_bytes().hex(),
                "private": (work / "private").read_bytes().hex(),
            }

    def _reveal(self, number: int, protected: dict[str, str]) -> bytes:
        index, value, public, private = _parse(number, protected)
        with self._workspace() as work:
            if not self._defined(work, index):
                raise ProviderRefused(
                    f"The TPM has no counter of epoch {number}: another machine, or a cleared TPM."
                )
            now = self._counter(work, index)
            if now > value:
                raise EpochDestroyed(
                    f"The TPM's counter has moved on: epoch {number} was destroyed for good."
                )
            (work / "public").write_bytes(public)
            (work / "private").write_bytes(private)
            self._primary(work)
            material: bytes | None
            try:
                self._tool(
                    work, "tpm2_load", "-C", "primary.ctx", "-u", "public", "-r", "private", "-c", "sealed.ctx", "-Q",
                    flush=True,
                )  # fmt: skip
                self._policy(work, index, value, trial=False)
                material = self._tool(
                    work, "tpm2_unseal", "-c", "sealed.ctx", "-p", "session:session.ctx", flush=True
                )
            except ProviderUnavailable:
                material = None
            self._quietly(work, "tpm2_flushcontext", "session.ctx")
            if material is None:
                self._counter(
                    work, index
                )  # A TPM that has gone away is another error than a file that it refuses.
        if material is None:
            raise RingCorrupt(
                f"The TPM refuses the sealed material of epoch {number}: damaged, or another TPM's."
            )
        return material

    def _annihilate(self, number: int, protected: dict[str, str]) -> dict[str, str]:
        index, value, _public, _private = _parse(number, protected)
        with self._workspace() as work:
            if not self._defined(work, index):
                raise DestructionFailed(
                    f"The TPM has no counter of epoch {number}: run this on the machine that made it."
                )
            if self._counter(work, index) <= value:
                self._tool(work, "tpm2_nvincrement", index, "-C", "o")
            after = self._counter(work, index)
            if after <= value:
                raise DestructionFailed(f"The TPM's counter of epoch {number} didn't move.")
            return {
                "method": "TPM counter incremented",
                "index": index,
                "sealed_at": str(int.from_bytes(value, "big")),
                "counter": str(int.from_bytes(after, "big")),
            }

    # TPM helpers -----------------------------------------------------------------------------------------------------

    def _free_slot(self) -> str:
        """Return the counter for a new epoch: one whose last epoch is destroyed."""
        taken = {
            self._read_epoch(info.number)["protected"]["index"]
            for info in self.list()
            if info.state is not EpochState.DESTROYED
        }
        for slot in range(SLOTS):
            index = f"{self._first_index + slot:#010x}"
            if index not in taken:
                return index
        raise ProviderRefused(
            f"All {SLOTS} counters of the TPM belong to live epochs. Destroy an old epoch first."
        )

    def _defined(self, work: Path, index: str) -> bool:
        listed = self._tool(work, "tpm2_getcap", "handles-nv-index").decode("ascii", "replace").lower()
        return any(
            int(line.strip("- "), 16) == int(index, 16) for line in listed.split("\n") if line.strip("- ")
        )

    def _counter(self, work: Path, index: str) -> bytes:
        value = self._tool(work, "tpm2_nvread", index, "-C", index, "-s", "8")
        if len(value) != 8:
            raise ProviderUnavailable("The TPM's counter can't be read.")
        return value

    def _primary(self, work: Path) -> None:
        self._tool(work, "tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "primary.ctx", "-Q", flush=True)

    def _policy(self, work: Path, index: str, value: bytes, *, trial: bool) -> None:
        """Compute the policy digest in a trial session, or satisfy it in a salted session with encrypted answers."""
        (work / "operand").write_bytes(value)
        if trial:
            self._tool(work, "tpm2_startauthsession", "-S", "session.ctx")
        else:
            self._tool(
                work,
                "tpm2_startauthsession",
                "--policy-session",
                "-c",
                "primary.ctx",
                "-S",
                "session.ctx",
                flush=True,
            )
            self._tool(work, "tpm2_sessionconfig", "session.ctx", "--enable-encrypt")
        arguments = ("-S", "session.ctx", "-C", index, "-i", "operand", index, "eq")
        try:
            self._tool(work, "tpm2_policynv", *arguments, *(("-L", "policy") if trial else ()))
        finally:
            if trial:
                self._quietly(work, "tpm2_flushcontext", "session.ctx")

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        """Give a private folder, in memory where the system has one."""
        memory = Path("/dev/shm")  # noqa: S108 - the folder inside has a random name and mode 700.
        parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="kontor-tpm-", dir=parent) as name:
            yield Path(name)

    def _quietly(self, work: Path, *command: str) -> None:
        """Clean up; a failure of that must not hide the first one."""
        try:
            self._tool(work, *command)
        except ProviderUnavailable:
            return

    def _tool(self, work: Path, name: str, *arguments: str, given: bytes = b"", flush: bool = False) -> bytes:
        """Run one command in ``work`` and return its output. Without a resource manager, ``flush`` frees the TPM's
        few places for loaded objects afterwards.
        """
        if shutil.which(name) is None:
            raise ProviderUnavailable(f"The command {name} isn't installed. Install the package tpm2-tools.")
        environment = {**os.environ, "TPM2TOOLS_TCTI": self._tcti, "TSS2_LOG": "all+none", "LC_ALL": "C"}
        try:
            done = subprocess.run(
                (name, *arguments), cwd=work, env=environment, input=given, capture_output=True, timeout=TIMEOUT,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            done = None
        if done is None:
            raise ProviderUnavailable(f"The TPM didn't answer {name} within {TIMEOUT:.0f} seconds.")
        if flush and "tpmrm" not in self._tcti:
            self._quietly(work, "tpm2_flushcontext", "-t")
        if done.returncode != 0:
            raise ProviderUnavailable(f"The TPM refused {name}, or can't be reached through {self._tcti!r}.")
        return done.stdout


def _parse(number: int, protected: dict[str, str]) -> tuple[str, bytes, bytes, bytes]:
    """Return index, counter value, public and private part. Raises RingCorrupt."""
    parsed: tuple[str, bytes, bytes, bytes] | None
    try:
        index = f"{int(protected['index'], 16):#010x}"
        value, public, private = (bytes.fromhex(protected[name]) for name in ("counter", "public", "private"))
        parsed = (index, value, public, private) if len(value) == 8 else None
    except (KeyError, TypeError, ValueError):
        parsed = None
    if parsed is None:
        raise RingCorrupt(f"The sealed material of epoch {number} is damaged. Restore the file from a copy.")
    return parsed
