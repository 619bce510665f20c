"""The report: one HTML page with a summary of the results and the executed notebooks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from notebooks.headline import HEADLINE

# The charts of cells with this tag are also shown in the summary.
FRONT_TAG = "front"


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

    def headlines(self) -> list[dict[str, str]]:
        """The headlines, as dicts with `question` and `answer`, in order."""
        return [data[HEADLINE] for _, data in self._outputs() if HEADLINE in data]

    def front_charts(self) -> list[str]:
        """The charts for the summary: PNG in base64."""
        return [
            data["image/png"]
            for cell, data in self._outputs()
            if "image/png" in data and FRONT_TAG in cell.metadata.get("tags", [])
        ]

    def html(self) -> str:
        """The notebook as an HTML fragment."""
        exporter = HTMLExporter(template_name="basic")
        fragment, _ = exporter.from_notebook_node(self.notebook)
        return str(fragment)

    def _outputs(self) -> list[tuple[Any, dict[str, Any]]]:
        return [
            (cell, output.data)
            for cell in self.notebook.cells
            for output in cell.get("outputs", [])
            if "data" in output
        ]


def write(executed: list[Executed], machine: dict[str, Any], commit: str | None, path: Path) -> None:
    """Write the report to `path` as one self-contained file. `machine` is the result of `harness.machine.describe`."""
    template = jinja2.Template(Path(__file__).with_name("report.html.j2").read_text(), autoescape=True)
    page = template.render(
        notebooks=executed, machine=machine, commit=commit, highlighting=HtmlFormatter().get_style_defs(".highlight")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
