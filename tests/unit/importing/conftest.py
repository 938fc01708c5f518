"""The data map of the application and small helpers, without a database."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import pytest

from compliance.datamap import DataMap
from crm_server.models import datamap


@pytest.fixture(scope="session")
def entities() -> DataMap:
    return datamap()


@pytest.fixture
def as_file() -> Callable[..., BinaryIO]:
    def make(text: str | bytes, encoding: str = "utf-8") -> BinaryIO:
        return io.BytesIO(text if isinstance(text, bytes) else text.encode(encoding))

    return make
