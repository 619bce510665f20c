"""The time budget of a request: from when it was due to its answer, in parts that are measured each by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan

# The parts in the order in which a request meets them: what each is, and where its measure comes from.
PARTS: Mapping[str, tuple[str, str]] = {
    "waiting to be sent": ("no user was free, or Locust was late", "Locust's log: sent − due"),
    "unread by the server": ("it lies in the kernel: the loop, the threads or the processor are busy", "sock_diag"),
    "application": ("the server's own code, and what it waits for besides MongoDB", "/metrics"),
    "queue of writes": ("the commit of others is under way", "/metrics"),
    "waiting for a connection": ("the pool has none free", "the driver's pool events"),
    "driver's threads": ("to hand an operation to the driver, and its result to the loop", "/metrics, pool events"),
    "network or commit": (
        "the way to MongoDB and back, its wait for the disk, and the driver's own work",
        "pool events − the three below",
    ),
    "unread by MongoDB": ("it lies in the kernel: MongoDB has no processor or no thread", "sock_diag"),
    "in MongoDB": ("by MongoDB's own clock, operations of the service only", "top"),
    "unread from MongoDB": ("MongoDB has answered, and the server has not read it", "sock_diag"),
    "answer unsent": ("until the end of a turn of the event loop", "/metrics"),
    "answer unread": ("it lies in the kernel: Locust is busy or has no processor", "sock_diag"),
}


@dataclass(frozen=True)
class Budget:
    """`parts` (ms for a request, mean) are some of PARTS; what is left of `total_ms` is in none of them.

    A part that could not be measured is missing, and its time is in what is left.
    """

    total_ms: float
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def residual_ms(self) -> float:
        """What is in no part; below 0 if the parts are more than the whole, by their errors."""
        return self.total_ms - sum(self.parts.values())

    def share(self, *names: str) -> float:
        """Parts as a share of the time after a request was sent; NaN if none of them was measured."""
        sent = self.total_ms - self.parts.get("waiting to be sent", 0.0)
        known = [self.parts[name] for name in names if name in self.parts]
        return sum(known) / sent if known and sent > 0 else float("nan")

    def share_of_all(self, *names: str) -> float:
        """Parts as a share of the whole time, from when a request was due; NaN if one of them was not measured."""
        nan = float("nan")
        return sum(self.parts.get(name, nan) for name in names) / self.total_ms if self.total_ms > 0 else nan

    def largest(self, number: int) -> dict[str, float]:
        """The largest parts, ms by name."""
        return dict(sorted(self.parts.items(), key=lambda each: -each[1])[:number])

    def lines(self) -> list[str]:
        """The same as a table in text, the parts that matter first to last."""
        rows = [*self.parts.items(), ("left over", self.residual_ms)]
        width = max(len(name) for name in PARTS)
        return [
            f"{name:{width}} {ms:9.2f} ms {ms / self.total_ms:6.1%}"
            for name, ms in rows
            if self.total_ms > 0 and (abs(ms) >= 0.005 * self.total_ms or name == "left over")
        ] + [f"{'from due to answered':{width}} {self.total_ms:9.2f} ms"]

    def document(self) -> dict[str, float]:
        """The parts for programs."""
        return {name: round(ms, 4) for name, ms in self.parts.items()}


def budget(total_ms: float, measured: Mapping[str, float]) -> Budget:
    """The budget of what was measured: parts that were not seen are left out."""
    return Budget(total_ms, {name: measured[name] for name in PARTS if not isnan(measured.get(name, float("nan")))})
