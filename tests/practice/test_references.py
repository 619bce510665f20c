"""The reference servers keep the contract: probes of all that it asks, on real servers."""

import shutil
from pathlib import Path

import pytest

from practice.mutants import REFERENCES
from tests.practice.probes import PROBES, practised

# Servers are started and killed many times, on whatever machine this is.
pytestmark = pytest.mark.timeout(300)

# All of it in two languages. Of the others what is their own: promised staleness and a window, and the lab's adapter.
PROBES_OF = {
    "flask_sqlite": tuple(PROBES),
    "node": tuple(PROBES),
    "stdlib": ("identity", "kill_while_writing", "since", "migration", "sms_signed", "reads_under_writes", "storm"),
    "lab": ("visits_last", "migration", "sms_signed", "slack_commands"),
}

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
CASES = [
    pytest.param(name, probe, marks=needs_node if name == "node" else (), id=f"{name}-{probe}")
    for name, probes in PROBES_OF.items()
    for probe in probes
]


def test_all_references_are_tested() -> None:
    assert {each.name for each in REFERENCES.iterdir() if each.is_dir()} == set(PROBES_OF)


@pytest.mark.parametrize(("name", "probe"), CASES)
def test_it_keeps_the_contract(name: str, probe: str, tmp_path: Path) -> None:
    with practised(REFERENCES / name, tmp_path) as server:
        PROBES[probe](server)


@pytest.mark.parametrize("name", PROBES_OF)
def test_the_readme_names_it(name: str) -> None:
    assert f"[{name}]({name}/" in (REFERENCES / "README.md").read_text()
