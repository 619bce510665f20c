"""The first hour in a real browser: what `make jupyter` starts, Run All, progress, charts, a changed cell."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from notebooks.prevented import is_of_the_machine
from tests import commands
from tests.notebooks import browser, jupyterlab
from tests.notebooks.browser import KERNEL_IS_READY, cells, outputs, texts, wait

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.alone, pytest.mark.timeout(2400)]

PROGRESS = re.compile(r"(\d+)% .* left")
EXPOSED = "--LabApp.expose_app_in_browser=True"
START_SECONDS, RUN_SECONDS = 240, 1500


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(chromium: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab as `make jupyter QUICK=1` starts it."""
    assert chromium.is_connected()
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab.started(folder, jupyter=[EXPOSED], LAB_QUICK="1") as running:
        yield running.address()
        assert running.ctrl_c() == 0


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


def open_notebook(page: "Page", address: str, name: str) -> None:
    """Open a notebook, as a click in the list of files does, and wait until its kernel is there."""
    page.goto(address.replace("/lab?", f"/lab/tree/{name}?reset&"))
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=START_SECONDS * 1000)
    page.wait_for_function(KERNEL_IS_READY, timeout=START_SECONDS * 1000)


def run_all(page: "Page") -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    wait(page, lambda: any(cell["count"] or cell["running"] for cell in cells(page)), START_SECONDS)


def has_run(page: "Page") -> bool:
    """Whether every cell was run, or one has failed."""
    return all(cell["count"] and not cell["running"] for cell in cells(page)) or bool(errors(page))


def errors(page: "Page") -> list[str]:
    return [f"{each['ename']}: {each['evalue']}" for each in outputs(page) if each["output_type"] == "error"]


def test_the_first_notebook_is_run_and_a_cell_of_it_is_changed(page: "Page", address: str) -> None:
    open_notebook(page, address, "00_start.ipynb")
    run_all(page)
    wait(page, lambda: has_run(page), START_SECONDS)
    assert errors(page) == []
    assert "Hello, is anybody there?" in "".join(texts(page))
    assert "lunch at noon?" not in "".join(texts(page))

    changed = next(number for number, cell in enumerate(cells(page)) if "client.send" in cell["source"])
    before = cells(page)[changed]["count"]
    page.locator(".jp-CodeCell .cm-content").nth(changed).click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text('client.send("lunch at noon?", author="mia")')
    page.keyboard.press("Shift+Enter")
    wait(page, lambda: cells(page)[changed]["count"] not in (None, before), START_SECONDS)
    assert errors(page) == []
    assert "lunch at noon?" in "".join(texts(page))
    page.get_by_text("lunch at noon?").last.wait_for()  # it can be seen, too


def test_a_notebook_that_measures_shows_progress_and_charts(page: "Page", address: str) -> None:
    open_notebook(page, address, "04_reads.ipynb")
    seen: set[str] = set()
    run_all(page)

    def looked_at() -> bool:
        seen.update(found[0] for text in texts(page) for found in PROGRESS.finditer(text))
        return has_run(page)

    wait(page, looked_at, RUN_SECONDS)
    # What it finds is judged by `make lab`, from longer measurements, and not by a test: its last cell may not agree.
    assert [each for each in errors(page) if not (is_of_the_machine(each) or each.startswith("AssertionError"))] == []
    assert len({PROGRESS.match(each)[1] for each in seen}) >= 3  # type: ignore[index]
    assert not any(PROGRESS.search(text) for text in texts(page))  # of each bar one line remains
    charts = [each for each in outputs(page) if "image/png" in each.get("data", {})]
    assert len(charts) >= 6
    image = page.locator(".jp-OutputArea-output img").first
    image.scroll_into_view_if_needed()
    assert image.evaluate("image => image.complete && image.naturalWidth > 100")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two notebooks that measure nothing."""
    path = tmp_path_factory.mktemp("report") / "index.html"
    ended = commands.run("notebooks", "run", "00", "01", "--report", path)
    assert ended.returncode == 0, ended.stderr
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_is_as_wide_as_the_window(page: "Page", report: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report.as_uri())
    wide = page.evaluate(
        "[...document.body.querySelectorAll('*')].filter(each => each.getBoundingClientRect().right > innerWidth + 1)"
        ".map(each => `${each.tagName} ${each.className}`)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width, wide[:5]


def test_the_report_has_one_title_and_no_id_twice(page: "Page", report: Path) -> None:
    page.goto(report.as_uri())
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert [each for each in ids if ids.count(each) > 1] == []
    assert page.locator("h1").count() == 1
