"""Directory servers that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.identity.openldap_data import openldap_ldif
from tests.integration.identity.servers import Authority, Slapd, running_slapd


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Slapd]:
    folder: Path = tmp_path_factory.mktemp("slapd")
    with running_slapd(folder / "server", authority, openldap_ldif()) as server:
        yield server
