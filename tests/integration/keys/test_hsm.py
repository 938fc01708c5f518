"""An installation on a real PKCS#11 token: first epoch, start, wrong slot, wrong PIN, and a destruction with proof."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from compliance.datamap import KeyClass
from crm_server.domain.keys import destruction, escrow, rotation
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel import db
from crm_server.kernel.actor import system_actor
from crm_server.kernel.ids import new_id
from crm_server.kernel.keyring import open_ring
from crm_server.kernel.keys import Keys, KeysRefused, keys_of
from crm_server.local.postgres import Cluster
from crm_server.settings import Settings
from tests.conftest import copy_database
from tests.integration.crypto.conftest import PIN, SO_PIN, hsm_module
from tests.integration.keys.conftest import settings_of

__all__ = ["hsm_module"]


@pytest.fixture
def settings(cluster: Cluster, template: str, tmp_path: Path, hsm_module: Path) -> Settings:
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "site", "--so-pin", SO_PIN, "--pin", PIN],
        check=True,
        capture_output=True,
    )
    copy_database(cluster, template, "kontor_hsm")
    return settings_of(
        cluster,
        "kontor_hsm",
        tmp_path,
        KONTOR_KEY_PROVIDER="pkcs11",
        KONTOR_KEY_PKCS11_MODULE=str(hsm_module),
        KONTOR_KEY_PKCS11_TOKEN="site",
        KONTOR_KEY_PKCS11_PIN=PIN,
    )


def test_the_life_of_an_installation_on_an_hsm(settings: Settings) -> None:  # ENC-9, ENC-14
    engine = db.create_app_engine(settings)
    with pytest.raises(KeysRefused, match="kontor keys init"):
        Keys.open(settings, engine, listen=False)
    open_ring(settings).create_epoch(1)
    keys = Keys.open(settings, engine, listen=False)
    with pytest.raises(KeysRefused, match="no token"):
        Keys.open(Settings({**settings.values, "key_pkcs11_token": "nowhere"}), engine, listen=False)
    with pytest.raises(KeysRefused, match="PIN of the HSM token is wrong"):
        Keys.open(Settings({**settings.values, "key_pkcs11_pin": "00000000"}), engine, listen=False)
    subject = uuid4()
    with db.open_session(db.session_factory(engine, settings, keys), system_actor()) as session:
        kid = keys_of(session).for_sealing(subject, KeyClass.IDENTITY).kid
        session.commit()
    work = KeyWork(keys, engine, settings, system_actor())
    assert rotation.rotate(work).epoch == 2
    escrow.open_scratch(work, escrow.export(work).file)
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into keys.destruction (id, epoch, agreed_at, released_by) values (:id, 1, now(), 1)"
            ),
            {"id": new_id()},
        )
    done = destruction.destroy(work, 1)
    assert done.proven
    assert done.details["token"] == "site"
    with db.open_session(db.session_factory(engine, settings, keys), system_actor()) as session:
        assert keys_of(session).by_id(kid).kid == kid
    engine.dispose()
