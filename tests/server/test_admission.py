"""The write limit: admits exactly its number, and says when to come back."""

import asyncio

import pytest
import requests

from server.admission import Admission
from server.launch import RunningServer
from server.messages import OverLimit, Quota
from tests.conftest import StartServer
from tests.server.answers import assert_problem

# Windows of an hour do not end during a test, however slow the machine.
HOUR = 3600


async def outcomes(admission: Admission, writes: int) -> list[Quota | BaseException | None]:
    """What `writes` writes at the same moment get."""
    return await asyncio.gather(*(admission.admit_write() for _ in range(writes)), return_exceptions=True)


@pytest.mark.asyncio
async def test_off_admits_everything() -> None:
    assert await outcomes(Admission("off"), 1000) == [None] * 1000


@pytest.mark.asyncio
async def test_a_limit_admits_exactly_its_number_at_once() -> None:
    got = await outcomes(Admission("5/hour"), 20)
    assert [quota.remaining for quota in got if isinstance(quota, Quota)] == [4, 3, 2, 1, 0]
    assert [type(each) for each in got].count(OverLimit) == 15


@pytest.mark.asyncio
async def test_a_refusal_says_what_was_allowed_and_when_to_come_back() -> None:
    admission = Admission("1/hour")
    await admission.admit_write()
    with pytest.raises(OverLimit, match="1 per 1 hour") as refusal:
        await admission.admit_write()
    quota = refusal.value.quota
    assert (quota.amount, quota.window, quota.remaining) == (1, HOUR, 0)
    assert 0 < quota.reset <= HOUR


@pytest.fixture
def limited(start_server: StartServer) -> RunningServer:
    """A server that admits three writes."""
    return start_server(write_limit="3/hour")


def post(server: RunningServer) -> requests.Response:
    return requests.post(f"{server.url}/messages", json={"text": "hello"})


def test_over_http_the_headers_count_down_and_then_refuse(limited: RunningServer) -> None:
    for remaining in (2, 1, 0):
        answer = post(limited)
        assert answer.status_code == 201
        assert answer.headers["RateLimit-Policy"] == f'"writes";q=3;w={HOUR}'
        assert answer.headers["RateLimit"].startswith(f'"writes";r={remaining};t=')
    refused = post(limited)
    assert_problem(refused, 429)
    wait = int(refused.headers["Retry-After"])
    assert 0 < wait <= HOUR
    assert refused.headers["RateLimit"] == f'"writes";r=0;t={wait}'
    assert refused.headers["RateLimit-Policy"] == f'"writes";q=3;w={HOUR}'


def test_reads_are_never_limited(limited: RunningServer) -> None:
    while post(limited).status_code != 429:
        pass
    for path in ("/", "/messages", "/readyz", "/metrics"):
        answers = [requests.get(limited.url + path) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert "RateLimit" not in answers[0].headers
    # What was refused is not stored.
    assert len(requests.get(f"{limited.url}/messages").json()["messages"]) == 3


def test_without_a_limit_there_are_no_such_headers(server: RunningServer) -> None:
    answer = post(server)
    assert answer.status_code == 201
    assert not any(name.startswith("RateLimit") for name in answer.headers)
