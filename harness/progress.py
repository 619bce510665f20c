"""Progress bars, each with what is being done and how long is left: in a terminal, or in the output of a cell.

On stderr if that is a terminal. In a notebook as text that the cell updates, because widgets need an extension and a
browser; bars within a bar are lines of the same output, and at its end one line remains. Else there are none.
"""

import sys
from typing import Any, ClassVar

from tqdm import tqdm

FORMAT = "{desc} {percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt}{unit}, {elapsed}, about {remaining} left"
ENDED = "{desc}: {n_fmt} of {total_fmt}{unit} in {elapsed}"
COLUMNS = 100
TEXT = "text/plain"

Bar = tqdm  # what `bar` returns: `update`, `set_description`, `n`, `total`


def bar(description: str, total: float, **options: Any) -> "tqdm[Any]":
    """A progress bar from 0 to `total`, to be closed or used as a context manager. `options` are those of tqdm."""
    kind: Any = _InCell if in_notebook() else tqdm
    defaults = {"desc": description, "total": total, "bar_format": FORMAT, "unit": "", "leave": False}
    drawn: tqdm[Any] = kind(**defaults | {"file": sys.stderr, "disable": None} | options)
    return drawn


def in_notebook() -> bool:
    """Whether this code runs in a cell of a notebook, and not in a terminal or a command."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython else None, "kernel")


class _InCell(tqdm):  # type: ignore[type-arg]  # tqdm is generic for mypy only
    """A bar in the output of a cell. Those that are open at a time share the output of the first."""

    _open: ClassVar[list["_InCell"]] = []
    _output: ClassVar[Any] = None  # of IPython.display.display, while one is open

    def __init__(self, **options: Any) -> None:
        # `gui` keeps tqdm from printing, as in its own bars for notebooks.
        super().__init__(**options | {"disable": False, "gui": True, "ncols": COLUMNS, "delay": 0})
        _InCell._open.append(self)
        self.refresh()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show all bars that are open."""
        self._show("\n".join(map(str, self._open)))

    def close(self) -> None:
        """Take this bar away. Of the last one a line remains, with what was done and how long it took."""
        if not self.disable:
            # Not `remove`: to tqdm, bars in the same place are equal.
            _InCell._open = [each for each in self._open if each is not self]
            ended = self.format_meter(**{**self.format_dict, "bar_format": ENDED})
            self._show("\n".join(map(str, self._open)) or ended)
            if not self._open:
                _InCell._output = None
        super().close()

    def _show(self, text: str) -> None:
        from IPython.display import display  # only there in a notebook

        if self._output is None:
            _InCell._output = display({TEXT: text}, raw=True, display_id=True)
        else:
            self._output.update({TEXT: text}, raw=True)
