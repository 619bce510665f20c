"""The documentation is true: what it tells to type is understood, and what it tells to add works when it is added."""

import ast
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import requests
import yaml

from harness import servers
from harness.servers import Server
from migrations.database import Database
from tests import commands, pages
from tests.notebooks import committed
from tests.pages import ROOT, Page

EXTENDING = pages.DOCS["extending"]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
URL = "http://127.0.0.1:8000"
# Commands about what exists only when one has followed docs/extending.md, as the last tests here do.
# Or about a service of the reader's own.
WHEN_FOLLOWED = re.compile(r" (questions|flask-constant) | shop\.py:")
NAMED_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*/(?:[\w-]+\.(?:py|ipynb|md|yaml|lua))?")


def of_pages(found: Iterator[tuple[Page, str]]) -> list[object]:
    """Parameters of a test: what was found in which page."""
    return [pytest.param(page, what, id=f"{page.path.name}-{what}") for page, what in found]


def parse(module: str, words: list[str]) -> None:
    """Let the command of `module` read its arguments, and go no further."""
    imported = importlib.import_module(module)
    command = (
        importlib.import_module(f"{module}.__main__").command if hasattr(imported, "__path__") else imported.command
    )
    if words[-1:] == ["--help"]:
        words.pop()
    if isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    if words:
        command.make_context(module, words).close()


# What every page promises.


@pytest.mark.parametrize(
    ("page", "line"), of_pages((page, each) for page in pages.CURRENT for each in page.commands("make "))
)
def test_what_it_makes_can_be_made(page: Page, line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize(
    ("page", "line"),
    of_pages(
        (page, each) for page in pages.CURRENT for each in page.commands("python -m ") if not WHEN_FOLLOWED.search(each)
    ),
)
def test_its_commands_are_understood(page: Page, line: str) -> None:
    _, _, module, *words = shlex.split(line, comments=True)
    parse(module, words)


@pytest.mark.parametrize("flags", [each for page in pages.CURRENT for each in page.commands("--") if " --" in each])
def test_settings_that_it_shows_together_are_the_servers(flags: str) -> None:
    parse("server", shlex.split(flags))


@pytest.mark.parametrize("flags", pages.README.commands("--"))
def test_the_flags_that_the_readme_tells_to_try_are_the_servers(flags: str) -> None:
    parse("server", shlex.split(flags))


@pytest.mark.parametrize(("page", "link"), of_pages((page, each) for page in pages.ALL for each in page.links))
def test_its_links_lead_to_files_and_headings(page: Page, link: str) -> None:
    name, _, anchor = link.partition("#")
    target = (page.path.parent / name).resolve() if name else page.path
    assert target.exists()
    assert not anchor or anchor in pages.read(target).anchors


@pytest.mark.parametrize("page", pages.CURRENT, ids=lambda page: page.path.name)
def test_the_files_that_it_names_exist(page: Page) -> None:
    added = {each.path for each in page.instructions if each.verb == "Write"} | {"notebooks/10_questions.ipynb"}
    named = {each for each in page.inline if NAMED_FILE.fullmatch(each) and not each.startswith((".lab", ".venv"))}
    assert {each for each in named - added if not (ROOT / each).exists()} == set()


@pytest.mark.parametrize("page", pages.CURRENT, ids=lambda page: page.path.name)
def test_what_its_python_imports_is_there(page: Page) -> None:
    told = {each.code for each in page.instructions}
    for code in page.blocks("python"):
        for node in ast.walk(ast.parse(code)) if code not in told else ():
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for each in node.names:
                    assert hasattr(module, each.name) or importlib.import_module(f"{node.module}.{each.name}")


def test_pre_commit_runs_what_make_check_runs() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [line.strip().removeprefix("@").replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in repository["hooks"]] == made


# The picture of the folders.


def imports() -> set[tuple[str, str]]:
    """Which folder imports which, in its modules and notebooks."""
    found = set()
    sources = {path: path.read_text() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for path, text in committed.notebooks().items():
        code = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        sources[ROOT / path] = "\n".join(code)
    for path, source in sources.items():
        folder = path.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(source)):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {(folder, name.split(".")[0]) for name in names}
    return {(a, b) for a, b in found if a != b and b in FOLDERS}


def test_the_picture_of_the_folders_has_an_arrow_for_every_import() -> None:
    picture = pages.DOCS["architecture"].blocks("mermaid")[0]
    arrows = set(re.findall(r"^ +(\w+) --> (\w+)$", picture, re.MULTILINE))
    made = {(a, b) for a, b in imports() if a != "tests"}
    assert ("server", "harness") in made
    assert made - arrows == set()


def test_what_the_picture_says_runs_as_a_command_is_not_imported() -> None:
    picture = pages.DOCS["architecture"].blocks("mermaid")[0]
    run = set(re.findall(r"^ +(\w+) -\.-> (\w+)$", picture, re.MULTILINE))
    assert ("server", "migrations") in run
    assert run & imports() == set()


# Decisions.

STATUS = re.compile(r"accepted|over|superseded by \[(\d{4})\]\((\1-[\w-]+\.md)\)")
SECTIONS = ["Context", "Decision", "Price", "What would change it"]


def number(decision: Page) -> int:
    return int(decision.path.name[:4])


def line_of(decision: Page, name: str) -> str:
    """What the decision's line `name` says, such as its date."""
    (found,) = re.findall(rf"^{name}: (.*)$", decision.text, re.MULTILINE)
    return str(found)


def title(decision: Page) -> str:
    (found,) = re.findall(r"\A# \d+\. (.+)$", decision.text, re.MULTILINE)
    return str(found)


def test_decisions_are_numbered_by_date_without_a_gap() -> None:
    assert [number(each) for each in pages.DECISIONS] == list(range(1, len(pages.DECISIONS) + 1))
    dates = [line_of(each, "Date") for each in pages.DECISIONS]
    assert dates == sorted(dates)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", each) for each in dates)


@pytest.mark.parametrize("decision", pages.DECISIONS, ids=lambda page: page.path.stem)
def test_a_decision_has_its_parts(decision: Page) -> None:
    assert decision.text.startswith(f"# {number(decision)}. ")
    sections = re.findall(r"^## (.*)$", decision.text, re.MULTILINE)
    assert sections in (SECTIONS, SECTIONS[:3])
    assert all(decision.section(each).text.strip() for each in sections)


@pytest.mark.parametrize("decision", pages.DECISIONS, ids=lambda page: page.path.stem)
def test_a_decision_that_is_superseded_names_a_later_one(decision: Page) -> None:
    status = STATUS.fullmatch(line_of(decision, "Status"))
    assert status
    if status[1]:
        (successor,) = [each for each in pages.DECISIONS if each.path.name == status[2]]
        assert number(successor) > number(decision)


def test_the_index_has_every_decision_once_with_its_title_and_status() -> None:
    rows = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+\.md)\) \| (.+) \|$", pages.INDEX.text, re.MULTILINE)
    expected = [
        (str(number(each)), title(each), each.path.name, re.sub(r"\[(\d+)\]\(.*\)", r"\1", line_of(each, "Status")))
        for each in pages.DECISIONS
    ]
    assert sorted(rows, key=lambda row: int(row[0])) == expected


# What docs/extending.md says, done on a copy.


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, which the commands that a test starts there run instead of this."""
    root = tmp_path / "copy"
    for folder in FOLDERS:
        if folder != "tests":
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(root))
    return root


def followed(heading: str, root: Path) -> Page:
    """The section of docs/extending.md, after its instructions were followed in `root`."""
    section = EXTENDING.section(heading)
    assert section.instructions
    for each in section.instructions:
        each.follow(root)
    return section


def run(line: str, root: Path) -> str:
    """Run a `python -m` command of the page on the copy; returns what it says."""
    _, _, *words = shlex.split(line)
    ended = commands.run(*words, cwd=root)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def evaluated(code: str, root: Path) -> object:
    """The JSON that `code` prints when it runs on the copy."""
    command = [sys.executable, "-c", f"import json; {code}"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=root, check=True).stdout)


def test_a_migration_is_added_as_the_page_says(
    copy: Path, mongodb_uri: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = followed("A migration", copy)
    monkeypatch.setenv("LAB_MONGODB_URI", mongodb_uri)
    lines = [each.replace("practice", db.name) for each in section.commands("python -m migrations")]
    done = {line.split()[3]: run(line, copy) for line in lines[:-1]}
    assert list(done) == ["seed", "plan", "up", "verify"]
    assert re.search(r"^0007_by_author +0 documents   Find what somebody wrote", done["plan"], re.MULTILINE)
    assert "0007_by_author: made index by_author" in done["up"]
    assert re.search(r"^0007_by_author +proved$", done["verify"], re.MULTILINE)
    assert "by_author" in db.messages.index_information()

    assert "0007_by_author: dropped index by_author" in run(lines[-1], copy)
    assert "by_author" not in db.messages.index_information()
    assert db.messages.count_documents({}) == 1000


def test_the_service_expects_the_migration_that_the_page_adds(copy: Path) -> None:
    followed("A migration", copy)
    code = "from server.versions import EXPECTED; from migrations.runner import steps"
    assert evaluated(f"{code}; print(json.dumps([EXPECTED, steps()[-1].number]))", copy) == [7, 7]


def test_a_scenario_is_added_as_the_page_says(copy: Path, shared_server: Server) -> None:
    (line,) = followed("A scenario", copy).commands("python -m loadtests")
    said = run(line.replace(URL, shared_server.url), copy)
    (answered,) = re.findall(r"^successful requests/s +([\d.,]+)$", said, re.MULTILINE)
    assert float(answered.replace(",", "")) > 0
    (folder,) = re.findall(r"^run folder +(.+)$", said, re.MULTILINE)
    assert Path(folder).is_relative_to(copy)
    requested = (Path(folder) / "requests.csv").read_text()
    # A question and a look, to three looks at what came lately.
    assert requested.count("POST /messages") > 0
    assert requested.count("GET /messages") > 2 * requested.count("POST /messages")


def test_a_setting_is_added_as_the_page_says(copy: Path) -> None:
    (line,) = followed("A setting of the service", copy).commands("python -m server")
    said = run(line, copy)
    assert "--max-page" in said
    assert "LAB_MAX_PAGE" in said


def test_a_peer_is_added_as_the_page_says(copy: Path, tmp_path: Path) -> None:
    followed("A peer of the bench", copy)
    command = evaluated("from loadtests.peers import COMMANDS; print(json.dumps(COMMANDS['starlette_constant']))", copy)
    assert isinstance(command, list)
    (tmp_path / "body").write_bytes(b'{"messages": []}')
    environment = {"BODY": str(tmp_path / "body")}
    start = [sys.executable, "-m", *command]
    with servers.running(start, tmp_path / "log", ready="/messages", environment=environment, cwd=copy) as peer:
        assert requests.get(f"{peer.url}/messages", timeout=10).content == b'{"messages": []}'
    rows = evaluated("from loadtests.rows import ROWS; print(json.dumps([row.name for row in ROWS]))", copy)
    assert isinstance(rows, list)
    assert "starlette" in rows


def test_a_practice_check_is_added_as_the_page_says(copy: Path) -> None:
    section = followed("A practice check", copy)
    passes, caught = (
        run(line, copy)
        for line in section.commands("python -m practice check")[:1]
        + section.commands("python -m practice selftest --only")
    )
    assert re.search(r"^stage 2  messages +17 of 17$", passes, re.MULTILINE)
    assert re.search(r"^  ✓ twins_are_one +messages.twins$", caught, re.MULTILINE)
    shown = run("python -m practice show 2", copy)
    assert "messages.twins          two messages with the same text are two" in shown
    assert "look at the list" in run("python -m practice hint messages.twins", copy)
