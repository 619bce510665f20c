"""The reference servers keep the contract: each probe, on each of them."""

import shutil
from pathlib import Path

import pytest

from practice.mutants import REFERENCES
from tests.practice.probes import PROBES, practised

NAMES = ("flask_sqlite", "node", "stdlib", "lab")
# The lab's own service is tested elsewhere, and each start of it takes seconds: here it is asked what its adapter does.
OF_THE_ADAPTER = (
    "visits",
    "visits_last",
    "text_exact",
    "migration",
    "sms_signed",
    "sms_forged",
    "slack_commands",
    "slack_forged",
)

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
CASES = [
    pytest.param(name, probe, marks=needs_node if name == "node" else (), id=f"{name}-{probe}")
    for name in NAMES
    for probe in (OF_THE_ADAPTER if name == "lab" else PROBES)
]


def test_all_references_are_tested() -> None:
    assert {each.name for each in REFERENCES.iterdir() if each.is_dir()} == set(NAMES)


@pytest.mark.parametrize(("name", "probe"), CASES)
def test_it_keeps_the_contract(name: str, probe: str, tmp_path: Path) -> None:
    with practised(REFERENCES / name, tmp_path) as server:
        PROBES[probe](server)


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_it(name: str) -> None:
    assert f"[{name}]({name}/" in (REFERENCES / "README.md").read_text()
