"""What was measured of a server, as an example: shown in words and on a page."""

from datetime import UTC, datetime

from practice.measured import OURS, YOURS, Capacity, Cost, Measured, Verdict, Where

MEASURED = Measured(
    at=datetime(2026, 11, 27, 4, 0, tzinfo=UTC),
    machine="2 cores of Abacus, Linux 6",
    slo="p95 < 50 ms, failures ≤ 0.1%",
    capacities={
        "reads": {YOURS: Capacity(low=140, high=180), OURS: Capacity(low=7000, high=None, limit="Locust was it")},
        "writes": {YOURS: Capacity(low=None, high=1), OURS: Capacity(low=800, high=1000)},
    },
    costs={
        "reads": Cost(
            rate=70.0,
            server_us={YOURS: 2345.6, OURS: 61.0},
            database_us={YOURS: None, OURS: 12.0},
            p50_ms={YOURS: 4.25, OURS: None},
            times="38.45 [30.10, 49.00]",
        ),
    },
    where=Where(by="py-spy", parts={"JSON": 900.0, "routing and handler": 41.0}, notes=["33 µs below app.py:7 do_GET"]),
    verdict=Verdict(slow="server", why="It takes 2,346 µs.", inside=True),
    notes=["The lab's server answers a write when the disk has it."],
)
