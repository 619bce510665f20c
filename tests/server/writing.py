"""One message into a store, for tests that are about something else."""

from server.messages import Message, NewMessage, Source, Write
from server.store import Store


async def add(
    store: Store, text: str = "x", source: Source = "api", dedupe: str | None = None, known_complete: int = 0
) -> tuple[Message, bool]:
    """The message, and whether it was stored before. Raises what the write was refused for."""
    (outcome,) = await store.add([Write(NewMessage(text=text), source, dedupe)], known_complete)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
