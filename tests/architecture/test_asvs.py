"""docs/security: every test that a page names exists, and no requirement of ASVS level 1 or 2 is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / "docs" / "security"
PAGE = (PAGES / "asvs.md").read_text("utf-8")
TEXTS = "".join(page.read_text("utf-8") for page in PAGES.glob("*.md"))
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", TEXTS)))
FILES = sorted(set(re.findall(r"`((?:[a-z_]+/)*(?:test|bench)_[a-z_]+(?:\.py)?)(?:::|`)", TEXTS)))
# How many requirements of levels 1 and 2 each section of ASVS 5.0.0 has, in order.
COUNTS = {
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "14.1": 2, "14.2": 4, "14.3": 3,
}  # fmt: skip


@pytest.mark.parametrize("path,name", NAMED)
def test_each_proof_is_a_test_that_exists(path: str, name: str) -> None:
    source = (ROOT / "tests" / path).read_text("utf-8")
    assert re.search(rf"(?:def|class) {name}\b", source), f"{path} has no test {name}"


@pytest.mark.parametrize("path", FILES)
def test_each_file_of_tests_that_a_page_names_exists(path: str) -> None:
    assert list((ROOT / "tests").glob(f"**/{path.removesuffix('.py')}.py")), path


def test_no_requirement_is_left_out() -> None:
    numbers = re.findall(r"^\| (\d+\.\d+)\.(\d+) \|", PAGE, re.MULTILINE)
    found = {section: [int(one) for part, one in numbers if part == section] for section in COUNTS}
    assert {section: len(one) for section, one in found.items()} == COUNTS
    assert len(numbers) == sum(COUNTS.values())
