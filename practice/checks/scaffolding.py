"""Stage 1, scaffolding: a server that answers, and that counts its visits and never forgets one."""

from practice.check import RESTART, Stage
from practice.concurrency import at_once
from practice.expectations import Expectation, count, count_of, success, that
from practice.server import Broken, Server

STAGE = Stage(
    1,
    "scaffolding",
    task="A server that answers GET / and stores every visit, and tells at GET /visits how many there were.",
    contract="""\
curl -s localhost:8000/           any answer with status 200, whatever is in it
curl -s localhost:8000/visits     200  {"count": 1}

Every GET / is one visit, also those by which the lab finds out that your server is ready. GET /visits is none.
A visit is stored before it is answered, in the folder {data}: it survives a restart, and kill -9.""",
)
check = STAGE.check

VISITORS = 50


def visits(server: Server) -> int:
    """How many visits the server says that there were."""
    words = 'a status from 200 to 299, and JSON such as {"count": 3}'
    answer = server.get("/visits").expect(that(words, lambda it: it.ok and count_of(it) is not None))
    return count_of(answer) or 0


@check("scaffolding.answers", "GET / is answered", why="who asks whether it runs, asks this")
def answers(server: Server) -> None:
    server.get("/").expect(that("the status 200", lambda answer: answer.status == 200))


@check("scaffolding.count", "each visit is counted, once", why="a count that is a little wrong is a wrong count")
def counted(server: Server) -> None:
    before = visits(server)
    for _ in range(3):
        server.get("/").expect(success())
    server.get("/visits").expect(count(before + 3))


@check(
    "scaffolding.at_once",
    f"{VISITORS} visits at once are all counted",
    why="two that read the same number and both write the next one have counted one visit",
)
def at_the_same_time(server: Server) -> None:
    before = visits(server)
    for response in at_once(VISITORS, lambda _: server.get("/")):
        response.expect(success())
    server.get("/visits").expect(count(before + VISITORS))


@check(
    "scaffolding.restart",
    "the visits survive a restart",
    why="a server is restarted whenever there is a new version of it",
    needs=RESTART,
)
def restarted(server: Server) -> None:
    server.get("/").expect(success())
    before = visits(server)
    server.restart()
    server.get("/visits").expect(at_least(before))


@check(
    "scaffolding.kill",
    "the visits survive kill -9",
    why="nobody asks a server before its machine fails: what was answered has to be stored by then",
    needs=RESTART,
)
def killed(server: Server) -> None:
    before = visits(server)
    responses = at_once(VISITORS, lambda _: server.get("/"))
    server.crash()
    for response in responses:
        response.expect(success())
    server.get("/visits").expect(at_least(before + VISITORS))


def at_least(number: int) -> Expectation:
    """A count that lost nothing. It may have grown: that the server is ready again was found out by visits."""
    words = f'{{"count": {number}}} or more: {number} visits were answered before the server ended'
    return that(words, lambda answer: answer.ok and (count_of(answer) or 0) >= number)


@check(
    "scaffolding.stop",
    "SIGTERM ends the server and all that it has started",
    why="what stays behind keeps the port, and the files, from the next version",
    needs=RESTART,
    remark=True,
)
def stopped(server: Server) -> None:
    left = server.stop()
    server.start_again()
    if left:
        raise Broken("no process is left", asked="kill -TERM its process", answered=f"still running: {', '.join(left)}")
