"""The reference servers are right: every check of every stage passes, on real servers."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from practice import settings, stages
from practice.mutants import REFERENCES, Change, Mutant
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

# What comes of a storm of writes is judged by its times: `alone`.
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
CASES = [
    pytest.param(
        name,
        stage,
        marks=[*([needs_node] if name == "node" else []), *([pytest.mark.alone] if stage == "writes" else [])],
        id=f"{name}-{stage}",
    )
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


# Limiters that are right too: one that allows no burst, and a log of the last second's writes.
NO_BURST = (
    Change("node/limit.mjs", "this.#tokens = rate;", "this.#tokens = 1;"),
    Change("node/limit.mjs", "Math.min(this.#rate,", "Math.min(1,"),
)
LOG = (
    Change("node/limit.mjs", "  #tokens;\n", "  #times = [];\n"),
    Change("node/limit.mjs", "    this.#tokens = rate;\n", ""),
    Change(
        "node/limit.mjs",
        """\
    this.#tokens = Math.min(this.#rate, this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate);
    this.#filledAt = now;
    if (this.#tokens < 1) return (1 - this.#tokens) / this.#rate;
    this.#tokens -= 1;
""",
        """\
    this.#times = this.#times.filter((time) => time > now - 1000);
    if (this.#times.length >= this.#rate) return (this.#times[0] + 1000 - now) / 1000;
    this.#times.push(now);
""",
    ),
)


@needs_node
@pytest.mark.alone
@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        # How many it admits in a storm depends on how evenly the writes of that come: that is not asked.
        pytest.param(NO_BURST, ["writes.calm", "writes.normal"], id="no burst"),
        pytest.param(LOG, [check.id for check in stages.find("writes").checks], id="log of a second"),
    ],
)
def test_other_limiters_that_are_right_pass(changes: tuple[Change, ...], checks: list[str], tmp_path: Path) -> None:
    Mutant("another_limiter", "writes.limited", "It limits in another way.", changes).write(tmp_path / "node")
    stage = replace(stages.find("writes"), checks=[stages.check(id) for id in checks])
    result = run_stage(settings.of_folder(tmp_path / "node"), stage)
    assert [each for each in result.checks if each.outcome != "pass"] == []


@pytest.mark.parametrize("name", STAGES_OF)
def test_the_readme_names_it(name: str) -> None:
    assert f"[{name}]({name}/" in (REFERENCES / "README.md").read_text()
