"""The tasks of notebook 01: a request that is safe to repeat, and a list that is not sent twice."""

from collections.abc import Sequence

import requests

from notebooks.your_turn.verdict import Verdict, not_yet, right, task

CREATED, NOT_MODIFIED, IMPOSSIBLE = 201, 304, 422


@task("two answers of requests.post(f'{url}/messages', json=…, headers=…, timeout=5), in a list")
def stored_once(answers: Sequence[requests.Response]) -> Verdict:
    """Whether a message was sent twice and stored once."""
    first, second = answers
    if IMPOSSIBLE in (first.status_code, second.status_code):
        return not_yet("the key was used for two different messages", "same key, same body: send exactly the same")
    if (first.status_code, second.status_code) != (CREATED, CREATED):
        return not_yet(f"the statuses are {first.status_code} and {second.status_code}", "read the answer: .json()")
    if first.json()["id"] != second.json()["id"]:
        return not_yet(
            "there are two messages now", "the header Idempotency-Key says that two requests are one: the same in both"
        )
    return right(f"one message, and the second answer says Idempotency-Replayed: {_replayed(second)}")


def _replayed(answer: requests.Response) -> str:
    return answer.headers.get("Idempotency-Replayed", "nothing")


@task("an answer of requests.get(f'{url}/messages', headers=…, timeout=5)")
def nothing_new(answer: requests.Response) -> Verdict:
    """Whether a list was asked for on the condition that it has changed."""
    if answer.status_code == NOT_MODIFIED:
        return right("304, and not a byte of the list: the service did not even ask MongoDB")
    if "If-None-Match" not in answer.request.headers:
        return not_yet(
            f"{answer.status_code}, and {len(answer.content)} bytes",
            "an answer names its version in the header ETag; a request says in If-None-Match which one it has",
        )
    hint = "ask for the list first, and take the ETag of that answer, with its quotation marks; the limit is the same"
    return not_yet("the list is not the one that the request knows", hint)
