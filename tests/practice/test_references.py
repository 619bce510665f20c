"""The reference servers are right: every check of every stage passes, on real servers."""

import shutil
from pathlib import Path

import pytest

from practice import settings, stages
from practice.mutants import REFERENCES
from practice.runner import run_stage

# Servers are started and killed many times, on whatever machine this is.
pytestmark = pytest.mark.timeout(300)

ALL = tuple(stage.name for stage in stages.STAGES)
# All stages in one language. Of the others what is their own: files, promised staleness, a window, an adapter.
STAGES_OF = {
    "flask_sqlite": ALL,
    "node": ("messages", "time", "slack", "writes"),
    "stdlib": ("time", "twilio", "reads"),
    "lab": ("scaffolding", "replies"),
}

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
CASES = [
    pytest.param(name, stage, marks=needs_node if name == "node" else (), id=f"{name}-{stage}")
    for name, chosen in STAGES_OF.items()
    for stage in chosen
]


def test_all_references_are_tested() -> None:
    assert {each.name for each in REFERENCES.iterdir() if each.is_dir()} == set(STAGES_OF)


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_it_passes_every_check(name: str, stage: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(REFERENCES / name, folder, ignore=shutil.ignore_patterns(".practice", "__pycache__"))
    result = run_stage(settings.of_folder(folder), stages.find(stage))
    assert [each for each in result.checks if each.outcome != "pass"] == []
    assert len(result.checks) == len(stages.find(stage).checks) > 0


@pytest.mark.parametrize("name", STAGES_OF)
def test_the_readme_names_it(name: str) -> None:
    assert f"[{name}]({name}/" in (REFERENCES / "README.md").read_text()
