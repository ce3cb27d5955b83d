"""A2A push configurations as REST shows them: how they fare, and what was told."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, Query, Replayable, answer


class PushConfigQuery(Query):
    """Which configurations to list, newest first."""

    task_id: Id | None = None
    before: Id | None = None
    """The last one of the page before."""
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class PushConfigResume(Replayable):
    """Nothing to say but to go on."""


class PushRedeliver(Replayable):
    """Nothing to say but to deliver again."""


@answer
class PushConfig(TypedDict):
    """Who is told about one task over A2A, without any secret."""

    id: Id
    task_id: Id
    config_id: str
    """What its client calls it."""
    url: str
    scheme: str | None
    has_credentials: bool
    has_token: bool
    protocol_version: str
    status: Literal["live", "done", "paused", "ended"]
    """`done`: its task is over. `paused`: too much waits for its endpoint; what waits is still sent. `ended`:
    the receiver wants nothing more."""
    disabled: str | None
    """Why nothing new comes: `overflow` when paused, `gone` when the receiver answered 410."""
    waiting: int
    """Deliveries that are still to be made."""
    dead: int
    """Deliveries that were given up, of the last seven days."""
    created_at: Instant
    updated_at: Instant
