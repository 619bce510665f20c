"""What the tests of the service's parts share: a real store, and the queries it makes."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from migrations.runner import Database
from server.store import Store

Queries = Callable[[], list[dict[str, Any]]]


@pytest_asyncio.fixture(params=["motor", "pymongo"])
async def store(request: pytest.FixtureRequest, mongodb_uri: str, migrated: Database) -> AsyncIterator[Store]:
    """A store on the test's own database, with each driver: one contract for both."""
    store = Store(mongodb_uri, migrated.name, request.param)
    yield store
    await store.close()


@pytest.fixture
def queries(migrated: Database) -> Iterator[Queries]:
    """Gives the queries for messages that MongoDB has answered since, as its profiler describes them."""
    migrated.command("profile", 2)
    yield lambda: list(migrated["system.profile"].find({"op": "query", "ns": f"{migrated.name}.messages"}))
    migrated.command("profile", 0)
