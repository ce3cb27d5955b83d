"""What git servers say of tasks."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, Replayable, answer

Provider = Literal["github", "gitea", "gitlab"]


class GitWebhookPut(Replayable):
    """From which kind of server a workspace hears, and the secret that they share. Never read back."""

    provider: Provider
    secret: Annotated[SecretStr, Field(strict=False, min_length=8, max_length=1024)]


@answer
class GitTaken(TypedDict):
    """It was taken."""

    accepted: bool
    provider: str
    event_type: str
    mapped_task_id: Id | None
    """The task that it names, or the first id that it names when there is no such task."""
    mapped_task_found: bool
    duplicate: bool
    """It had come before, and nothing was done again."""


@answer
class GitActivity(TypedDict):
    """One thing that was said."""

    id: Id
    provider: str
    type: str
    data: dict[str, Any]
    created_at: Instant


@answer
class GitOfTask(TypedDict):
    """What is known of a task's branches, requests and checks."""

    task_id: Id
    git_info: dict[str, Any] | None
    """What its executor reported."""
    pull_requests: list[dict[str, Any]]
    """Each as it was last told of."""
    ci: list[dict[str, Any]]
    """Each check as it was last told of."""
    activity: list[GitActivity]
    """All of it, oldest first; of the newest 200."""
