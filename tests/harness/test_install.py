"""`make setup` says how many packages of how many are there, and ends as pip does."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from harness import install
from tests.pages import ROOT


def wheel(folder: Path, name: str) -> str:
    """Make a package, and return its line in a lock file."""
    about = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(f"{name}.py", "")
        made.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        made.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{about}/RECORD", "")
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def installed(folder: Path, lock: str) -> subprocess.CompletedProcess[str]:
    """Install `lock` from the wheels in `folder` into a folder beside them."""
    (folder / "lock").write_text(lock)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_TARGET": str(folder / "there")}
    command = [sys.executable, "-m", "harness.install", str(folder / "lock")]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=os.environ | pip, timeout=120
    )


def test_it_says_how_far_it_is(tmp_path: Path) -> None:
    ended = installed(tmp_path, wheel(tmp_path, "one") + wheel(tmp_path, "two"))
    assert ended.returncode == 0, ended.stderr
    assert {path.name for path in (tmp_path / "there").glob("*.py")} == {"one.py", "two.py"}
    assert "packages: 2 of 2 fetched" in ended.stderr.splitlines()[-1]


def test_pips_error_is_said_and_is_the_commands(tmp_path: Path) -> None:
    ended = installed(tmp_path, wheel(tmp_path, "one") + f"missing==1.0 \\\n    --hash=sha256:{0:064}\n")
    assert ended.returncode == 1
    assert "missing" in ended.stderr


def test_packages_for_other_machines_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(
        "# a comment\none==1.0 \\\n    --hash=sha256:00\ntwo==2.0 ; sys_platform == 'amiga' \\\n    --hash=sha256:00\n"
        "three==3.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:00\n    # via one==1.0\n"
    )
    assert install.packages(tmp_path / "lock") == ["one==1.0", "three==3.0"]


def test_an_interrupted_setup_begins_again() -> None:
    """The stamp is written when all is there, and the folder is cleared at first."""
    recipe = (ROOT / "Makefile").read_text().partition("$(READY):")[2]
    steps = [recipe.index(step) for step in ("-m venv --clear", "-m harness.install", "--editable .", "touch $@")]
    assert steps == sorted(steps)


def test_the_lock_of_the_lab_is_read() -> None:
    names = {each.partition("==")[0] for each in install.packages(ROOT / "requirements.lock")}
    assert {"tornado", "pytest", "jupyterlab"} <= names
