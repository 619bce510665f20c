"""A learner's progress as one page of HTML that can be mailed: no script, nothing to load."""

from collections import Counter
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from practice import charts, findings, history, stages
from practice.check import Stage
from practice.history import Run
from practice.measured import OURS, YOURS, load
from practice.settings import Target

MARKS = {"pass": "✓", "fail": "✗", "remark": "!", "not asked": "·", "": "–"}
CHART_WIDTH, CHART_HEIGHT = 600, 120


def render(target: Target) -> str:
    """The page about the server in a learner's folder, from what `check` and `measure` have kept there."""
    runs = history.read(target.own_files)
    environment = Environment(
        loader=PackageLoader("practice", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=target.folder.name,
        promises=target.promises,
        runs=runs,
        stages=[_stage(each, runs) for each in stages.STAGES],
        counts=Counter(_latest(id, runs).get("outcome", "") for id in _ids()),
        total=len(_ids()),
        chart=_chart(runs),
        **_measured(target),
    )


def _measured(target: Target) -> dict[str, Any]:
    """What `measure` has found, for the part of the page about it."""
    measured = load(target.own_files)
    if measured is None:
        return {"measured": None}
    return {
        "measured": measured,
        "names": (YOURS, OURS),
        "colours": charts.COLOURS,
        "us": findings.us,
        "capacities": charts.capacities(measured),
        "where": charts.where(measured),
        "limits": findings.limits(measured),
        "answer": findings.answer(measured.verdict, target.answers.slow),
    }


def _ids() -> list[str]:
    return [check.id for stage in stages.STAGES for check in stage.checks]


def _stage(stage: Stage, runs: list[Run]) -> dict[str, Any]:
    checks = [_check(each.id, each.says, runs) for each in stage.checks]
    passed = sum(each["outcome"] == "pass" for each in checks)
    return {"number": stage.number, "name": stage.name, "task": stage.task, "checks": checks, "passed": passed}


def _check(id: str, says: str, runs: list[Run]) -> dict[str, Any]:
    latest = _latest(id, runs)
    outcome = latest.get("outcome", "")
    first = next((run.at for run in runs if run.checks().get(id, {}).get("outcome") == "pass"), None)
    return {
        "id": id,
        "says": says,
        "outcome": outcome,
        "mark": MARKS[outcome],
        "first_passed": _day(first) if first else "",
        "failure": latest if outcome in {"fail", "remark"} else None,
    }


def _latest(id: str, runs: list[Run]) -> dict[str, str]:
    return next((found for run in reversed(runs) if (found := run.checks().get(id))), {})


def _chart(runs: list[Run]) -> list[dict[str, Any]]:
    """How many checks passed after each run, with what is known of those that it did not ask: a bar for each."""
    state: dict[str, str] = {}
    bars = []
    total, width = max(1, len(_ids())), CHART_WIDTH / max(1, len(runs))
    for number, run in enumerate(runs):
        state |= {id: found["outcome"] for id, found in run.checks().items()}
        passed = sum(outcome == "pass" for outcome in state.values())
        height = CHART_HEIGHT * passed / total
        bars.append(
            {
                "x": round(number * width, 1),
                "y": round(CHART_HEIGHT - height, 1),
                "width": round(min(width * 0.8, 40), 1),
                "height": round(height, 1),
                "title": f"{_day(run.at)}: {passed} of {total} checks pass",
            }
        )
    return bars


def _day(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
