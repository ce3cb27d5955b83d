"""Workers: processes that run agents."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Name, Object, Query, Replayable, Tags, answer
from schemas.vocabulary import ExecutionMode, WorkerSignalType, WorkerStatus

Runtime = Literal["openclaw", "claude_code", "codex", "acp", "custom", "external"]
Connection = Literal["websocket", "sse", "polling"]


class WorkerAgent(Body):
    """An agent that a worker brings."""

    name: Name
    routing_tags: Tags = []
    execution_mode: Annotated[ExecutionMode, Field(strict=False)] = ExecutionMode.SPECIALIST
    max_concurrent: Annotated[int, Field(ge=1, le=1000)] = 1
    metadata: Object = {}


class WorkerRegister(Replayable):
    """A new worker, with the agents that it runs."""

    name: Name
    runtime_type: Runtime = "custom"
    connection_mode: Connection = "polling"
    routing_tags: Tags = []
    """What each of its agents offers beside its own tags."""
    host_info: Object = {}
    heartbeat_interval_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    metadata: Object = {}
    agents: Annotated[list[WorkerAgent], Field(max_length=100)] = []


class WorkerQuery(Query):
    """Which workers to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


class WorkerHeartbeat(Body):
    """How a worker is doing. What is absent stays as it was."""

    status: Annotated[WorkerStatus, Field(strict=False)] | None = None
    current_task_id: Id | None = None
    current_tasks: Annotated[list[Id], Field(max_length=1000)] | None = None
    """What it does; these tasks' leases are renewed. An empty list says that it does nothing."""
    metrics: Object | None = None


class WorkerSignal(Replayable):
    """What a worker is told."""

    type: Literal["cancel", "drain", "config_update"]
    task_id: Id | None = None
    data: Object = {}


class SignalAck(Body):
    """Nothing has to be said."""


class WorkerNext(Replayable):
    """Ask for work for one agent of the worker, or for any of them."""

    agent_id: Id | None = None
    workflow_id: Id | None = None
    playbook_id: Id | None = None
    include_context: bool = False


@answer
class RegisteredAgent(TypedDict):
    """An agent that came with its worker."""

    id: Id
    name: str
    routing_tags: list[str]
    api_key: str | None


@answer
class RegisteredWorker(TypedDict):
    """The worker's id and keys, which are shown once."""

    worker_id: Id
    worker_api_key: str | None
    agents: list[RegisteredAgent]
    websocket_url: str
    heartbeat_interval_seconds: int


@answer
class Worker(TypedDict):
    """A worker."""

    id: Id
    tenant_id: Id
    name: str
    runtime_type: str
    connection_mode: str
    routing_tags: list[str]
    host_info: dict[str, Any]
    status: WorkerStatus
    heartbeat_interval_seconds: int
    current_tasks: list[str]
    metrics: dict[str, Any]
    metadata: dict[str, Any]
    last_heartbeat_at: Instant
    """When it was last heard of: every authenticated call counts."""
    created_at: Instant
    updated_at: Instant


@answer
class PendingSignal(TypedDict):
    """What the worker has not acknowledged."""

    id: Id
    type: WorkerSignalType
    task_id: Id | None
    data: dict[str, Any]
    issued_at: Instant


@answer
class WorkerHeard(TypedDict):
    """The answer to a heartbeat."""

    ack: bool
    status: WorkerStatus
    pending_signals: list[PendingSignal]


@answer
class Signalled(TypedDict):
    """Which signal was sent."""

    signal_id: Id
