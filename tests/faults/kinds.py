"""The faults: each a function that injects one, and heals it at the end of the block in which it is used.

A fault may come together with another, so what it is about to harm may be gone: then it harms something like it.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import psutil
from pymongo.errors import PyMongoError

from tests.faults import disks
from tests.faults.services import Service
from tests.faults.setting import Setting

SLOW_SECONDS = 0.1
REPLIES = 3
STEP_DOWN_SECONDS = 3

Fault = Callable[[Setting, random.Random], AbstractContextManager[None]]


@contextmanager
def primary_killed(setting: Setting, dice: random.Random) -> Iterator[None]:
    """The primary's mongod is killed, and started again afterwards."""
    setting.primary(dice).kill()
    yield


@contextmanager
def secondary_killed(setting: Setting, dice: random.Random) -> Iterator[None]:
    """A secondary's mongod is killed, and started again afterwards."""
    for member in setting.secondaries()[:1]:
        member.kill()
    yield


@contextmanager
def primary_stopped(setting: Setting, dice: random.Random) -> Iterator[None]:
    """The primary is stopped, as by a stalled disk, and woken when another has taken its place."""
    with setting.primary(dice).stopped():
        yield


@contextmanager
def stepped_down(setting: Setting, dice: random.Random) -> Iterator[None]:
    """The primary is told to give up its place."""
    with suppress(PyMongoError):
        setting.primary(dice).command("replSetStepDown", STEP_DOWN_SECONDS, force=True)
    yield


@contextmanager
def parted_from_members(setting: Setting, dice: random.Random) -> Iterator[None]:
    """Nothing passes between the primary and the other members, while both services reach all."""
    with setting.proxies.held(*setting.between_members(setting.primary(dice))):
        yield


@contextmanager
def parted_with_a_service(setting: Setting, dice: random.Random) -> Iterator[None]:
    """The primary and one service are parted from all others: that service goes on with a primary that is none."""
    primary, alone = setting.primary(dice), dice.choice(setting.services)
    others = [each for each in setting.members.members if each is not primary]
    pairs = [(alone.name, each.name) for each in others]
    pairs += [(each.name, primary.name) for each in setting.services if each is not alone]
    with setting.proxies.held(*setting.between_members(primary), *pairs):
        yield


@contextmanager
def parted_from_a_service(setting: Setting, dice: random.Random) -> Iterator[None]:
    """Nothing passes between the primary and one of the services."""
    with setting.proxies.held((dice.choice(setting.services).name, setting.primary(dice).name)):
        yield


@contextmanager
def secondaries_behind(setting: Setting, dice: random.Random) -> Iterator[None]:
    """No secondary fetches what the primary has: nothing is committed."""
    with ExitStack() as stack:
        for member in setting.secondaries():
            stack.enter_context(member.failing("stopReplProducer"))
        yield


@contextmanager
def secondary_behind(setting: Setting, dice: random.Random) -> Iterator[None]:
    """One secondary fetches what the primary has, and does not apply it."""
    with ExitStack() as stack:
        for member in setting.secondaries()[:1]:
            stack.enter_context(member.failing("rsSyncApplyStop"))
        yield


@contextmanager
def replies_lost(setting: Setting, dice: random.Random) -> Iterator[None]:
    """Some inserts are committed, and the service does not hear of it."""
    pairs = setting.from_services(*setting.members.members)
    setting.proxies.lose_replies(REPLIES, *pairs)
    try:
        yield
    finally:
        setting.proxies.lose_replies(0, *pairs)


@contextmanager
def worker_killed(setting: Setting, dice: random.Random) -> Iterator[None]:
    """One process of a service is killed; the service starts another."""
    service = dice.choice(setting.services)
    for worker in service.workers()[:1]:
        _kill(setting, service, worker)
    yield


@contextmanager
def worker_stopped(setting: Setting, dice: random.Random) -> Iterator[None]:
    """One process of a service is stopped, and woken afterwards."""
    service = dice.choice(setting.services)
    workers = service.workers()[:1]
    for worker in workers:
        with suppress(psutil.Error):
            worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            with suppress(psutil.Error):
                worker.send_signal(signal.SIGCONT)


@contextmanager
def service_killed(setting: Setting, dice: random.Random) -> Iterator[None]:
    """The process that started a service's workers is killed, and started again afterwards."""
    service = dice.choice(setting.services)
    setting.killed.add(service.name)
    service.kill()
    yield


@contextmanager
def service_ended(setting: Setting, dice: random.Random) -> Iterator[None]:
    """A service is told to end (SIGTERM) while clients use it, and started again afterwards."""
    if problem := dice.choice(setting.services).terminate():
        setting.note("hand", problem)
    yield


@contextmanager
def network_slow(setting: Setting, dice: random.Random) -> Iterator[None]:
    """What the services and the members send each other takes long."""
    with setting.proxies.slow(SLOW_SECONDS * dice.uniform(0.2, 1), *setting.from_services(*setting.members.members)):
        yield


@contextmanager
def network_cut(setting: Setting, dice: random.Random) -> Iterator[None]:
    """All connections of one service to the database are reset, and new ones refused."""
    service = dice.choice(setting.services)
    with setting.proxies.cut(*((service.name, each.name) for each in setting.members.members)):
        yield


@contextmanager
def disk_full(setting: Setting, dice: random.Random) -> Iterator[None]:
    """A member has no room for its data any more, and has some again afterwards."""
    with disks.full(setting.primary(dice)):
        yield


@contextmanager
def number_given_twice(setting: Setting, dice: random.Random) -> Iterator[None]:
    """A worker that has taken numbers dies together with the primary, which alone knew of it.

    The numbers are given out again, later, while another worker's insert with higher ones is repeated by its driver.
    Drivers wait for a second only, so another member is made primary at once.
    """
    primary, service = setting.primary(dice), dice.choice(setting.services)
    others = setting.secondaries()
    workers = service.workers()
    with secondaries_behind(setting, dice):
        time.sleep(dice.uniform(0.1, 0.4))  # in which all workers take numbers, and can use none
        if workers:
            _kill(setting, service, dice.choice(workers))
        primary.kill()
    for member in others[:1]:
        with suppress(PyMongoError):
            member.command("replSetStepUp")
    yield


@contextmanager
def killed_after_commit(setting: Setting, dice: random.Random) -> Iterator[None]:
    """All workers of a service are killed while MongoDB's replies are on their way: their callers do not know."""
    service = dice.choice(setting.services)
    with setting.proxies.replies_kept(*((service.name, each.name) for each in setting.members.members)):
        time.sleep(dice.uniform(0.5, 1.0))  # in which each worker has sent an insert
        for worker in service.workers():
            _kill(setting, service, worker)
    yield


def _kill(setting: Setting, service: Service, worker: psutil.Process) -> None:
    setting.killed.add(service.name)
    with suppress(psutil.Error):
        worker.kill()


# Those that come by chance, alone and in pairs, and those that are aimed, and come alone.
RANDOM: dict[str, Fault] = {
    "primary killed": primary_killed,
    "secondary killed": secondary_killed,
    "primary stopped": primary_stopped,
    "primary stepped down": stepped_down,
    "primary parted from the members": parted_from_members,
    "primary parted from a service": parted_from_a_service,
    "secondaries behind": secondaries_behind,
    "one secondary behind": secondary_behind,
    "replies lost after the commit": replies_lost,
    "worker killed": worker_killed,
    "worker stopped": worker_stopped,
    "service killed": service_killed,
    "service ended": service_ended,
    "network slow": network_slow,
    "network cut": network_cut,
    "disk full": disk_full,
}
AIMED: dict[str, Fault] = {
    "number given twice": number_given_twice,
    "workers killed after the commit": killed_after_commit,
    "primary and a service parted from the rest": parted_with_a_service,
}
FAULTS = RANDOM | AIMED
