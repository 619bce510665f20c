"""The stages, in the order in which they build on each other."""

from practice.check import Check, Stage
from practice.checks import messages, mixed, reads, replies, scaffolding, slack, time, twilio, writes

STAGES: tuple[Stage, ...] = (
    scaffolding.STAGE,
    messages.STAGE,
    time.STAGE,
    replies.STAGE,
    twilio.STAGE,
    slack.STAGE,
    reads.STAGE,
    writes.STAGE,
    mixed.STAGE,
)


def find(name: str) -> Stage:
    """The stage with this number or name. Raises `KeyError`."""
    return {key: stage for stage in STAGES for key in (str(stage.number), stage.name)}[name]


def check(id: str) -> Check:
    """The check with this id. Raises `KeyError`."""
    return {each.id: each for stage in STAGES for each in stage.checks}[id]
