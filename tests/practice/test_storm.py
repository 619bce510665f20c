"""How many writes of a storm may be admitted: on a busy machine they are read, and answered, late."""

import pytest

from loadtests.open_loop import OfferedRequest
from practice.checks import writes
from practice.checks.writes import Storm
from practice.exchange import Request
from practice.server import Broken
from practice.settings import Promises


class Seen:
    """A server that has been through a storm already."""

    def __init__(self, storm: Storm) -> None:
        self.promises = Promises(write_limit=50)
        self._storm = storm

    def once(self, _: object) -> Storm:
        return self._storm


def storm(admitted: int, until: float, others: float) -> Storm:
    """1,250 writes in 5 s, of which the first so many are admitted, the last of these `until` so many seconds.

    `others` is the share of the machine that other programs took.
    """
    sent = [OfferedRequest(n / 250, n / 250, until * (n + 1) / admitted, 201) for n in range(admitted)]
    sent += [OfferedRequest(n / 250, n / 250, n / 250 + 0.01, 429) for n in range(admitted, 1250)]
    example = Request("POST", "http://127.0.0.1:1/messages")
    return Storm([("text", each) for each in sent], 5.0, example, 0.01, 0.0, others)


@pytest.mark.parametrize(
    ("admitted", "until", "others", "right"),
    [
        (320, 5.0, 0.0, True),
        (402, 5.0, 0.0, False),
        (340, 5.7, 0.76, True),
        (402, 6.5, 0.76, True),
        (402, 6.5, 0.0, False),  # it let them wait
        (500, 6.5, 0.76, False),
    ],
)
def test_as_many_as_it_promised_in_the_time_that_it_had(
    admitted: int, until: float, others: float, right: bool
) -> None:
    server = Seen(storm(admitted, until, others))
    if right:
        writes.limited(server)
    else:
        with pytest.raises(Broken, match=r"admitted in \d\.\d s"):
            writes.limited(server)
