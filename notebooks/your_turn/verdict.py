"""What a check of a task says: right, or not yet and a hint."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, what was seen of it, and where to look if it is not."""

    right: bool
    seen: str
    hint: str = ""

    def __repr__(self) -> str:
        return f"right: {self.seen}" if self.right else f"not yet: {self.seen}\nhint: {self.hint}"


def right(seen: str) -> Verdict:
    """The answer is right."""
    return Verdict(True, seen)


def not_yet(seen: str, hint: str) -> Verdict:
    """The answer is not right yet."""
    return Verdict(False, seen, hint)


def task(begin: str) -> Callable[[Callable[..., Verdict]], Callable[..., Verdict]]:
    """Make a check that never raises; `begin` is the hint for who has not begun, or whose answer cannot be tried.

    An answer that is still `...` is not tried at all.
    """

    def decorate(judge: Callable[..., Verdict]) -> Callable[..., Verdict]:
        @functools.wraps(judge)
        def check(*given: Any) -> Verdict:
            if any(each is ... for each in given):
                return not_yet("there is no answer in place of `...`", begin)
            try:
                return judge(*given)
            except Exception as error:  # whatever a learner's answer does, the notebook goes on
                return not_yet(f"{type(error).__name__}: {error}", begin)

        return check

    return decorate
