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


def storm(admitted: int, until: float) -> Storm:
    """1,250 writes in 5 s, of which the first so many are admitted, the last of these `until` so many seconds."""
    sent = [OfferedRequest(n / 250, n / 250, until * (n + 1) / admitted, 201) for n in range(admitted)]
    sent += [OfferedRequest(n / 250, n / 250, n / 250 + 0.01, 429) for n in range(admitted, 1250)]
    example = Request("POST", "http://127.0.0.1:1/messages")
    return Storm([("text", each) for each in sent], 5.0, example, 0.01, 0.0, 0.0)


@pytest.mark.parametrize(
    ("admitted", "until", "right"), [(320, 5.0, True), (402, 5.0, False), (402, 6.5, True), (500, 6.5, False)]
)
def test_as_many_as_it_promised_in_the_time_that_it_took(admitted: int, until: float, right: bool) -> None:
    server = Seen(storm(admitted, until))
    if right:
        writes.limited(server)
    else:
        with pytest.raises(Broken, match=rf"after {until:.1f} s"):
            writes.limited(server)
