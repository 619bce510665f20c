"""A learner's copies of the notebooks: they follow their originals, and nothing that a learner did is lost."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from notebooks import copies

NAME = "04_reads.ipynb"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "repository" / NAME
    path.parent.mkdir()
    write(path, "1 + 1")
    return path


@pytest.fixture
def mine(tmp_path: Path, original: Path) -> Path:
    """The folder of the copies, with a copy of `original`."""
    folder = tmp_path / "mine"
    assert copies.refresh([original], folder) == []
    return folder


def write(path: Path, source: str, output: str = "", **metadata: object) -> None:
    outputs = [new_output("stream", text=output)] if output else []
    nbformat.write(new_notebook(cells=[new_code_cell(source, outputs=outputs)], metadata=metadata), path)


def sources(folder: Path) -> dict[str, str]:
    return {path.name: nbformat.read(path, 4).cells[0].source for path in folder.glob("*.ipynb")}


def test_a_copy_is_made(original: Path, mine: Path) -> None:
    assert (mine / NAME).read_bytes() == original.read_bytes()


def test_a_copy_that_was_only_opened_follows_its_original(original: Path, mine: Path) -> None:
    write(mine / NAME, "1 + 1", kernelspec={"name": "python3", "display_name": "Python 3"})
    write(original, "2 + 2")
    assert copies.refresh([original], mine) == []
    assert sources(mine) == {NAME: "2 + 2"}


@pytest.mark.parametrize(("source", "output"), [("1 + 1; mine()", ""), ("1 + 1", "what it said")])
def test_what_a_learner_did_stays_as_long_as_the_original_does(
    original: Path, mine: Path, source: str, output: str
) -> None:
    write(mine / NAME, source, output)
    theirs = (mine / NAME).read_bytes()
    assert copies.refresh([original], mine) == []
    assert (mine / NAME).read_bytes() == theirs


@pytest.mark.parametrize(("source", "output"), [("1 + 1; mine()", ""), ("1 + 1", "what it said")])
def test_both_are_kept_when_both_have_changed_and_that_is_said(
    original: Path, mine: Path, source: str, output: str
) -> None:
    for number, new in enumerate(("2 + 2", "3 + 3"), start=1):
        write(mine / NAME, source, output)
        write(original, new)
        (said,) = copies.refresh([original], mine)
        assert NAME in said
        assert f"04_reads-mine-{number}.ipynb" in said
        assert copies.refresh([original], mine) == []
    assert sources(mine) == {NAME: "3 + 3", "04_reads-mine-1.ipynb": source, "04_reads-mine-2.ipynb": source}


def test_a_copy_that_is_no_notebook_any_more_is_kept_too(original: Path, mine: Path) -> None:
    (mine / NAME).write_text("what was that?")
    write(original, "2 + 2")
    (said,) = copies.refresh([original], mine)
    assert (mine / "04_reads-mine-1.ipynb").read_text() == "what was that?"
    assert "04_reads-mine-1.ipynb" in said


def test_a_learners_own_notebooks_are_left_alone(original: Path, mine: Path) -> None:
    write(mine / "09_questions.ipynb", "mine()")
    write(original, "2 + 2")
    copies.refresh([original], mine)
    assert sources(mine) == {NAME: "2 + 2", "09_questions.ipynb": "mine()"}
