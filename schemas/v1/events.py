"""Events: the one log of everything that happened."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from schemas.v1.fields import Csv, Id, Instant, Name, Query, Short, answer

EntityType = Literal[
    "task",
    "work_item",
    "gate",
    "workflow",
    "approval",
    "agent",
    "worker",
    "workspace",
    "api_key",
    "exposure",
    "signing_key",
    "webhook",
    "system",
]
Cursor = Annotated[int, Field(ge=0, le=2**53)]


class EventFilters(Query):
    """Which events; all that the caller may see without any."""

    event_type: Csv[Short] | None = None
    """For example `task.created,task.state_changed`."""
    entity_type: Csv[EntityType] | None = None
    entity_id: Id | None = None
    workspace_id: Id | None = None
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    stage_name: Short | None = None
    activation_id: Id | None = None
    gate_id: Id | None = None
    context_id: Name | None = None
    """One conversation."""


class EventQuery(EventFilters):
    """Which events to list. `after` reads forward, oldest first; `before` backward; neither: the newest."""

    after: Cursor | None = None
    before: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    per_page: Annotated[int, Field(ge=1, le=100)] | None = None
    """Another name of `limit`. Default 20."""


class StreamQuery(EventFilters):
    """Which events to stream. `after`, or the header `Last-Event-ID`, replays from there, then tails."""

    after: Cursor | None = None


class TaskStreamQuery(Query):
    """From where to follow a task; the header `Last-Event-ID` says the same."""

    after: Cursor | None = None
    agent_id: Id | None = None
    """For clients of the contract; whose task it is, the key says."""
    from_turn: Annotated[int, Field(ge=0)] | None = None
    """For clients of the contract; the stream begins with the task."""


@answer
class Event(TypedDict):
    """Something that happened."""

    id: int
    """Its place in the log, and the cursor to read on from. Without a gap for who sees every event."""
    type: str
    entity_type: str
    entity_id: Id | None
    task_id: Id | None
    version: int | None
    """For an event of a task: its number among that task's events, without a gap."""
    workflow_id: Id | None
    context_id: str | None
    actor_type: str | None
    actor_id: str | None
    data: dict[str, Any]
    created_at: Instant
