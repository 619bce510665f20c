"""What was done to a service and what its clients saw, as records in a file: one line of JSON for each.

Times are in seconds on the clock of `harness.clock`, those of messages as the service writes them. A message is known
by its text, which is different from all others, and is its idempotency key too.
"""

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "history.jsonl"
ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True)
class Asked:
    """A request of `who` to `service`. `outcome` is "acknowledged", the status, or why there was no answer.

    See `practice.outages.connection.Unanswered` for the latter.
    """

    who: str
    service: str
    began: float
    ended: float
    outcome: str


@dataclass(frozen=True)
class Post(Asked):
    """A message was posted. `seq` and `at` are its number and time if it was acknowledged.

    `replayed` says that the service had stored it before, for another request with its key.
    """

    text: str
    seq: int = 0
    at: str = ""
    replayed: bool = False


@dataclass(frozen=True)
class Listed(Asked):
    """At most `limit` newest messages were asked for, not older than `since`, by who had `seen` so many."""

    limit: int
    seen: int
    since: str
    shown: list[str]


@dataclass(frozen=True)
class Walked(Asked):
    """A list was followed to its end: all messages below `below`, and not older than `since`; the newest first.

    Or, if `down_to` is not 0, to the page that has the message with that number.
    """

    since: str
    below: int
    down_to: int
    shown: list[str]


@dataclass(frozen=True)
class Followed(Asked):
    """What came after the cursor that `who` got last, oldest first. The first record of `who` has no cursor."""

    cursor: str
    shown: list[str]


@dataclass(frozen=True)
class Fault:
    """The fault `kind` was there from `began` to `ended`, and all was well again at `healed`.

    Connections of `killed`, services, ended without an answer for that reason.
    """

    kind: str
    began: float
    ended: float
    healed: float
    killed: list[str]


@dataclass(frozen=True)
class Noted:
    """Something that must not be: `kind` is "hand" (nothing but a restart helped), or "traceback" (in a log)."""

    kind: str
    at: float
    text: str


@dataclass(frozen=True)
class Stored:
    """All messages that the database has in the end, in the order of their numbers: (text, number, time)."""

    messages: list[tuple[str, int, str]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", [(text, seq, at) for text, seq, at in self.messages])  # JSON has no tuples


Record = Post | Listed | Walked | Followed | Fault | Noted | Stored
KINDS: dict[str, type[Any]] = {each.__name__.lower(): each for each in Record.__args__}


@dataclass
class History:
    """All records of one run, by kind."""

    post: list[Post] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    walked: list[Walked] = field(default_factory=list)
    followed: list[Followed] = field(default_factory=list)
    fault: list[Fault] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Add one record."""
        getattr(self, type(record).__name__.lower()).append(record)

    def records(self) -> list[Record]:
        """All records, by kind."""
        return [*self.asked(), *self.fault, *self.noted, *self.stored]

    def asked(self) -> list[Post | Listed | Walked | Followed]:
        """All requests."""
        return [*self.post, *self.listed, *self.walked, *self.followed]

    def acknowledged(self) -> dict[str, Post]:
        """The first acknowledgement of each message that has one, by its text."""
        found: dict[str, Post] = {}
        for each in self.post:
            if each.outcome == ACKNOWLEDGED:
                found.setdefault(each.text, each)
        return found


class Recorder:
    """Adds records to a history and writes them to a file, as they come."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.history = History()
        self._file = (folder / FILE).open("w", encoding="utf-8")
        self._lock = threading.Lock()  # clients have a thread, and who injects faults has another

    def add(self, record: Record) -> None:
        """Add one record."""
        line = json.dumps({"record": type(record).__name__.lower(), **vars(record)}) + "\n"
        with self._lock:
            self.history.add(record)
            self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(folder: Path) -> History:
    """Read the history in `folder`. Raises `OSError`, and `ValueError` if it is none."""
    with (folder / FILE).open(encoding="utf-8") as lines:
        return of(_records(lines))


def of(records: Iterable[Record]) -> History:
    """The history that consists of `records`."""
    history = History()
    for each in records:
        history.add(each)
    return history


def _records(lines: Iterable[str]) -> Iterator[Record]:
    for line in lines:
        document = json.loads(line)
        try:
            yield KINDS[document.pop("record")](**document)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no record of a history: {line[:80]}") from error
