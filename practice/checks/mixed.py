"""Stage 9, mixed: where does the time go, in the server or in its database? The learner says so first."""

from practice.check import ANSWERS, Stage
from practice.server import Broken, Server

STAGE = Stage(
    9,
    "mixed",
    task="Say what makes your server slow when it reads and writes at once, before anybody measures it.",
    contract="""\
[answers]
slow = "server"      # or "database": what works longest for each request, when half of them write

Think first, look at your code, measure as you like; then write it down in practice.toml. Without a database of its
own (files, SQLite inside the server's process) the answer can only be about the server.""",
)
check = STAGE.check


@check(
    "mixed.answer",
    "you have said what makes your server slow",
    why="a guess that was written down can turn out wrong, and only then do you learn from it",
    needs=ANSWERS,
)
def answer(server: Server) -> None:
    if server.target.answers.slow is None:
        raise Broken(
            '[answers] slow = "server", or "database"', asked="cat practice.toml", answered="[answers] has no slow"
        )
