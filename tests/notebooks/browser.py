"""A real browser for tests: Chromium without a window, driven by Playwright."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The code cells of the notebook that is open, as JupyterLab has them: those that are out of sight are not on the page.
CELLS = """() => {
    const panel = window.jupyterapp.shell.currentWidget
    return [...panel.content.model.cells].filter(cell => cell.type === 'code').map(cell => ({
        count: cell.executionCount,
        running: cell.executionState === 'running',
        source: cell.sharedModel.getSource(),
        outputs: cell.sharedModel.getOutputs(),
    }))
}"""

# What is shown as idle may not be connected yet, and then cells are not run.
KERNEL_IS_READY = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext
    const kernel = context?.isReady && context.session?.kernel
    return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle'
}"""


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Chromium, while the block runs; the test is skipped where it or Playwright is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def wait(page: "Page", condition: Callable[[], object], seconds: float) -> None:
    """Ask `condition` until it is true, while the page goes on; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not become true within {seconds} s"
        page.wait_for_timeout(200)  # Playwright's events are handled in here


def cells(page: "Page") -> list[dict[str, Any]]:
    """The code cells of the open notebook: count, running, source, outputs."""
    found: list[dict[str, Any]] = page.evaluate(CELLS)
    return found


def outputs(page: "Page") -> list[dict[str, Any]]:
    """All outputs of the open notebook."""
    return [output for cell in cells(page) for output in cell["outputs"]]


def texts(page: "Page") -> list[str]:
    """The outputs that are plain text."""
    return ["".join(each["data"].get("text/plain", "")) for each in outputs(page) if "data" in each]
