"""The older A2A surface of the contract (`/api/v1/a2a/tasks`), kept for clients that were written for it."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Object, Replayable, Title, answer

LegacyStatus = Literal["submitted", "working", "input-required", "completed", "failed", "canceled"]


class LegacyTaskFields(Body):
    """What is to be done."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """The caller's own id. The same task sent again under it is the first one; a different one is refused."""
    title: Title
    description: Annotated[str, StringConstraints(max_length=5000)] | None = None
    type: Annotated[str, StringConstraints(max_length=64)] | None = None
    """One of the platform's types of task; any other is kept in `metadata.protocol_ingress`."""
    priority: Annotated[str, StringConstraints(max_length=32)] | None = None
    """In any case; an unknown one is `normal`."""
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    workspace_id: Id | None = None
    role: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None
    input: Any = {}
    context: Object = {}
    metadata: Object = {}


class LegacyTaskCreate(Replayable):
    """A task, one level down."""

    task: LegacyTaskFields


@answer
class LegacyMetadata(TypedDict):
    """Where a task came from and belongs to."""

    protocol_ingress: NotRequired[dict[str, Any]]
    task_id: Id
    workflow_id: Id | None
    workspace_id: Id | None


@answer
class LegacyTask(TypedDict):
    """A task in six states."""

    id: Id
    status: LegacyStatus
    title: str
    created_at: Instant
    updated_at: Instant
    result: Any
    """The output; what looks like a secret is shown as `redacted://a2a-secret`."""
    metadata: LegacyMetadata


class LegacyTaskEvent(TypedDict):
    """The data of one server-sent event."""

    id: int
    task_id: Id
    event_type: str
    status: LegacyStatus
    """What the task was once this had happened."""
    created_at: Instant
    data: dict[str, Any]
