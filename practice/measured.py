"""What was measured of a learner's server, as data: kept in its folder for the report."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

FILE = "measured.json"
YOURS, OURS = "yours", "the lab's"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Capacity(_Data):
    """Requests a second: `low` held the promise twice, `high` did not; None where no such rate was found.

    `limit` says why there is no `high`: the server was never seen to fail.
    """

    low: float | None
    high: float | None
    limit: str = ""

    def __str__(self) -> str:
        if not self.low:
            return "none found"
        return f"{self.low:,.0f} to {self.high:,.0f}" if self.high else f"at least {self.low:,.0f}"


class Cost(_Data):
    """Each request of a scenario at `rate` requests/s, by server: medians of the rounds, None where nothing was seen.

    `server_us` and `database_us` are processor time in µs, `p50_ms` the latency from due time. `times` is how many
    times the lab's processor time yours takes, with its 95 % interval, in words.
    """

    rate: float
    server_us: dict[str, float | None]
    database_us: dict[str, float | None]
    p50_ms: dict[str, float | None]
    times: str


class Where(_Data):
    """Where the time of your server goes while it is read: µs of each read in `parts`, largest first; `notes` in words.

    `by` says how it was seen: by py-spy, by the kernel, or not at all ("").
    """

    by: Literal["py-spy", "the kernel", ""] = ""
    parts: dict[str, float] = {}
    notes: list[str] = []


class Verdict(_Data):
    """What works longest for each request when half of them write; "" if that was not to be seen. `why`: the evidence.

    `inside`: no database was seen beside the server, so what keeps the messages is a part of it.
    """

    slow: Literal["server", "database", ""]
    why: str
    inside: bool = False


class Measured(_Data):
    """Capacities and costs are by scenario, and capacities then by server (YOURS, OURS).

    `slo` is the promise that a capacity holds; `machine` and `at` say where and when; `notes` what makes the two
    servers unequal.
    """

    at: datetime
    machine: str
    slo: str
    capacities: dict[str, dict[str, Capacity]]
    costs: dict[str, Cost]
    where: Where
    verdict: Verdict
    notes: list[str] = []


def save(measured: Measured, folder: Path) -> None:
    """Keep what was measured in the learner's folder, for the report. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    (folder / FILE).write_text(measured.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> Measured | None:
    """What was measured last in a learner's folder; None if nothing was, or by another version of the lab."""
    try:
        return Measured.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
