"""The stages, in the order in which they build on each other."""

from practice.check import Check, Stage
from practice.checks import messages, scaffolding

STAGES: tuple[Stage, ...] = (scaffolding.STAGE, messages.STAGE)


def find(name: str) -> Stage:
    """The stage with this number or name. Raises `KeyError`."""
    return next(iter([each for each in STAGES if name in {str(each.number), each.name}]), None) or _unknown(name)


def check(id: str) -> Check:
    """The check with this id. Raises `KeyError`."""
    return {each.id: each for stage in STAGES for each in stage.checks}[id]


def _unknown(name: str) -> Stage:
    raise KeyError(name)
