"""Doing a task: claim, lease, start, report. Every write of an executor carries its `lease_id`."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.content import Message
from schemas.v1.fields import (
    Body,
    Id,
    Instant,
    Moment,
    Name,
    Object,
    Remark,
    Replayable,
    State,
    StateFilter,
    Tags,
    Wait,
    answer,
)
from schemas.v1.tasks import Task, TaskCreate

_Seconds = Annotated[int, Field(ge=5, le=3600)]


class ClaimRequest(Replayable):
    """Ask for work. Without `limit` the answer is one task, with it a list."""

    agent_id: Id
    worker_id: Id | None = None
    routing_tags: Tags = []
    """Tags that this process offers beside those the agent registered."""
    workflow_id: Id | None = None
    playbook_id: Id | None = None
    include_context: bool = False
    """Also give the conversation so far."""
    wait_seconds: Wait = 0
    """Wait so long for work before answering 204."""
    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    start: bool = False
    """Start what was claimed in the same transaction."""
    lease_seconds: _Seconds = 60


@answer
class ClaimHandles(TypedDict):
    """What `POST /tasks/{id}/claim-credentials` exchanges for what the task may use. No secrets."""

    gateway_claim_handle: str
    """For the tools that the task was granted, at the hub's MCP endpoint."""


@answer
class Claimed(Task):
    """A task that the caller now executes."""

    lease_id: Id
    """The fence: every write of this attempt presents it."""
    lease_expires_at: Instant
    resource_bindings: list[Any] | None
    messages: list[Message]
    """The conversation so far, when the claim asked for it."""
    credentials: ClaimHandles
    checkpoint: Any
    """What an attempt before this one kept with `POST /tasks/{id}/checkpoint`; null where none did."""


class CheckpointRequest(Replayable):
    """Where the attempt stands: any JSON value that the next one can go on from."""

    lease_id: Id
    state: Any


@answer
class CheckpointKept(TypedDict):
    """It is kept."""

    attempt: int
    version: int
    """The task's version that it took."""


class LeaseRequest(Body):
    """Renew a lease, and learn whether to stop."""

    lease_id: Id
    extend_seconds: _Seconds | None = None
    """Default: as long as the claim asked for."""
    wait_seconds: Wait = 0
    """Answer late, and at once when the task is cancelled, answered or lost."""
    known_state: StateFilter | None = None
    """The state that you believe in: when it is another already, the answer does not wait."""
    request_id: Name | None = None
    """Accepted like everywhere; renewing twice is harmless."""


@answer
class LeaseState(TypedDict):
    """What an executor learns when it renews."""

    lease_expires_at: Instant
    cancel_requested: bool
    """Stop, then confirm with `cancel` and the `lease_id`."""
    state: State
    version: int


class _Executor(Replayable):
    """Whoever writes as the executor of a task."""

    lease_id: Id | None = None
    """May be absent only when the caller is the sole present assignee."""
    agent_id: Id | None = None
    worker_id: Id | None = None


class StartRequest(_Executor):
    """Begin. Repeating it changes nothing."""

    started_at: Moment | None = None
    """Accepted and ignored: the hub's clock decides."""


class CompleteRequest(_Executor):
    """Finish with an output, any JSON value."""

    output: Any = None
    metrics: Object | None = None
    git_info: Object | None = None
    verification: Object | None = None
    """`{"passed": false}` sends the output to a judgement."""


class ReportedError(Body):
    """What went wrong with an attempt."""

    category: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    message: Annotated[str, StringConstraints(max_length=10_000)]
    recoverable: bool = True
    """false: the task fails now, whatever its retry policy says."""


class FailRequest(_Executor):
    """Report a failed attempt."""

    error: ReportedError
    metrics: Object | None = None
    git_info: Object | None = None


class RefuseRequest(Replayable):
    """Give a task back."""

    lease_id: Id
    reason: Remark
    requeue: bool = False
    """true: others may have it; false: it is rejected for good."""


class TaskBatch(Replayable):
    """Up to a thousand new tasks. Each is accepted or refused by itself."""

    tasks: Annotated[list[TaskCreate], Field(min_length=1, max_length=1000)]
    """Each as in a single create; one may bring a `request_id` of its own."""


class Completion(Body):
    """One result of a batch."""

    task_id: Id
    lease_id: Id
    output: Any = None
    metrics: Object | None = None


class CompletionBatch(Replayable):
    """Up to a thousand results. Each is accepted or refused by itself."""

    results: Annotated[list[Completion], Field(min_length=1, max_length=1000)]


@answer
class TaskItem(TypedDict):
    """An item of a batch that was accepted."""

    data: Task
