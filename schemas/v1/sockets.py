"""What clients say over the WebSockets of `/api/v1/events`."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.v1.events import Cursor, EntityType
from schemas.v1.fields import Body, Id, Name, Short
from schemas.v1.workers import WorkerHeartbeat


class AssignmentAck(Body):
    """The worker takes a task."""

    type: Literal["task.assignment_ack"]
    task_id: Id
    agent_id: Id | None = None


class SignalAck(Body):
    """The worker has heard a signal."""

    type: Literal["signal.ack"]
    signal_id: Id


class Beat(WorkerHeartbeat):
    """How the worker is doing."""

    type: Literal["worker.heartbeat"]


class Filters(Body):
    """Which events; all that the caller may see without any."""

    event_types: Annotated[list[Short], Field(max_length=64)] = []
    entity_types: Annotated[list[EntityType], Field(max_length=64)] = []
    entity_id: Id | None = None
    workspace_id: Id | None = None
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    stage_name: Short | None = None
    activation_id: Id | None = None
    gate_id: Id | None = None
    context_id: Name | None = None


class Subscribe(Body):
    """Follow the log, from `after` or from now. A second one takes the place of the first."""

    action: Literal["subscribe"]
    filters: Filters = Filters()
    after: Cursor | None = None


class Unsubscribe(Body):
    """Follow nothing any more."""

    action: Literal["unsubscribe"]


class Ping(Body):
    """Is anybody there?"""

    action: Literal["ping"]


WorkerFrame = AssignmentAck | SignalAck | Beat
ReaderFrame = Subscribe | Unsubscribe | Ping

WORKER_FRAME: TypeAdapter[WorkerFrame] = TypeAdapter(Annotated[WorkerFrame, Field(discriminator="type")])
READER_FRAME: TypeAdapter[ReaderFrame] = TypeAdapter(Annotated[ReaderFrame, Field(discriminator="action")])
