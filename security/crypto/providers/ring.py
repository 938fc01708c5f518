"""The files that all providers share, and the order in which they are written.

A ring is a folder of mode 700 with ``ring.json`` (format, provider, public parameters) and one ``epoch-<n>.json`` for
each epoch (state, times, the sealed key material, public facts). Each is written beside, synced and renamed, so a kill
or a full disk leaves the earlier state. A destruction first marks the epoch as *destroying*, from when on nobody opens
it, then acts on the device, which may be repeated, and then replaces the sealed bytes by a tombstone.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from security.crypto import cbor
from security.crypto.errors import (
    EpochDestroyed,
    EpochExists,
    EpochUnknown,
    ProviderRefused,
    ProviderUnavailable,
    RingCorrupt,
    RingStorage,
)
from security.crypto.keyring import Capabilities, DestructionEvidence, EpochInfo, EpochKeys, EpochState

RING_FORMAT: Final = 1
CHECK_LABEL: Final = b"kontor/ring-check/v1"


def _now() -> datetime:
    return datetime.now(UTC)


def check_of(keys: EpochKeys) -> str:
    """Return the check value of an epoch's material, which ties the material to its number."""
    material = keys.material()
    message = CHECK_LABEL + cbor.array(keys.epoch, material[32:])
    return hmac.digest(material[:32], message, "sha256")[:16].hex()


class FileRing(ABC):
    """A key ring in a folder. Subclasses say how 64 bytes are protected, revealed and made unrevealable for ever."""

    # What is overwritten at a destruction. The rest of ``protected`` is public, and a second run needs it.
    _sealed_fields: ClassVar[tuple[str, ...]] = ("wrapped",)

    def __init__(self, folder: Path, clock: Callable[[], datetime] = _now) -> None:
        self.folder = folder
        self._clock = clock
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RingStorage(f"The folder of the key ring can't be made: {error.strerror}.") from None

    # What a provider implements --------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this provider can promise."""

    @abstractmethod
    def _protect(self, number: int, material: bytes, *, taken_over: bool) -> dict[str, str]:
        """Protect the material and return what is needed to reveal it: text only, nothing secret.

        ``taken_over``: it is another node's epoch, whose object in a shared device is there already.
        """

    @abstractmethod
    def _reveal(self, number: int, protected: dict[str, str]) -> bytes:
        """Return the material. Raises EpochDestroyed when the device knows that it is gone for ever."""

    @abstractmethod
    def _annihilate(self, number: int, protected: dict[str, str]) -> dict[str, str]:
        """Make the material unrevealable, confirm it, and return public facts. Runs again after a kill."""

    # The contract of KeyRingProvider ---------------------------------------------------------------------------------

    def create_epoch(self, number: int, keys: EpochKeys | None = None) -> EpochInfo:
        """Make epoch ``number``; see KeyRingProvider."""
        with self._locked():
            if number < 1 or any(info.number >= number for info in self.list()):
                raise EpochExists(f"Epoch {number} can't be made: numbers start at 1 and only grow.")
            taken_over = keys is not None
            if keys is None:
                keys = EpochKeys.generate(number)
            if keys.epoch != number:
                raise RingCorrupt(f"The keys to take over belong to epoch {keys.epoch}, not to {number}.")
            protected = self._protect(number, keys.material(), taken_over=taken_over)
            record = {
                "format": RING_FORMAT,
                "epoch": number,
                "state": EpochState.LIVE.value,
                "created_at": self._clock().isoformat(),
                "check": check_of(keys),
                "protected": protected,
            }
            self._write(self._path(number), record)
            return self._info(record)

    def open_epoch(self, number: int) -> EpochKeys:
        """Open an epoch; see KeyRingProvider."""
        record = self._read_epoch(number)
        if record["state"] != EpochState.LIVE:
            raise EpochDestroyed(
                f"Epoch {number} was destroyed. Nothing that was sealed under it opens again."
            )
        keys = EpochKeys(number, self._reveal(number, record["protected"]))
        if not hmac.compare_digest(check_of(keys), str(record["check"])):
            raise RingCorrupt(
                f"The material of epoch {number} fails its check value: files of two epochs were mixed."
            )
        return keys

    def destroy(self, number: int) -> DestructionEvidence:
        """Destroy an epoch; see KeyRingProvider. An epoch that is destroyed already gives its first evidence again."""
        with self._locked():
            record = self._read_epoch(number)
            if record["state"] == EpochState.LIVE:
                record = {
                    **record,
                    "state": EpochState.DESTROYING.value,
                    "opened_before": self._opens(number),
                }
                self._write(self._path(number), record)
            if record["state"] == EpochState.DESTROYING:
                details = self._annihilate(number, record["protected"])
                self._scrub(self._path(number))
                record = {key: value for key, value in record.items() if key not in ("protected", "check")}
                record["state"] = EpochState.DESTROYED.value
                record["destroyed_at"] = self._clock().isoformat()
                record["details"] = details
                self._write(self._path(number), record)
            capabilities = self.capabilities
            return DestructionEvidence(
                epoch=number,
                provider=capabilities.name,
                at=datetime.fromisoformat(record["destroyed_at"]),
                proven=capabilities.can_prove_destruction and record["opened_before"],
                statement=capabilities.statement,
                details=record["details"],
            )

    def _opens(self, number: int) -> bool:
        """Open the epoch a last time.

        Only then it is known that the object in the device that is about to go is the one that seals this epoch, and
        not one that somebody wrote into the file. Raises what the device says when it is away.
        """
        try:
            self.open_epoch(number)
        except (RingCorrupt, EpochDestroyed):
            return False
        except (ProviderRefused, ProviderUnavailable):
            if self.capabilities.can_prove_destruction:
                raise
            return False
        return True

    def list(self) -> tuple[EpochInfo, ...]:
        """Return all epochs that ever were, by number."""
        numbers = sorted(int(path.stem.removeprefix("epoch-")) for path in self.folder.glob("epoch-*.json"))
        return tuple(self._info(self._read_epoch(number)) for number in numbers)

    def seal(self, number: int, purpose: str, data: bytes) -> bytes:
        """Seal bytes under an epoch."""
        return self.open_epoch(number).seal(purpose, data)

    def unseal(self, number: int, purpose: str, sealed: bytes) -> bytes:
        """Open bytes that were sealed under an epoch."""
        return self.open_epoch(number).unseal(purpose, sealed)

    # Files -----------------------------------------------------------------------------------------------------------

    def _parameters(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the public parameters of the ring, made on first use. Refuses another provider's ring."""
        path = self.folder / "ring.json"
        # Reading takes no lock: a destruction opens its epoch while it holds the lock, and files are replaced whole.
        if not path.exists():
            if any(self.folder.glob("epoch-*.json")):
                raise RingCorrupt("The key ring has epochs but no ring.json. Restore the file from a copy.")
            with self._locked():
                if not path.exists():
                    record = {"format": RING_FORMAT, "provider": self.capabilities.name, "parameters": make()}
                    self._write(path, record)
        record = self._read(path)
        if record.get("format") != RING_FORMAT or record.get("provider") != self.capabilities.name:
            raise RingCorrupt(
                f"The key ring in this folder isn't one of the provider {self.capabilities.name!r}."
            )
        parameters = record.get("parameters")
        if not isinstance(parameters, dict):
            raise RingCorrupt("The file ring.json has no parameters.")
        return parameters

    def _path(self, number: int) -> Path:
        return self.folder / f"epoch-{number:06d}.json"

    @staticmethod
    def _info(record: dict[str, Any]) -> EpochInfo:
        destroyed = record.get("destroyed_at")
        return EpochInfo(
            number=record["epoch"],
            state=EpochState(record["state"]),
            created_at=datetime.fromisoformat(record["created_at"]),
            destroyed_at=datetime.fromisoformat(destroyed) if destroyed else None,
        )

    def _read_epoch(self, number: int) -> dict[str, Any]:
        path = self._path(number)
        if not path.exists():
            raise EpochUnknown(f"There is no epoch {number} in this key ring.")
        record = self._read(path)
        live = record.get("state") in (EpochState.LIVE, EpochState.DESTROYING)
        needed = (
            {"protected", "check", "created_at"}
            if live
            else {"created_at", "destroyed_at", "details", "opened_before"}
        )
        known = record.get("state") in tuple(EpochState)
        if (
            not known
            or record.get("format") != RING_FORMAT
            or record.get("epoch") != number
            or needed - record.keys()
        ):
            raise RingCorrupt(f"The file of epoch {number} is damaged. Restore it from a copy.")
        return record

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            record = json.loads(path.read_bytes())
        except OSError as error:
            raise RingStorage(
                f"The file {path.name} of the key ring can't be read: {error.strerror}."
            ) from None
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RingCorrupt(f"The file {path.name} of the key ring is damaged. Restore it from a copy.")
        return record

    def _write(self, path: Path, record: dict[str, Any]) -> None:
        """Write a file so that either the old or the new content is there after a kill or a full disk."""
        beside = path.with_suffix(".new")
        data = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            self._sync_folder()
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise RingStorage(
                f"The file {path.name} of the key ring can't be written: {error.strerror}. The earlier state is intact."
            ) from None

    def _scrub(self, path: Path) -> None:
        """Overwrite the sealed bytes in place. No proof: a file system may keep old blocks. It costs nothing."""
        try:
            data = path.read_bytes()
            record = json.loads(data)
            # Same length, so that the same blocks are written, and still a record that a second run can go on from.
            protected = record["protected"]
            record["protected"] = {
                **protected,
                **{key: "0" * len(protected[key]) for key in self._sealed_fields},
            }
            data = (json.dumps(record, indent=1, sort_keys=True).encode() + b"\n").ljust(len(data))
            with path.open("r+b") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RingStorage(f"The file {path.name} can't be overwritten: {error.strerror}.") from None

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the ring."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise RingStorage(f"The key ring can't be locked: {error.strerror}.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
