"""The core: what a message is, and what can be done with messages. Knows no HTTP and no database.

MessageError
├── InvalidMessage       what was sent cannot become a message
├── OverLimit            more was asked for than is admitted
└── StoreUnavailable     the database cannot be reached
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_TEXT = 4000
MAX_AUTHOR = 80
MAX_LIMIT = 1000
DEFAULT_LIMIT = 20

Source = Literal["api", "sms", "slack"]


class MessageError(Exception):
    """Anything this service refuses or cannot do."""


class InvalidMessage(MessageError):
    """What was sent is malformed. `errors` holds pairs of a field's name and what to do about it."""

    def __init__(self, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller may do: `amount` in each window of `window` seconds, `remaining` now, more in `reset` seconds."""

    name: str
    amount: int
    window: int
    remaining: int
    reset: int


class OverLimit(MessageError):
    """More than the quota was asked for."""

    def __init__(self, detail: str, quota: Quota) -> None:
        super().__init__(detail)
        self.quota = quota


class StoreUnavailable(MessageError):
    """The database did not answer. Nothing is known to be lost: ask again."""


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank: give it at least one character that shows")
    return value


NotBlank = AfterValidator(_not_blank)


class NewMessage(BaseModel):
    """A message as somebody asks for it to be stored. Its text is kept exactly as sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT), NotBlank]
    author: Annotated[str, Field(min_length=1, max_length=MAX_AUTHOR), NotBlank] = "anonymous"


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message. `created_at` is UTC with milliseconds; `id` is 24 hex digits."""

    id: str
    text: str
    author: str
    created_at: datetime
    reply_to: str | None = None
    source: Source = "api"


class Messages(Protocol):
    """Where messages are kept. Every method raises `StoreUnavailable` when the database is away."""

    async def add(self, new: NewMessage, created_at: datetime) -> Message:
        """Store a message durably, then return it."""

    async def newest(self, limit: int) -> list[Message]:
        """The `limit` newest messages, newest first."""

    async def add_visit(self, at: datetime) -> None:
        """Remember that somebody asked for the front page."""

    async def ping(self) -> None:
        """Return if the database answers."""


class Recent(Protocol):
    """Where reads of the newest messages come from."""

    async def newest(self, limit: int) -> list[Message]:
        """The `limit` newest messages, newest first."""

    def written(self, message: Message) -> None:
        """Learn that this process has stored `message`."""


def now() -> datetime:
    """The time in UTC, cut to the milliseconds that a BSON date holds."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class MessageService:
    """What can be done with messages. HTTP, SMS and Slack all enter here."""

    def __init__(self, messages: Messages, recent: Recent, clock: Callable[[], datetime] = now) -> None:
        self._messages = messages
        self._recent = recent
        self._clock = clock

    async def post(self, new: NewMessage) -> Message:
        """Store a message; when this returns, it is durable and every later read sees it."""
        message = await self._messages.add(new, self._clock())
        self._recent.written(message)
        return message

    async def recent(self, limit: int = DEFAULT_LIMIT) -> list[Message]:
        """The `limit` newest messages, newest first."""
        return await self._recent.newest(limit)

    async def visit(self) -> None:
        """Remember that somebody asked for the front page."""
        await self._messages.add_visit(self._clock())

    async def check(self) -> None:
        """Return if messages can be read and written now, else raise `StoreUnavailable`."""
        await self._messages.ping()
