"""The report: one HTML page with a summary of the results and the executed notebooks."""

import base64
import copy
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from notebooks.effort import is_quick
from notebooks.headline import HEADLINE

# The charts of cells with this tag are also shown in the summary.
FRONT_TAG = "front"
# Tasks for whoever works with the notebook: not shown, as nobody has done them.
TASK_TAG = "your-turn"
SVG, PNG, MARKUP = "image/svg+xml", "image/png", "text/html"


@dataclass(frozen=True)
class Picture:
    """A PNG in base64, and what it shows in words."""

    data: str
    alternative: str


@dataclass(frozen=True)
class Executed:
    """An executed notebook: its file's stem, its cells with outputs, its duration, and the error if it failed."""

    name: str
    notebook: nbformat.NotebookNode
    seconds: float
    failure: str | None = None

    @property
    def title(self) -> str:
        """The text of the first heading."""
        for cell in self.notebook.cells:
            if cell.cell_type == "markdown" and cell.source.startswith("# "):
                return str(cell.source.splitlines()[0].removeprefix("# "))
        return self.name

    def headlines(self) -> list[dict[str, Any]]:
        """The headlines, in order, as dicts with `question` and `answer`, and what else `Headline` tells."""
        return [output.data[HEADLINE] for _, output in self._outputs() if HEADLINE in output.data]

    def front_charts(self) -> list[str]:
        """The charts for the summary: PNG in base64."""
        return [each.data for each in self.pictures()]

    def pictures(self) -> list[Picture]:
        """The same with what they show in words."""
        return [
            Picture(output.data[PNG], _alternative(output, PNG) or f"A chart of {self.title}")
            for cell, output in self._outputs()
            if PNG in output.data and FRONT_TAG in cell.metadata.get("tags", [])
        ]

    def html(self) -> str:
        """The notebook as an HTML fragment, without its tasks. It can stand on a page with others."""
        shown = copy.deepcopy(self.notebook)
        shown.cells = [cell for cell in shown.cells if TASK_TAG not in cell.metadata.get("tags", [])]
        for output in (each for cell in shown.cells for each in cell.get("outputs", []) if SVG in each.get("data", {})):
            output.data = {MARKUP: _as_image(output)}
        fragment, _ = HTMLExporter(template_name="basic").from_notebook_node(shown)
        return _below_a_heading(_with_own_ids(str(fragment), self.name))

    def _outputs(self) -> list[tuple[Any, Any]]:
        return [
            (cell, output) for cell in self.notebook.cells for output in cell.get("outputs", []) if "data" in output
        ]


def write(executed: list[Executed], machine: dict[str, Any], commit: str | None, path: Path) -> None:
    """Write the report to `path` as one self-contained file. `machine` is the result of `harness.machine.describe`."""
    template = jinja2.Template(Path(__file__).with_name("report.html.j2").read_text(), autoescape=True)
    found = [(each.name, headline) for each in executed for headline in each.headlines()]
    page = template.render(
        notebooks=executed,
        answers=[each for each in found if each[1].get("said", True) and not each[1].get("more")],
        more=[each for each in found if each[1].get("said", True) and each[1].get("more")],
        unsaid=[each for each in found if not each[1].get("said", True)],
        quick=is_quick(),
        machine=machine,
        commit=commit,
        highlighting=HtmlFormatter().get_style_defs(".highlight"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)


def _alternative(output: Any, kind: str) -> str:
    return str(output.get("metadata", {}).get(kind, {}).get("alt", ""))


def _as_image(output: Any) -> str:
    """A drawing as an image: inside the page, its ids would meet those of other drawings."""
    data = base64.b64encode(output.data[SVG].encode()).decode()
    return f'<img alt="{html.escape(_alternative(output, SVG) or "A drawing")}" src="data:{SVG};base64,{data}">'


def _with_own_ids(fragment: str, name: str) -> str:
    """Put the notebook's name before its ids, and before the links to them."""
    return re.sub(r'(<[^>]*\b(?:id="|href="#))', rf"\g<1>{name}-", fragment)


def _below_a_heading(fragment: str) -> str:
    """Lower each heading by one level: the page has a heading of its own."""
    return re.sub(r"(</?h)([1-5])\b", lambda found: f"{found[1]}{int(found[2]) + 1}", fragment)
