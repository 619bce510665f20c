"""How often the diagnosis is right: every fault several times, in random order, as a confusion matrix."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import click
import pandas as pd

from loadtests.folders import new_folder
from profiles.diagnosis.diagnose import diagnose
from profiles.diagnosis.faults import DATABASE, FAULTS, situation
from profiles.diagnosis.rules import HEALTHY, UNKNOWN

RIGHT, UNKNOWN_AT_MOST, RESIDUAL, CONFIRMED = 0.9, 0.08, 0.1, 0.8
# A wrong verdict below this confidence says itself that it is not sure.
CONFIDENT = 0.75


@dataclass(frozen=True)
class Score:
    """`rows` has a row for each diagnosis: fault, right (names), verdict, confidence, residual (share), confirms."""

    rows: pd.DataFrame

    @property
    def matrix(self) -> pd.DataFrame:
        """How often each verdict was given to each fault."""
        return pd.crosstab(self.rows["fault"], self.rows["verdict"])

    def lines(self) -> list[str]:
        """What is asked of the diagnosis, and what it did."""
        rows = self.rows
        good = rows["good"]
        unknown = rows["verdict"] == UNKNOWN
        confident = ~good & ~unknown & (rows["confidence"] >= CONFIDENT)
        healthy = rows[rows["right"] == HEALTHY]
        stood = rows["confirms"].map(lambda confirms: confirms is True)
        claims = [
            ("right", good.mean(), f"at least {RIGHT:.0%}", good.mean() >= RIGHT),
            ("unknown", unknown.mean(), f"at most {UNKNOWN_AT_MOST:.0%}", unknown.mean() <= UNKNOWN_AT_MOST),
            ("wrong with confidence", confident.mean(), "never", not confident.any()),
            ("healthy called otherwise", (~healthy["good"]).mean(), "never", bool(healthy["good"].all())),
            ("left over of the time, median", rows["residual"].abs().median(), f"at most {RESIDUAL:.0%}",
             rows["residual"].abs().median() <= RESIDUAL),
            ("left over of the time, most", rows["residual"].abs().max(), f"at most {RESIDUAL:.0%}",
             rows["residual"].abs().max() <= RESIDUAL),
            ("right verdicts confirmed", stood[good].mean() if good.any() else 0.0, f"at least {CONFIRMED:.0%}",
             stood[good].sum() >= CONFIRMED * good.sum()),
            ("wrong verdicts confirmed", stood[~good].mean() if (~good).any() else 0.0, "at most 10%",
             not (~good).any() or stood[~good].mean() <= 0.1),
        ]  # fmt: skip
        return [
            f"{name:32} {value:6.1%}  {wanted:13} {'good' if passed else 'NOT GOOD ENOUGH'}"
            for name, value, wanted, passed in claims
        ]

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return not any("NOT GOOD" in line for line in self.lines())


def score(runs: int, names: Sequence[str] = (), *, test: bool = True, seed: int = 1) -> Score:
    """Diagnose each of the faults `names`, or all, `runs` times, in an order that `seed` determines."""
    order = [name for name in names or FAULTS for _ in range(runs)]
    random.Random(seed).shuffle(order)
    rows = []
    for number, name in enumerate(order, 1):
        with situation(name) as found, found.running() as server:
            said = diagnose(found.load, server, new_folder("diagnose"), found, None, DATABASE, test=test)
        residual = said.evidence.budget.residual_ms / said.evidence.budget.total_ms
        rows.append(
            {
                "fault": name,
                "right": ", ".join(sorted(FAULTS[name].right)),
                "verdict": said.verdict.verdict,
                "good": said.verdict.verdict in FAULTS[name].right,
                "confidence": said.confidence,
                "residual": residual,
                "confirms": said.intervention.confirms if said.intervention else None,
            }
        )
        how = f"{said.verdict.verdict} ({said.confidence:.0%}, left over {residual:.0%})"
        click.echo(f"{number} of {len(order)} {name}: {how}; {said.intervention or said.verdict.why}", err=True)
    return Score(pd.DataFrame(rows))
