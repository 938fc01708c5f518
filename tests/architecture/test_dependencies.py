"""Every library that the product imports is declared, and every declared library is locked with hashes."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("crm_server", "security", "compliance", "backup", "monitoring", "deploy")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _name(requirement):
    return re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def _imported(folder):
    """Top-level names of the imports below a folder, each with one file that has it."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found |= {name.split(".")[0]: path.relative_to(ROOT) for name in names}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_every_imported_library_is_declared(folder):
    declared = {_name(requirement) for requirement in PROJECT["dependencies"]}
    if folder == "tests":
        extras = PROJECT["optional-dependencies"]
        declared |= {_name(requirement) for extra in extras.values() for requirement in extra}
        # These come with libraries that are declared, as their public face: grimp with import-linter.
        declared |= {"grimp"}
    if folder == "crm_server":
        declared |= {_name(requirement) for requirement in PROJECT["optional-dependencies"]["trial"]}
    owners = packages_distributions()
    undeclared = {
        name: str(path)
        for name, path in _imported(folder).items()
        if name not in {*PACKAGES, "tests"}
        and not declared & {_name(owner) for owner in owners.get(name, [name])}
    }
    assert undeclared == {}, "add them to pyproject.toml and run make lock"


@pytest.mark.parametrize("lock", ["run", "trial", "dev"])
def test_every_locked_version_has_a_hash_and_no_place(lock):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert not re.search(r"https?://|^-|file:", text, re.MULTILINE)


def test_run_and_development_use_the_same_versions():
    versions = {
        lock: set(
            re.findall(
                r"^[a-z0-9.\[\]_-]+==\S+",
                (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
        for lock in ("run", "dev")
    }
    assert versions["run"] <= versions["dev"]
