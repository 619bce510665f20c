"""Which faults come when: drawn from a seed, so that the same seed gives the same again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.embedded import EMBEDDED
from tests.faults.kinds import AIMED, RANDOM

PAIR_SHARE = 0.35
# One in so many is aimed, and one in so many is on an embedded mongod.
AIMED_EVERY, EMBEDDED_EVERY = 6, 12
SECONDS = 0.8, 2.2


@dataclass(frozen=True)
class Step:
    """Faults that come together, and for how many seconds they stay; `seed` decides what they harm."""

    kinds: tuple[str, ...]
    seconds: float
    seed: int


def steps(seed: int, count: int, only: Sequence[str] = ()) -> list[Step]:
    """`count` faults in some steps: each kind in turn, in an order by chance, or `only` some kinds, alone."""
    dice = random.Random(seed)
    found: list[Step] = []
    decks: dict[str, list[str]] = {}

    def draw(name: str, kinds: Sequence[str]) -> str:
        if not decks.get(name):
            decks[name] = dice.sample(kinds, len(kinds))
        return decks[name].pop()

    remaining = count
    while remaining > 0:
        number = len(found) + 1
        if only:
            kinds: tuple[str, ...] = (draw("only", only),)
        elif number % EMBEDDED_EVERY == 0:
            kinds = (draw("embedded", list(EMBEDDED)),)
        elif number % AIMED_EVERY == 0 or number == 1:
            kinds = (draw("aimed", list(AIMED)),)
        else:
            kinds = (draw("random", list(RANDOM)),)
            if remaining > 1 and dice.random() < PAIR_SHARE:
                kinds += (dice.choice([each for each in RANDOM if each not in kinds]),)
        found.append(Step(kinds, dice.uniform(*SECONDS), dice.randrange(1 << 30)))
        remaining -= len(kinds)
    return found
