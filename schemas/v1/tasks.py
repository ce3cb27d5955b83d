"""Tasks as `/api/v1` says them: what creates one, changes one, finds one, and how one reads."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas import parts as content
from schemas.approval_policy import ApprovalPolicy
from schemas.v1.fields import (
    Body,
    Id,
    IdText,
    Instant,
    Moment,
    Name,
    Object,
    Query,
    Replayable,
    Short,
    State,
    StateFilter,
    Tags,
    Title,
    UserSchema,
    answer,
)
from schemas.vocabulary import BackoffStrategy, Face, OnDependencyFailure, Priority

TaskType = Literal["analysis", "code", "assessment", "test", "docs", "orchestration", "custom"]
TaskKind = Literal["delivery", "assessment", "approval", "orchestrator"]
Backend = Literal["runtime_only", "runtime_plus_task"]

_Priority = Annotated[Priority, Field(strict=False)]
_Description = Annotated[str, StringConstraints(max_length=5000)]
_TimeoutMinutes = Annotated[int, Field(ge=1, le=240)]
_Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
_Money = Annotated[float, Field(ge=0, le=1e12)]


class RetryPolicy(Body):
    """When a failed attempt is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Attempts in all, the first one included."""
    backoff_strategy: Annotated[BackoffStrategy, Field(strict=False)] = BackoffStrategy.EXPONENTIAL
    initial_backoff_seconds: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    retryable_categories: Annotated[list[Short], Field(max_length=32)] = [
        "timeout",
        "transient_error",
        "resource_unavailable",
        "network_error",
        "infrastructure",
    ]
    """Only errors of these categories are retried."""


class TaskFields(Body):
    """What a new task may say. Only `title` is required."""

    title: Title
    description: _Description | None = None
    type: TaskType = "custom"
    task_kind: TaskKind | None = None
    priority: _Priority = Priority.NORMAL
    """Who waits ten minutes counts as one class more urgent, so that nothing starves."""
    input: Any = None
    """What to do: any JSON value."""
    parts: content.Parts | None = None
    """The first user message of the task; `input` then defaults to its text and parts."""
    context: Object = {}
    """Surroundings that the executor may want to know."""
    metadata: Object = {}
    context_id: Name | None = None
    """The conversation that the task belongs to; a new one when absent."""
    external_id: Name | None = None
    """The caller's own name for the task. Not unique."""
    depends_on: Annotated[list[Id], Field(max_length=100)] = []
    """Tasks that must be completed first."""
    on_dependency_failure: Annotated[OnDependencyFailure, Field(strict=False)] = OnDependencyFailure.WAIT
    required_tags: Tags | None = None
    """Only agents with all of these tags may claim it. Default: `role:<role>` with a role, else none."""
    required_tools: Tags = []
    preferred_agent_id: Id | None = None
    """For a minute after it is ready only this agent may claim it, then everybody."""
    role: Short | None = None
    stage_name: Short | None = None
    ready_at: Moment | None = None
    """Not before this moment."""
    timeout_minutes: _TimeoutMinutes | None = None
    """How long all attempts together may take."""
    retry_policy: RetryPolicy | None = None
    """Default: replaced up to three times when its executor is lost; a reported failure is final."""
    auto_retry: bool | None = None
    """Without a `retry_policy`: retried `max_retries` times."""
    max_retries: Annotated[int, Field(ge=0, le=10)] | None = None
    requires_approval: bool = False
    """Somebody must allow it before it is ready."""
    approval_policy: ApprovalPolicy | None = None
    """How its approvals are decided: by whom, by how many, until when."""
    output_schema: UserSchema | None = None
    """JSON Schema 2020-12; an output that does not fit waits for a judgement."""
    workspace_id: Id | None = None
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    parent_id: Id | None = None
    """The task that this one is a part of."""
    is_orchestrator_task: bool = False
    """Only agents that orchestrate may claim it."""
    execution_backend: Backend | None = None
    activation_id: Id | None = None
    subject_task_id: Id | None = None
    subject_work_item_id: Id | None = None
    subject_handoff_id: Id | None = None
    subject_revision: _Count | None = None
    assessment_prompt: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    role_config: Object | None = None
    environment: Object | None = None
    resource_bindings: Annotated[list[Any], Field(max_length=100)] | None = None
    """Kept for the executor, never shown."""
    token_budget: _Count | None = None
    cost_cap_usd: _Money | None = None
    max_iterations: _Count | None = None
    llm_max_retries: _Count | None = None


class TaskCreate(TaskFields, Replayable):
    """A new task."""


class TaskPatch(Replayable):
    """What may be changed about a task that is not final. A field that is not sent stays as it is."""

    title: Title | None = None
    description: _Description | None = None
    priority: _Priority | None = None
    timeout_minutes: _TimeoutMinutes | None = None
    metadata: Object | None = None
    """Merged key by key."""
    parent_id: Id | None = None


class TaskQuery(Query):
    """Which tasks to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
    before: Id | None = None
    """Only older ones: the last id of the page before. Costs the same however far back, unlike `page`."""
    state: StateFilter | None = None
    context_id: Name | None = None
    origin: Face | None = None
    """Through which door they came in."""
    workspace_id: Id | None = None
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    assigned_agent_id: Id | None = None
    parent_id: Id | None = None
    stage_name: Short | None = None
    is_orchestrator_task: bool | None = None
    execution_backend: Backend | None = None
    """`runtime_only` are those of orchestrators."""


@answer
class Origin(TypedDict):
    """Where a task came from."""

    face: Face
    principal_id: Id
    external_id: str | None


@answer
class TaskError(TypedDict):
    """Why a task failed."""

    category: str
    message: str
    recoverable: NotRequired[bool]


@answer
class RetryPolicyOut(TypedDict):
    """When a failed attempt is tried again."""

    max_attempts: int
    backoff_strategy: BackoffStrategy
    initial_backoff_seconds: float
    retryable_categories: list[str]


@answer
class Task(TypedDict):
    """A task."""

    id: Id
    tenant_id: Id
    version: int
    """The number of its newest event: read the task, then take the events with a greater one."""
    state: State
    state_changed_at: Instant
    status_message: list[content.PartFields] | None
    """What was said with the last change of state."""
    title: str
    description: str | None
    type: str
    task_kind: str | None
    priority: Priority
    input: Any
    context: dict[str, Any]
    metadata: dict[str, Any]
    output: Any
    error: TaskError | None
    context_id: str
    origin: Origin
    request_id: str | None
    traceparent: str | None
    """The W3C trace context that it was submitted with: its executor's work is part of it."""
    depends_on: list[IdText]
    on_dependency_failure: OnDependencyFailure
    required_tags: list[str]
    required_tools: list[str]
    preferred_agent_id: Id | None
    role: str | None
    stage_name: str | None
    workspace_id: Id | None
    workflow_id: Id | None
    work_item_id: Id | None
    parent_id: Id | None
    previous_task_id: Id | None
    """The task that this one does again, where the old one was final for good."""
    activation_id: Id | None
    attempt: int
    """How often it was claimed."""
    retry_count: int
    rework_count: int
    assigned_agent_id: Id | None
    assigned_worker_id: Id | None
    held: bool
    """Whether its executor keeps the lease while the task waits for an answer."""
    ready_at: Instant
    claimed_at: Instant | None
    started_at: Instant | None
    completed_at: Instant | None
    finished_at: Instant | None
    """When it became final, however."""
    cancel_requested_at: Instant | None
    timeout_at: Instant | None
    timeout_minutes: float | None
    retry_policy: RetryPolicyOut
    auto_retry: bool | None
    max_retries: int | None
    requires_approval: bool
    approval_policy: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    is_orchestrator_task: bool
    execution_backend: Backend
    subject_task_id: Id | None
    subject_work_item_id: Id | None
    subject_handoff_id: Id | None
    subject_revision: int | None
    assessment_prompt: str | None
    latest_handoff: dict[str, Any] | None
    """The gist of what its executor handed on last; all of it is with its work item."""
    role_config: dict[str, Any] | None
    environment: dict[str, Any] | None
    token_budget: int | None
    cost_cap_usd: float | None
    max_iterations: int | None
    llm_max_retries: int | None
    metrics: dict[str, Any] | None
    git_info: dict[str, Any] | None
    verification: dict[str, Any] | None
    created_at: Instant
    updated_at: Instant


@answer
class TagDepth(TypedDict):
    """Ready tasks that ask for the same tags."""

    required_tags: list[str]
    ready: int


@answer
class QueueDepth(TypedDict):
    """How much work could be claimed now."""

    ready: int
    by_priority: dict[str, int]
    by_tags: list[TagDepth]


class DepthQuery(Query):
    """Whose work to count."""

    workflow_id: Id | None = None
    playbook_id: Id | None = None
