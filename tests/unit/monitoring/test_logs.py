"""Logs are one JSON object a line and hold nothing personal, whoever writes them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from monitoring import logs


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]):
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def written(write: Callable[[], None]) -> list[dict[str, Any]]:
        logs.configure("info", "json")
        write()
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield written
    root.handlers[:], root.level = before
    structlog.reset_defaults()


class TestLogs:
    def test_a_line_says_time_level_and_logger(self, lines) -> None:
        (line,) = lines(lambda: structlog.get_logger("kontor.test").info("started", port=8443))
        assert (line["event"], line["level"], line["logger"], line["port"]) == (
            "started",
            "info",
            "kontor.test",
            8443,
        )
        assert line["time"].endswith("Z")

    def test_values_under_personal_names_are_withheld(self, lines) -> None:
        personal = {"email": "anna@example.com", "password": "hunter2"}
        (line,) = lines(lambda: structlog.get_logger("kontor.test").info("login", user="u1", **personal))
        assert (line["email"], line["password"], line["user"]) == ("[withheld]", "[withheld]", "u1")

    def test_lines_of_libraries_go_the_same_way(self, lines) -> None:
        (line,) = lines(lambda: logging.getLogger("some.library").warning("slow"))
        assert (line["event"], line["level"], line["logger"]) == ("slow", "warning", "some.library")
