"""A cache of the lists that are asked for most: the newest messages."""

import threading
from collections.abc import Callable

from store import Message


class RecentCache:
    """Pages of the newest messages by their limit, each valid until the next message is stored.

    Whoever stores a message calls `note_stored` after the commit and before the answer, so nobody who was answered
    is shown a list without it: the cache is never stale.
    """

    def __init__(self, read: Callable[[int], list[Message]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._version = 0
        self._pages: dict[int, list[Message]] = {}

    def newest(self, limit: int) -> list[Message]:
        """Return the `limit` newest messages, newest first. Callers must not change the list."""
        with self._lock:
            version, page = self._version, self._pages.get(limit)
        if page is None:
            page = self._read(limit)
            with self._lock:
                # A message that was stored while we read may be missing in what we have read: that is not kept.
                if self._version == version:
                    self._pages[limit] = page
        return page

    def note_stored(self) -> None:
        """Drop all pages: a message was committed."""
        with self._lock:
            self._version += 1
            self._pages.clear()
