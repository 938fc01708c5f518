"""The import contracts of setup.cfg hold, and the contract type of our own refuses what it should."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.architecture.contracts import DomainDoors

ROOT = Path(__file__).resolve().parents[2]


def test_every_import_contract_is_kept():
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [linter, "--config", "setup.cfg"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
def doors():
    options = {"domains": "shop.domain", "doors": ["services", "queries", "events"]}
    return DomainDoors("doors", {}, options)


def _graph(importer, imported):
    graph = grimp.ImportGraph()
    for module in (
        "shop",
        "shop.domain",
        "shop.domain.choices",
        "shop.domain.orders",
        "shop.domain.orders.services",
        "shop.domain.people",
        "shop.domain.people.models",
        "shop.domain.people.services",
        "shop.domain.people.services.search",
    ):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported)
    return graph


@pytest.mark.parametrize(
    "importer, imported, kept",
    [
        ("shop.domain.orders.services", "shop.domain.people.models", False),
        ("shop.domain.orders.services", "shop.domain.people", False),
        ("shop.domain.orders.services", "shop.domain.people.services", True),
        ("shop.domain.orders.services", "shop.domain.people.services.search", True),
        ("shop.domain.orders.services", "shop.domain.choices", True),
        ("shop.domain.people.services", "shop.domain.people.models", True),
        ("shop.domain.orders", "shop.domain.people.models", False),
        ("shop", "shop.domain.people.models", True),
    ],
)
def test_one_domain_reaches_another_only_through_its_doors(doors, importer, imported, kept):
    assert doors.check(_graph(importer, imported), verbose=False).kept is kept
