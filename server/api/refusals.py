"""What is refused before a handler sees it: requests that cannot be read, and bodies from callers without a key."""

from collections.abc import Callable, Collection

from server.api.access import Access
from server.api.exchange import Dependencies, Exchange
from server.api.problems import BadRequest
from server.api.sending import Sender
from server.http1.answer import Answer
from server.http1.reading import Refused, Request

REFUSED = "refused"  # the route, in metrics and log, of what has none


def refuser(dependencies: Dependencies, sender: Sender) -> Callable[[Refused, Answer], None]:
    """Answers refusals like all other errors: as problem+json with a request id, counted and logged."""

    def refuse(refused: Refused, answer: Answer) -> None:
        request = answer.request
        exchange = Exchange(
            dependencies, request.method.decode("latin-1"), REFUSED, request.header(b"x-request-id"), request.read_at
        )
        sender.send_problem(answer, exchange, BadRequest(refused.detail, (), refused.status, dict(refused.headers)))

    return refuse


def doorkeeper(access: Access, public: Collection[str]) -> Callable[[Request], None]:
    """Refuses callers without a key who announce a body, before any of it is kept; `public` paths need no key."""

    def admit(request: Request) -> None:
        if request.path in public:
            return
        try:
            access.caller(request.header(b"authorization"))
        except BadRequest as error:
            raise Refused(str(error), error.status, error.headers) from error

    return admit
