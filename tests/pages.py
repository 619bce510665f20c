"""The pages of documentation, taken apart: their commands, code, links, headings, and instructions to change files."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
# "Write `a/b.py`:", "Append to `a/b.py`:", "Set in `a/b.py`:", each followed by code; or "Below `NAME` in `a/b.py`:" by
# the lines of a diff that are added.
INSTRUCTION = re.compile(
    r"(?P<verb>Write|Append to|Set in|Below)\s+(?:`(?P<name>\w+)`\s+in\s+)?`(?P<path>[^`]+)`:\n\n"
    r"```(?:python|diff|toml)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Instruction:
    """Code that a page tells to put into a file: as a new file, at its end, in the place of a line, or below a name."""

    verb: str
    name: str
    path: str
    code: str

    def follow(self, root: Path) -> None:
        """Change the file in the copy of the repository at `root`."""
        path = root / self.path
        if self.verb == "Write":
            assert not path.exists()
            path.write_text(self.code)
            return
        lines = path.read_text().splitlines(keepends=True)
        if self.verb == "Append to":
            lines += ["\n", "\n", self.code]
        elif self.verb == "Set in":
            place = _only_line(lines, self.code.split()[0])
            lines[place : place + 1] = [self.code]
        else:
            place = _only_line(lines, self.name)
            lines.insert(place + 1, self.code)
        path.write_text("".join(lines))


@dataclass(frozen=True)
class Page:
    """A Markdown file, or a section of one."""

    path: Path
    text: str = field(repr=False)

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return FENCED.sub("", self.text)

    @cached_property
    def inline(self) -> list[str]:
        """What stands in backticks."""
        return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """Where its links and pictures lead, unless to the web."""
        return re.findall(r"\]\((?!https?://)([^)\s]+)\)", self.prose)

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may name after `#`: the headings, as GitHub writes them."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}

    @cached_property
    def instructions(self) -> list[Instruction]:
        """What it tells to change, in order."""
        return [
            Instruction(
                each["verb"], each["name"] or "", each["path"], re.sub(r"^\+", "", each["code"], flags=re.MULTILINE)
            )
            for each in INSTRUCTION.finditer(self.text)
        ]

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of `language`, without the indentation of the list that they stand in."""
        return [
            re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
            for indent, found, code in FENCED.findall(self.text)
            if found == language
        ]

    def commands(self, word: str) -> list[str]:
        """The lines of its shell blocks and inline code that begin with `word`, without comments, each once."""
        lines = [line for block in self.blocks("sh") for line in block.splitlines()] + self.inline
        found = [line.split("  #")[0].strip() for line in lines]
        return list(dict.fromkeys(line for line in found if line.startswith(word)))

    def section(self, heading: str) -> "Page":
        """What stands below the second-level `heading`."""
        _, _, rest = self.text.partition(f"\n## {heading}\n")
        assert rest, f"{self.path} has no section {heading!r}"
        return Page(self.path, rest.split("\n## ")[0])


def read(path: Path) -> Page:
    """The page at `path`."""
    return Page(path, path.read_text())


def _only_line(lines: list[str], name: str) -> int:
    """Where the only line is that defines `name`."""
    (place,) = [number for number, line in enumerate(lines) if re.match(rf"\s*{name}\b.*[:=]", line)]
    return place


README = read(ROOT / "README.md")
CONTRIBUTING = read(ROOT / "CONTRIBUTING.md")
CHANGELOG = read(ROOT / "CHANGELOG.md")
DOCS = {path.stem: read(path) for path in sorted((ROOT / "docs").glob("*.md"))}
INDEX = read(ROOT / "docs" / "decisions" / "README.md")
DECISIONS = [read(path) for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))]
# Those that say how things are today; the others say how they became so.
CURRENT = [README, CONTRIBUTING, *DOCS.values()]
ALL = [*CURRENT, CHANGELOG, INDEX, *DECISIONS]
