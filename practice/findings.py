"""What was measured of a learner's server, in words: for a terminal, and for the page that can be mailed."""

import textwrap
from collections.abc import Iterator

from practice.measured import OURS, YOURS, Measured, Verdict

WIDTH = 100
NOT_SEEN = "–"


def lines(measured: Measured, guess: str | None) -> Iterator[str]:
    """All that was measured, for a terminal. `guess` is what the learner has said is slow, or None."""
    yield f"Capacity: requests/s at which {measured.slo}"
    for scenario, found in measured.capacities.items():
        yield f"  {scenario:<8}" + "".join(f"{name} {found[name]!s:<22}" for name in (YOURS, OURS)).rstrip()
    yield from (f"  {limit}" for limit in limits(measured))
    yield ""
    yield "Cost: µs for each request, medians of pairs of rounds in turns, with what a server does besides answering"
    for scenario, cost in measured.costs.items():
        for name in (YOURS, OURS):
            yield (
                f"  {scenario if name == YOURS else f'{cost.rate:,.0f}/s':<8}{name:<11}"
                f"processor {us(cost.server_us[name]):>7} server {us(cost.database_us[name]):>7} database,"
                f"  latency {us(_thousandfold(cost.p50_ms[name])):>7}"
            )
        if cost.times:
            yield f"  {'':<8}your server takes {cost.times} times the lab's processor time [95 % interval]"
    yield ""
    by = f", by {measured.where.by}" if measured.where.by else ""
    yield f"Where the time goes in your server while it is read{by}"
    for what, spent in measured.where.parts.items():
        yield f"  {us(spent):>7} µs  {what}"
    yield from (f"  {note}" for note in measured.where.notes)
    yield from ["", *textwrap.wrap(answer(measured.verdict, guess), WIDTH)]
    for note in measured.notes:
        yield from ["", *textwrap.wrap(note, WIDTH)]


def limits(measured: Measured) -> list[str]:
    """Why capacities have no upper end, where that was so."""
    return [
        f"{scenario}, {name}: {each.limit}"
        for scenario, found in measured.capacities.items()
        for name, each in found.items()
        if each.limit
    ]


def answer(verdict: Verdict, guess: str | None) -> str:
    """What works longest for each request when half of them write, with the evidence, beside what the learner said."""
    found = f"the {verdict.slow}" if verdict.slow else "it cannot be told"
    said = f"Server or database, when half of the requests write? Measured: {found}. {verdict.why}"
    if guess is None:
        return f"{said} You have not said what you think: [answers] slow, in practice.toml."
    if not verdict.slow:
        return f"{said} You said: the {guess}."
    if verdict.inside and guess == "database":
        return f"{said} You said: the database. It has no process of its own here, so its work is the server's."
    return f"{said} You said: the {guess}, and that is {'right' if guess == verdict.slow else 'not so'}."


def us(value: float | None) -> str:
    """Microseconds as a number, or a dash where nothing was seen."""
    return NOT_SEEN if value is None else f"{value:,.0f}"


def _thousandfold(value: float | None) -> float | None:
    return None if value is None else 1000 * value
