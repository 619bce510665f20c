"""What the tests of connections share: a server on each event loop, and what it answers."""

from collections.abc import Iterator

import pytest

from tests.server.http1.serving import LOOPS, Echo, Serving, serving


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture(params=LOOPS)
def server(request: pytest.FixtureRequest, echo: Echo) -> Iterator[Serving]:
    with serving(request.param, echo.respond) as server:
        yield server
