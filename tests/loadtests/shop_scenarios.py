"""Scenarios of somebody else's service, as a user of the load tests would write them."""

from typing import Any

from loadtests.scenarios import Request


class SoldOut(Exception):
    """What the shop's own client would raise."""


ERRORS = (SoldOut,)
ITEMS = Request("GET", "/items?limit=2")


def browse(session: Any) -> None:
    answer = session.get("/items", params={"page": 1})
    assert answer.json()["items"], "there is something to buy"


def two_requests(session: Any) -> None:
    session.get("/items", name="first")
    session.get("/items", name="second")


def nonsense(session: Any) -> None:
    session.get("/nonsense").json()


def wrong(session: Any) -> None:
    assert session.get("/wrong").json()["items"], "there is something to buy"


def sold_out(session: Any) -> None:
    session.get("/items", name="sold out")
    raise SoldOut


def missing(session: Any) -> None:
    session.get("/nowhere").json()["items"]


def broken(session: Any) -> None:
    session.get("/items", name="before the mistake")
    raise KeyError("a mistake of the scenario")


def hang(session: Any) -> None:
    session.get("/hang")


def sometimes_nothing(session: Any) -> None:
    session.memory["turns"] = session.memory.get("turns", 0) + 1
    if session.memory["turns"] % 2:
        session.get("/items")


NAMES = ["", "N/A", "unsent", "Aggregated", "a, b", "two\nlines"]


def names(session: Any) -> None:
    for name in NAMES:
        session.get("/items", name=name)


def order(session: Any) -> None:
    answer = session.post("/orders", json={"item": 1})
    assert answer.status_code == 201
    assert answer.json()["type"] == "application/json"
    assert session.request("POST", "/orders", data={"item": "1"}).json()["got"] == "item=1"


shopping = {browse: 3, order: 1, ITEMS: 2}
not_a_table = {browse: 0}
