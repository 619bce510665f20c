"""Run migrations in either direction; list, plan and verify them.

Only `up` and `down` write. They hold the lease, may be interrupted at any moment, and continue when run again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from pymongo.client_session import ClientSession

from migrations import lease as leases
from migrations import order, premises
from migrations.backfill import Work
from migrations.database import Database, MigrationError, connect
from migrations.lease import LEASE_SECONDS, WAIT_SECONDS, Lease
from migrations.operations import Found, Validator
from migrations.steps import Step, applied, inconsistencies, pending, require_consistency, step_named, steps
from migrations.throttle import LIMIT_SECONDS

__all__ = [
    "Database", "MigrationError", "Options", "Report", "Step", "applied", "connect", "down", "pending", "plan",
    "status", "steps", "up", "verify",
]  # fmt: skip

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Report:
    """A step that was applied or reverted, and a description of what was done."""

    step: str
    report: str


@dataclass(frozen=True)
class Options:
    """How to run migrations.

    `lease` is the lease's duration, `wait` the longest wait for another runner, and `limit` the longest that a batch
    may take, all in seconds; a `limit` of None disables throttling. `progress` is called with a step's name, the
    documents done and their total; `finished` with the report of each step; `waiting` with a text that names the
    runner that holds the lease.
    """

    lease: float = LEASE_SECONDS
    wait: float = WAIT_SECONDS
    limit: float | None = LIMIT_SECONDS
    progress: Callable[[str, int, int], None] = lambda step, done, total: None
    finished: Callable[[Report], None] = lambda report: None
    waiting: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class StepStatus:
    """A step, when it was applied (None: pending), and what has to be done about it, if anything."""

    step: str
    title: str
    applied_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class PlannedStep:
    """A step that `up` would apply, and the number of documents that it would change."""

    step: str
    title: str
    documents: int


@dataclass(frozen=True)
class Verification:
    """The result of `verify` for a step: what contradicts it, and the exceptions that it leaves unchanged."""

    step: str
    applied: bool
    offenders: list[Found] = field(default_factory=list)
    exceptions: list[Found] = field(default_factory=list)


def status(database: Database) -> list[StepStatus]:
    """The status of all steps, including applied ones for which there is no script."""
    records, problems = applied(database), _notes(database) | inconsistencies(database)
    titles = {step.name: step.title for step in steps()}
    return [
        StepStatus(
            name,
            titles.get(name, "not known here"),
            records[name]["at"] if name in records else None,
            problems.get(name),
        )
        for name in sorted(titles | records)
    ]


def plan(database: Database, target: str | None = None) -> list[PlannedStep]:
    """The steps that `up` would apply. Raises `MigrationError` with what `up` would refuse to begin for."""
    premises.require(database)
    require_consistency(database)
    return [
        PlannedStep(step.name, step.title, sum(operation.touches(database) for operation in step.operations))
        for step in _steps_to_apply(database, target)
    ]


def verify(database: Database) -> list[Verification]:
    """Check all documents, indexes and the schema against every step, whether it is applied or not."""
    records = applied(database)
    return [
        Verification(
            step.name,
            step.name in records,
            _offenders(database, step) + (order.offenders(database) if step.name == order.STEP else []),
            [each for operation in step.operations for each in operation.left(database)],
        )
        for step in steps()
    ]


def up(database: Database, target: str | None = None, options: Options | None = None) -> list[Report]:
    """Apply all pending steps, or those up to the step `target`; each is verified before it is recorded.

    If none is pending, applied steps that are not complete any more are applied again: a server of an older version
    has written documents since, or an index was dropped. Raises `MigrationError`.
    """
    return _run(database, "up", target, options or Options())


def down(database: Database, target: str | None = None, options: Options | None = None) -> list[Report]:
    """Revert the last applied step, or all after the step `target` ("0" for every step). Raises `MigrationError`."""
    return _run(database, "down", target, options or Options())


def _run(database: Database, direction: Direction, target: str | None, options: Options) -> list[Report]:
    select = _SELECT[direction]
    if direction == "up":
        premises.require(database)
    require_consistency(database)
    if not select(database, target):
        return []
    reports = []
    with leases.held(database, options.lease, options.wait, options.waiting) as lease:
        require_consistency(database)  # another runner may have worked while this one waited
        for step in select(database, target):
            reports.append(_run_step(database, direction, step, lease, options))
            options.finished(reports[-1])
    return reports


def _steps_to_apply(database: Database, target: str | None) -> list[Step]:
    last = steps()[-1] if target is None else step_named(target)
    records, reverted = applied(database), _interrupted(database, "down")
    wanted = [step for step in steps() if step.number <= last.number]
    incomplete = [step for step in wanted if not all(operation.is_done(database) for operation in step.operations)]
    missing = [step for step in wanted if step.name not in records or step == reverted]
    # Numbers are in the order of time, so messages get their time first.
    if not missing or order.STEP in {step.name for step in missing}:
        return [step for step in wanted if step in missing or step in incomplete]
    return missing


def _steps_to_revert(database: Database, target: str | None) -> list[Step]:
    begun = _interrupted(database, "up")
    latest_first = [step for step in reversed(steps()) if step.name in applied(database) or step == begun]
    if target is None:
        return latest_first[:1]
    remaining = 0 if target.isascii() and target.isdigit() and int(target) == 0 else step_named(target).number
    return [step for step in latest_first if step.number > remaining]


_SELECT: dict[Direction, Callable[[Database, str | None], list[Step]]] = {
    "up": _steps_to_apply,
    "down": _steps_to_revert,
}


def _run_step(database: Database, direction: Direction, step: Step, lease: Lease, options: Options) -> Report:
    if direction == "up":
        _check_before(database, step)
    done = ["its down had been interrupted"] if direction == "up" and _interrupted(database, "down") == step else []
    operations = list(enumerate(step.operations))
    for number, operation in operations if direction == "up" else reversed(operations):
        up, down = (
            Work(lease, f"{step.name} {way} {number}", partial(options.progress, step.name), options.limit)
            for way in ("up", "down")
        )
        numbers = order.gives_numbers(step, operation)
        if direction == "down" or (numbers and order.would_break(database)):
            done.append(operation.down(database, down))
        if direction == "up":
            done.append(operation.up(database, up))
            done += map(str, order.old_offenders(database) if numbers else [])
    if direction == "up":
        _check_after(database, step)
    report = Report(step.name, "; ".join(done))
    lease.write(partial(_record, database, direction, step, report))
    return report


def _record(database: Database, direction: Direction, step: Step, report: Report, session: ClientSession) -> None:
    """Add the record of an applied step, or delete that of a reverted one."""
    if direction == "up":
        record = {"at": datetime.now(UTC), "report": report.report, "checksum": step.checksum}
        database.migrations.update_one({"_id": step.name}, {"$setOnInsert": record}, upsert=True, session=session)
    else:
        database.migrations.delete_one({"_id": step.name}, session=session)


def _check_before(database: Database, step: Step) -> None:
    """Raise `MigrationError` if `step` sets a validator while the data contradicts an earlier step."""
    if not any(isinstance(operation, Validator) for operation in step.operations):
        return
    earlier = [each for each in steps() if each.number < step.number]
    for each in earlier:
        for offenders in _offenders(database, each):
            raise MigrationError(
                f"{step.name} refuses to begin while {each.name} has offenders: {offenders}. "
                f"`python -m migrations up {earlier[-1].number:04}` updates documents that servers of an older version "
                "have written since"
            )


def _check_after(database: Database, step: Step) -> None:
    """Raise `MigrationError` if the data contradicts `step`, which was applied."""
    if offenders := _offenders(database, step):
        raise MigrationError(
            f"{step.name} was applied, but there are {'; '.join(map(str, offenders))}: "
            "stop the servers of older versions, which may write them, and run up again"
        )


def _offenders(database: Database, step: Step) -> list[Found]:
    return [each for operation in step.operations for each in operation.offenders(database)]


def _interrupted(database: Database, direction: Direction) -> Step | None:
    """The step that was interrupted while it was applied (`up`) or reverted (`down`)."""
    key = leases.checkpoint(database).get("key", "")
    return next((step for step in steps() if key.startswith(f"{step.name} {direction} ")), None)


def _notes(database: Database) -> dict[str, str]:
    """What to do about a step that was interrupted, by its name."""
    reverted, applying = _interrupted(database, "down"), _interrupted(database, "up")
    notes = {}
    if reverted:
        notes[reverted.name] = (
            f"{reverted.name} was being reverted: `python -m migrations down` goes on with it, "
            "`python -m migrations up` applies it again"
        )
    if applying:
        notes[applying.name] = (
            f"{applying.name} was being applied: `python -m migrations up` goes on with it, "
            "`python -m migrations down` reverts what was done"
        )
    return notes
