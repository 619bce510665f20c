"""Many things at once: real threads, started together, that nobody has to wait for when the work is called off."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def at_once(count: int, work: Callable[[int], Result]) -> list[Result]:
    """The results of work(0) to work(count - 1), each called in a thread of its own, all at the same moment.

    Raises the first error that `work` raised, without waiting for the others.
    """
    start = threading.Barrier(count)
    done: queue.SimpleQueue[tuple[int, Result | None, BaseException | None]] = queue.SimpleQueue()

    def call(number: int) -> None:
        try:
            start.wait()
            done.put((number, work(number), None))
        except BaseException as error:
            done.put((number, None, error))

    for number in range(count):
        threading.Thread(target=call, args=[number], daemon=True).start()
    results: dict[int, Result] = {}
    while len(results) < count:
        number, result, error = done.get()
        if error is not None:
            raise error
        results[number] = result  # type: ignore[assignment]
    return [results[number] for number in range(count)]
