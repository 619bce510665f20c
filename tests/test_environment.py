"""What the project is installed from: the lock, the conda environment and the list of packages agree."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
LOCK = (ROOT / "requirements.lock").read_text()
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DIRECT = [*PROJECT["dependencies"], *EXTRAS["peers"], *EXTRAS["dev"]]

# Everything of one requirement: its line, and the indented ones that follow.
LOCKED = re.compile(r"^([\w.-]+)==([^\s;]+)(.*(?:\n[ #].*)*)", re.MULTILINE)


def locked() -> dict[str, str]:
    """The version of each package in the lock."""
    return {canonicalize_name(name): version for name, version, _ in LOCKED.findall(LOCK)}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


# requirements.lock


def test_every_line_of_the_lock_belongs_to_a_pinned_package() -> None:
    assert LOCKED.sub("", LOCK).strip() == ""


def test_every_package_is_hashed() -> None:
    assert [name for name, _, rest in LOCKED.findall(LOCK) if "--hash=sha256:" not in rest] == []


def test_the_lock_names_no_index() -> None:
    for words in ("--index-url", "--extra-index-url", "--find-links", "--trusted-host", "://"):
        assert words not in LOCK


@pytest.mark.parametrize("requirement", [*DIRECT, *EXTRAS["mongod"]])
def test_the_lock_holds_what_is_asked_for(requirement: str) -> None:
    wanted = Requirement(requirement)
    versions = [version for name, version, _ in LOCKED.findall(LOCK) if canonicalize_name(name) == wanted.name.lower()]
    assert any(wanted.specifier.contains(version, prereleases=True) for version in versions)


# environment.yml


def test_conda_gets_mongodb_from_conda_forge() -> None:
    assert CONDA["channels"] == ["conda-forge"]
    assert any(re.match(r"mongodb\b", each) for each in CONDA["dependencies"] if isinstance(each, str))


def test_conda_gets_the_versions_of_the_lock() -> None:
    (pip,) = [each["pip"] for each in CONDA["dependencies"] if isinstance(each, dict)]
    names = [canonicalize_name(Requirement(each).name) for each in DIRECT]
    assert pip == [*(f"{name}=={locked()[name]}" for name in names), "--editable ."]


def test_condas_python_is_one_the_project_runs_on() -> None:
    (python,) = [each for each in CONDA["dependencies"] if str(each).startswith("python=")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))


# pyproject.toml


def test_every_package_is_installed() -> None:
    found = {file.parent.relative_to(ROOT) for file in tracked() if file.name == "__init__.py"}
    packages = {".".join(folder.parts) for folder in found if folder.parts[0] != "tests"}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == packages


def test_every_package_is_checked() -> None:
    folders = {name.split(".")[0] for name in PYPROJECT["tool"]["setuptools"]["packages"]}
    assert set(PYPROJECT["tool"]["mypy"]["packages"]) == folders
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == folders


# All files.


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = [f"/{folder}/".encode() for folder in ("home", "Users", "root")]
    found = [file for file in tracked() if any(place in file.read_bytes() for place in places)]
    assert found == []
