"""One wheel installs the whole product, and each of its top-level names is ours."""

import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("crm_server", "security", "compliance", "backup", "monitoring", "deploy")
NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv", "var", "node_modules", "build", "*.egg-info", "__pycache__", ".*cache", ".hypothesis"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The product's wheel, built from a copy so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source") / "kontor"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCES)
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*command, "--wheel-dir", target, source], check=True)
    (built,) = target.glob("kontor-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    libraries = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(libraries)
    return python


def test_each_top_level_name_resolves_to_the_installed_product(installed):
    program = f"import importlib; [print(importlib.import_module(name).__file__) for name in {PACKAGES!r}]"
    printed = subprocess.run(
        [installed, "-c", program], check=True, capture_output=True, text=True, cwd="/"
    ).stdout.split()
    home = installed.parents[1]
    assert [Path(path).parent.name for path in printed] == list(PACKAGES)
    assert all(Path(path).is_relative_to(home) for path in printed)


def test_no_library_brings_a_package_of_the_same_name():
    owners = packages_distributions()
    assert {name: owners.get(name, ["kontor"]) for name in PACKAGES} == {
        name: ["kontor"] for name in PACKAGES
    }


def test_the_wheel_holds_nothing_but_the_product(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.startswith("kontor-")} == set(PACKAGES)


def test_the_wheel_holds_every_file_that_the_product_reads(wheel):
    kinds = {".py", ".jinja2", ".sql", ".mako", ".json", ".toml", ".yml", ".yaml", ".csv"}
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in kinds
        and "__pycache__" not in path.parts
        and "crm_server/web/assets/src/" not in str(path)
    }
    with zipfile.ZipFile(wheel) as archive:
        assert expected - set(archive.namelist()) == set()
