"""Models of Slack's requests, for validation and for the schema."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class CommandForm(BaseModel):
    """A slash command; other fields that Slack sends are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str = ""
    team_id: Annotated[str, Field(max_length=80)] = ""
    user_id: Annotated[str, Field(min_length=1, max_length=80)]
    user_name: str = ""
    response_url: str = ""
    trigger_id: Annotated[str, Field(max_length=255)] = ""


class EventModel(BaseModel):
    """An event's envelope, or the challenge by which Slack verifies the URL (`url_verification`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str
    challenge: str = ""
    event_id: Annotated[str, Field(max_length=255)] = ""
    event: dict[str, Any] = {}
    team_id: str | None = None
    authorizations: list[dict[str, Any]] | None = None


class ChallengeModel(BaseModel):
    """The response to `url_verification`."""

    challenge: str
