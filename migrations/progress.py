"""Progress bars with documents, rate and time left: one for each step that has documents to change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Never

from harness.progress import Bar
from harness.progress import bar as one_bar


@contextmanager
def bars(always: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback for `Options.progress` that draws bars on stderr, if it is a terminal or with `always`."""
    shown: dict[str, Bar[Never]] = {}

    def progress(step: str, done: int, total: int) -> None:
        if step not in shown:
            for each in shown.values():
                each.close()
            shown[step] = one_bar(
                step, total, initial=done, unit=" documents", unit_scale=True, disable=False if always else None,
                leave=always,
            )  # fmt: skip
        shown[step].total = total
        shown[step].update(done - shown[step].n)

    try:
        yield progress
    finally:
        for each in shown.values():
            each.close()
