"""What limits many workers is measured, and the page has the rows that the command prints."""

import re

from tests.commands import run
from tests.pages import DOCS


def labels(text: str) -> list[str]:
    """The first column of the tables that begin as the command's do."""
    return re.findall(r"^\| ([^|]+?) \| (?:[^|]+ \| )?-?[\d,]+(?:/s| µs) \|$", text, re.MULTILINE)


def test_the_page_has_what_the_command_measures() -> None:
    ended = run("loadtests.scaling", "--seconds", "0.2", "--messages", "500")
    assert ended.returncode == 0, ended.stderr
    printed = labels(ended.stdout)
    assert len(printed) == 15
    assert labels(DOCS["scaling"].text) == printed
