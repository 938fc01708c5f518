from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import cyclonedx.schema
import jsonschema_rs
import pytest

from security.crypto import native
from security.crypto import profile as profile_module
from security.crypto.algorithms import ALGORITHMS, SYMBOLS
from security.crypto.errors import ProfileRefused
from security.crypto.inventory import cbom, scan
from security.crypto.keyring import Capabilities, EpochInfo, EpochState
from security.crypto.profile import Profile, allowed, modules, self_check

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 11, 22, tzinfo=UTC)


def made():
    epochs = [
        EpochInfo(1, EpochState.DESTROYED, AT, AT),
        EpochInfo(2, EpochState.LIVE, AT),
    ]
    used = modules(Profile.STANDARD)
    return cbom(scan(ROOT), version="1.0.0", epochs=epochs, modules=used, serial=UUID(int=1), at=AT)


def test_enc_20_every_primitive_that_the_code_uses_is_in_the_table():
    found = scan(ROOT)
    assert found.unknown == ()
    assert {algorithm.name for algorithm in ALGORITHMS} == set(found.known)


def test_enc_20_the_inventory_is_a_valid_cyclonedx_bom():
    folder = Path(cyclonedx.schema.__file__).parent / "_res"
    schemas = {name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())
               for name in ("bom-1.6", "spdx", "jsf-0.82")}  # fmt: skip
    base = "http://cyclonedx.org/schema/"
    registry = jsonschema_rs.Registry(
        [(f"{base}{name}.SNAPSHOT.schema.json", item) for name, item in schemas.items()]
    )
    validator = jsonschema_rs.Draft7Validator(schemas["bom-1.6"], registry=registry)
    validator.validate(made())
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate({**made(), "components": [{"type": "nonsense"}]})


def test_enc_20_the_inventory_names_file_and_line_of_each_use():
    components = {item["name"]: item for item in made()["components"]}
    places = components["AES-256-GCM"]["evidence"]["occurrences"]
    assert {place["location"] for place in places} >= {
        "security/crypto/reference.py",
        "security/crypto/chunks.py",
        "security/crypto/_native.c",
    }
    for place in places:
        line = (ROOT / place["location"]).read_text().splitlines()[place["line"] - 1]
        assert ("AES-256-GCM" if place["location"].endswith(".c") else "AESGCM") in line
    assert all(components[name]["type"] == "library" for name in modules(Profile.STANDARD))
    assert components["DEK"]["cryptoProperties"]["assetType"] == "related-crypto-material"
    assert (
        components["Epoch 1"]["cryptoProperties"]["relatedCryptoMaterialProperties"]["state"] == "destroyed"
    )


@pytest.mark.parametrize(
    "source",
    [
        'EVP_CIPHER_fetch(NULL, "DES-EDE3-CBC", NULL);',
        "EVP_aes_256_ofb();",
        "MD5_Init(&c);",
        "RAND_bytes(b, 8);",
    ],
)
def test_enc_20_a_primitive_that_nobody_declared_is_found_in_c(tmp_path, source):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/new.c").write_text(source)
    assert [(use.file, use.line) for use in scan(tmp_path, ["code"]).unknown] == [("code/new.c", 1)]


def test_enc_20_the_same_source_gives_the_same_bytes():
    assert json.dumps(made()) == json.dumps(made())


@pytest.mark.parametrize(
    "source",
    [
        "from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305\nChaCha20Poly1305(b'')",
        "from cryptography.hazmat.primitives.ciphers import modes as m\nm.ECB()",
        "import hashlib\nhashlib.md5(b'')",
        "import hmac\nhmac.digest(b'', b'', 'sha1')",
        "import hmac as h\nname = 'sha1'\nh.new(b'', b'', name)",
        "import hashlib\nhashlib.new('md5')",
        "from pkcs11 import Mechanism\nMechanism.AES_ECB",
        "import cryptography.hazmat.primitives.hashes as x\nx.MD5()",
    ],
)
def test_enc_20_a_primitive_that_nobody_declared_is_found(tmp_path, source):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/new.py").write_text(source)
    found = scan(tmp_path, ["code"])
    assert len(found.unknown) == 1
    assert found.unknown[0].file == "code/new.py"


@pytest.mark.parametrize("profile", list(Profile))
def test_the_self_check_lists_each_algorithm_with_the_module_that_computes_it(profile):
    checked = self_check(profile)
    libraries = [item for item in checked if not item.module.startswith(native.NAME)]
    assert [item.algorithm for item in libraries] == [item.name for item in allowed(profile)]
    assert all("OpenSSL" in item.module or "getrandom" in item.module for item in checked)


@pytest.mark.parametrize("name", [algorithm.name for algorithm in ALGORITHMS])
def test_a_wrong_answer_refuses_the_start_and_names_the_algorithm(monkeypatch, name):
    monkeypatch.setitem(profile_module._TESTS, name, (lambda: False, False))
    with pytest.raises(ProfileRefused, match=name):
        self_check(Profile.STANDARD)


def test_a_module_that_lacks_an_algorithm_refuses_the_start(monkeypatch):
    def missing():
        raise RuntimeError("unsupported")

    monkeypatch.setitem(profile_module._TESTS, "AES-256-CBC", (missing, False))
    with pytest.raises(ProfileRefused, match="AES-256-CBC"):
        self_check(Profile.STRICT)


def test_the_strict_profile_has_approved_algorithms_only_and_suite_2():
    names = {item.name for item in allowed(Profile.STRICT)}
    assert all(item.approved for item in allowed(Profile.STRICT))
    assert not names & {"AES-256-GCM", "Argon2id"}
    assert (Profile.STRICT.suite, Profile.STRICT.suites) == (2, {2})
    assert (Profile.STANDARD.suite, Profile.STANDARD.suites) == (1, {1, 2})


@pytest.mark.parametrize("algorithm", ["AES-256-GCM", "Argon2id", "MD5"])
def test_the_strict_profile_refuses_the_rest_and_says_what_it_allows(algorithm):
    with pytest.raises(ProfileRefused, match="It allows: AES-256-CBC"):
        Profile.STRICT.require(algorithm)


def test_the_strict_profile_refuses_a_provider_that_is_not_approved():
    Profile.STRICT.require("AES-256-CBC")
    weak = Capabilities("passphrase", False, False, True, False, "")
    with pytest.raises(ProfileRefused, match="pbkdf2"):
        Profile.STRICT.require_provider(weak)
    Profile.STANDARD.require_provider(weak)


def test_every_symbol_of_the_table_means_an_algorithm_of_the_table():
    assert {item for item in SYMBOLS.values() if item is not None} == set(ALGORITHMS)
