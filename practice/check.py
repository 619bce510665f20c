"""What a check is: a function with a sentence, that gets a server and says what it expects of it.

    @check("messages.limit", "the newest N, newest first", why="who opens the page wants what was said last")
    def limit(server: Server) -> None:
        server.say("first", "second", "third")
        server.get("/messages?limit=2").expect(texts(["third", "second"]))

The id begins with the name of its stage. Whatever the function asks is recorded; the first expectation that does not
hold ends it, and is shown as one exchange: asked, answered, expected, and why it matters. Hints are in `hints.toml`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from practice.server import Server

# What a check may need that not every server can give: see `Server.lacks`.
RESTART, BEFORE, TWILIO, SLACK, LIMIT, ANSWERS = "restart", "before", "twilio", "slack", "limit", "answers"


@dataclass(frozen=True)
class Check:
    """One thing that a server has to do. Where `remark` is set, not doing it is worth a remark, and no failure."""

    id: str
    says: str
    why: str
    run: "Callable[[Server], None]"
    needs: tuple[str, ...] = ()
    remark: bool = False


@dataclass
class Stage:
    """One stage: what the learner builds, the contract by examples, and the checks, in the order in which they run.

    `contract` is shown as it stands. `environment` is added to that of the server, in this stage only.
    """

    number: int
    name: str
    task: str
    contract: str
    environment: dict[str, str] = field(default_factory=dict)
    limited: bool = False
    checks: list[Check] = field(default_factory=list)

    def check(
        self, id: str, says: str, *, why: str, needs: tuple[str, ...] | str = (), remark: bool = False
    ) -> "Callable[[Callable[[Server], None]], Callable[[Server], None]]":
        """Add the decorated function to the checks of this stage. `says` is its sentence, `why` why it matters."""
        assert id.startswith(f"{self.name}."), id

        def add(run: "Callable[[Server], None]") -> "Callable[[Server], None]":
            self.checks.append(Check(id, says, why, run, (needs,) if isinstance(needs, str) else needs, remark))
            return run

        return add
