"""Key ring providers with real devices: SoftHSM2 through PKCS#11, and swtpm through tpm2-tools.

A *device* stands for the hardware, so its state isn't among the files that an attacker copies; what is copied is
everything the appliance itself keeps. A missing package fails these tests with the line that installs it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from security.crypto.keyring import KeyRingProvider
from security.crypto.providers.hsm import HsmRing
from security.crypto.providers.passphrase import PassphraseRing
from security.crypto.providers.tpm import TpmRing

PIN, SO_PIN = "87654321", "12345678"
INSTALL = "apt-get install -y --no-install-recommends"
SOFTHSM = (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"))


@dataclass
class Device:
    """A way to make rings on one device: ``ring(folder)`` opens the same device for any folder."""

    name: str
    ring: Callable[[Path], KeyRingProvider]
    other: Callable[[Path], KeyRingProvider]


def need(command: str, packages: str) -> None:
    if shutil.which(command) is None:
        pytest.fail(f"{command} is missing. Install it: {INSTALL} {packages}", pytrace=False)


def softhsm_module() -> Path:
    need("softhsm2-util", "softhsm2")
    for module in SOFTHSM:
        if module.exists():
            return module
    pytest.fail(f"libsofthsm2.so is missing. Install it: {INSTALL} softhsm2", pytrace=False)


@pytest.fixture(scope="session")
def hsm_module(tmp_path_factory) -> Path:
    """The SoftHSM2 library with three tokens: ours, another site's, and one whose PIN may be locked."""
    module = softhsm_module()
    home = tmp_path_factory.mktemp("softhsm")
    (home / "tokens").mkdir()
    (home / "softhsm2.conf").write_text(f"directories.tokendir = {home}/tokens\nobjectstore.backend = file\n")
    # The library reads this once in a process, so it stays set for the session.
    os.environ["SOFTHSM2_CONF"] = str(home / "softhsm2.conf")
    for label in ("kontor", "elsewhere"):
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN],
            check=True,
            capture_output=True,
        )
    return module


def start_tpm(state: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start swtpm with its state in ``state`` and return it with its TCTI. It needs two ports side by side."""
    need("swtpm", "swtpm swtpm-tools")
    need("tpm2_unseal", "tpm2-tools libtss2-tcti-swtpm0")
    for _attempt in range(10):
        with socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
        server = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--server", f"type=tcp,port={port}",
             "--ctrl", f"type=tcp,port={port + 1}", "--flags", "not-need-init,startup-clear"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        tcti = f"swtpm:host=127.0.0.1,port={port}"
        for _wait in range(50):
            if server.poll() is not None:
                break
            probe_run = subprocess.run(
                ["tpm2_getcap", "properties-fixed"],
                env={**os.environ, "TPM2TOOLS_TCTI": tcti},
                capture_output=True,
                check=False,
            )
            if probe_run.returncode == 0:
                return server, tcti
            if b"tcti" in probe_run.stderr.lower() and b"load" in probe_run.stderr.lower():
                server.kill()
                pytest.fail(
                    f"tpm2-tools can't speak to swtpm. Install: {INSTALL} libtss2-tcti-swtpm0", pytrace=False
                )
            time.sleep(0.1)
        server.kill()
        server.wait()
    pytest.fail("swtpm didn't start.")


@pytest.fixture(scope="session")
def tpms(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Two software TPMs: the machine's own and a stranger's."""
    started = [start_tpm(tmp_path_factory.mktemp(f"tpm{i}")) for i in (1, 2)]
    yield started[0][1], started[1][1]
    for server, _tcti in started:
        server.terminate()
        server.wait(90)


@pytest.fixture(params=["passphrase", "passphrase-strict", "pkcs11", "tpm2"])
def device(request, tmp_path, _fresh_number) -> Device:
    if request.param.startswith("passphrase"):
        kdf = "pbkdf2-hmac-sha-256" if request.param.endswith("strict") else "argon2id"
        return Device(
            "passphrase",
            lambda folder: PassphraseRing(folder, lambda: b"correct horse battery", kdf),
            lambda folder: PassphraseRing(folder, lambda: b"another passphrase", kdf),
        )
    if request.param == "pkcs11":
        module = request.getfixturevalue("hsm_module")
        return Device(
            "pkcs11",
            lambda folder: HsmRing(folder, module, "kontor", lambda: PIN),
            lambda folder: HsmRing(folder, module, "elsewhere", lambda: PIN),
        )
    mine, stranger = request.getfixturevalue("tpms")
    return Device("tpm2", lambda folder: TpmRing(folder, mine), lambda folder: TpmRing(folder, stranger))


_numbers = iter(range(1, 1_000_000, 10))


@pytest.fixture
def _fresh_number() -> int:
    """The first epoch of a test. The devices live for the whole session and remember what was destroyed."""
    return next(_numbers)


@pytest.fixture
def first(_fresh_number) -> int:
    return _fresh_number
