"""Brings a database from one version of the data model to another, and says what that takes.

Looking (`status`, `plan`, `verify`, `applied`, `pending`) never writes. What writes (`up`, `down`) holds the
lease, and may be interrupted at any moment and run again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pymongo.client_session import ClientSession

from migrations import lease as leases
from migrations.backfill import Work
from migrations.database import Database, MigrationError, connect
from migrations.lease import LEASE_SECONDS, WAIT_SECONDS, Lease
from migrations.operations import Found, Operation, Validator
from migrations.steps import Step, applied, contradictions, pending, refuse_contradictions, steps, target
from migrations.throttle import LIMIT_SECONDS

__all__ = [
    "Database", "MigrationError", "Options", "Report", "Step", "applied", "connect", "down", "pending", "plan",
    "status", "steps", "up", "verify",
]  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What was done to a step, in words."""

    step: str
    report: str


@dataclass(frozen=True)
class Options:
    """How to run: seconds of the lease, of waiting for it, and a batch's limit (None: as fast as can be).

    `progress` is called with a step's name, the documents done and of how many; `finished` with each
    report; `waiting` with who holds the lease.
    """

    lease: float = LEASE_SECONDS
    wait: float = WAIT_SECONDS
    limit: float | None = LIMIT_SECONDS
    progress: Callable[[str, int, int], None] = lambda step, done, total: None
    finished: Callable[[Report], None] = lambda report: None
    waiting: Callable[[str], None] = lambda why: None


@dataclass(frozen=True)
class State:
    """A step as `status` shows it: when it was applied, and what is wrong with it, if anything is."""

    step: str
    title: str
    applied_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class Plan:
    """A step that is to be applied, and how many documents it will change."""

    step: str
    title: str
    documents: int


@dataclass(frozen=True)
class Proof:
    """What `verify` found of a step: what contradicts it, and what it leaves as it is on purpose."""

    step: str
    applied: bool
    offenders: list[Found] = field(default_factory=list)
    left: list[Found] = field(default_factory=list)


def status(database: Database) -> list[State]:
    """Every step, and those that were applied and are not known here."""
    had, problems = applied(database), contradictions(database)
    titles = {step.name: step.title for step in steps()}
    return [
        State(name, titles.get(name, "not known here"), had[name]["at"] if name in had else None, problems.get(name))
        for name in sorted(titles | had)
    ]


def plan(database: Database, name: str | None = None) -> list[Plan]:
    """What `up` would do. Raises `MigrationError` where `up` would refuse to begin."""
    refuse_contradictions(database)
    return [
        Plan(step.name, step.title, sum(operation.touches(database) for operation in step.operations))
        for step in _to_do(database, name)
    ]


def verify(database: Database) -> list[Proof]:
    """Hold every document and index against what each step promises."""
    had = applied(database)
    return [
        Proof(
            step.name,
            step.name in had,
            [each for operation in step.operations for each in operation.offenders(database)],
            [each for operation in step.operations for each in operation.left(database)],
        )
        for step in steps()
    ]


def up(database: Database, name: str | None = None, options: Options | None = None) -> list[Report]:
    """Apply the pending steps, or those up to the one that `name` names, each proved before it counts.

    If none is pending, what came undone in the applied ones is done again: documents that a server of an
    older version has written since, or an index that somebody dropped. Raises `MigrationError`.
    """
    options = options or Options()
    refuse_contradictions(database)
    if not _to_do(database, name):
        return []
    reports = []
    with leases.held(database, options.lease, options.wait, options.waiting) as lease:
        refuse_contradictions(database)  # another runner may have worked meanwhile
        for step in _to_do(database, name):
            reports.append(_up(database, step, lease, options))
            options.finished(reports[-1])
    return reports


def down(database: Database, name: str | None = None, options: Options | None = None) -> list[Report]:
    """Undo the steps after the one that `name` names ("0" for all), or only the last. Raises `MigrationError`."""
    options = options or Options()
    refuse_contradictions(database)
    if not _to_undo(database, name):
        return []
    reports = []
    with leases.held(database, options.lease, options.wait, options.waiting) as lease:
        refuse_contradictions(database)
        for step in _to_undo(database, name):
            reports.append(_down(database, step, lease, options))
            options.finished(reports[-1])
    return reports


def _to_do(database: Database, name: str | None) -> list[Step]:
    last = steps()[-1] if name is None else target(name)
    had = applied(database)
    wanted = [step for step in steps() if step.number <= last.number]
    if missing := [step for step in wanted if step.name not in had]:
        return missing
    return [step for step in wanted if not all(operation.is_done(database) for operation in step.operations)]


def _to_undo(database: Database, name: str | None) -> list[Step]:
    had = [step for step in reversed(steps()) if step.name in applied(database)]
    if name is None:
        return had[:1]
    lowest = 0 if name.isascii() and name.isdigit() and int(name) == 0 else target(name).number
    return [step for step in had if step.number > lowest]


def _up(database: Database, step: Step, lease: Lease, options: Options) -> Report:
    if any(isinstance(operation, Validator) for operation in step.operations):
        _refuse_offenders(database, before=step)
    done = [operation.up(database, work) for operation, work in _works(step, "up", lease, options)]
    if offenders := [each for operation in step.operations for each in operation.offenders(database)]:
        raise MigrationError(
            f"{step.name} is done, and yet there are {'; '.join(map(str, offenders))}: "
            "stop the servers of an older version, which may write them, and run up again"
        )
    report = Report(step.name, "; ".join(done))
    record = {"at": datetime.now(UTC), "report": report.report, "checksum": step.checksum}

    def remember(session: ClientSession) -> None:
        database.migrations.update_one({"_id": step.name}, {"$setOnInsert": record}, upsert=True, session=session)

    lease.write(remember)
    return report


def _down(database: Database, step: Step, lease: Lease, options: Options) -> Report:
    works = reversed(_works(step, "down", lease, options))
    report = Report(step.name, "; ".join(operation.down(database, work) for operation, work in works))

    def forget(session: ClientSession) -> None:
        database.migrations.delete_one({"_id": step.name}, session=session)

    lease.write(forget)
    return report


def _works(step: Step, direction: str, lease: Lease, options: Options) -> list[tuple[Operation, Work]]:
    """The operations of `step`, each with what it needs; its place in the step names its checkpoint."""

    def progress(done: int, total: int) -> None:
        options.progress(step.name, done, total)

    return [
        (operation, Work(lease, f"{step.name} {direction} {place}", progress, options.limit))
        for place, operation in enumerate(step.operations)
    ]


def _refuse_offenders(database: Database, before: Step) -> None:
    """The last chance to find what is not as the steps before promise. Raises `MigrationError`."""
    earlier = [step for step in steps() if step.number < before.number]
    for step in earlier:
        for offenders in (each for operation in step.operations for each in operation.offenders(database)):
            raise MigrationError(
                f"{before.name} refuses to begin while {step.name} has offenders: {offenders}. "
                f"`python -m migrations up {earlier[-1].number:04}` mends what servers of an older version have left"
            )
