"""What the routes do: the store, the cache and the rate limit, put together."""

from datetime import datetime
from pathlib import Path

from limit import TokenBucket
from recent import RecentCache
from store import Message, Store
from werkzeug.exceptions import TooManyRequests


class Service:
    """The messages and visits in the folder `data`. `write_limit` is how many writes a second are admitted."""

    def __init__(self, data: Path, write_limit: float | None) -> None:
        self.store = Store(data)
        self._recent = RecentCache(self.store.newest)
        self._writes = TokenBucket(write_limit)

    def admit(self) -> None:
        """Count one write. Refuses it (429) before any work is done for it."""
        if wait := self._writes.seconds_to_wait():
            raise TooManyRequests("too many writes: try again later", retry_after=int(wait) + 1)

    def add(self, text: str, reply_to: int | None = None, sms_sid: str | None = None) -> Message | None:
        """Store a message and return it; None if the SMS `sms_sid` is stored already. Raises `UnknownParent`."""
        message = self.store.add(text, reply_to, sms_sid)
        self._recent.note_stored()
        return message

    def newest(self, limit: int, since: datetime | None = None) -> list[Message]:
        """Return the `limit` newest messages, newest first; only those created at or after `since`."""
        return self._recent.newest(limit) if since is None else self.store.newest(limit, since)
