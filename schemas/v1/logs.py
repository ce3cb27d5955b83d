"""Execution logs: what executors say of their work."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Csv, Id, Instant, Moment, Object, Query, Replayable, Title, answer

Source = Literal["runtime", "container_manager", "platform", "task_container"]
Category = Literal[
    "llm", "tool", "agent_loop", "task_lifecycle", "runtime_lifecycle", "container", "api", "config", "auth"
]
Level = Literal["debug", "info", "warn", "error"]
LogStatus = Literal["started", "completed", "failed", "skipped"]
ToolOwner = Literal["runtime", "task"]
Mark = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class LogError(Body):
    """What went wrong."""

    code: Mark | None = None
    message: Annotated[str, StringConstraints(max_length=5000)]
    stack: Annotated[str, StringConstraints(max_length=20_000)] | None = None


class LogEntry(Body):
    """One line."""

    trace_id: Mark
    span_id: Mark
    parent_span_id: Mark | None = None
    source: Source
    category: Category
    level: Level
    operation: Title
    status: LogStatus
    duration_ms: Annotated[float, Field(ge=0, le=1e12, strict=False)] | None = None
    payload: Object | None = None
    """At most 32 KiB. What looks like a secret is covered."""
    error: LogError | None = None
    workspace_id: Id | None = None
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    task_id: Id | None = None
    stage_name: Mark | None = None
    activation_id: Id | None = None
    is_orchestrator_task: bool = False
    role: Mark | None = None
    actor_type: Mark | None = None
    actor_id: Label | None = None
    actor_name: Label | None = None
    resource_type: Mark | None = None
    resource_id: Label | None = None
    resource_name: Label | None = None
    execution_backend: Mark | None = None
    tool_owner: ToolOwner | None = None


class LogIngest(Replayable):
    """Lines, each judged by itself."""

    entries: Annotated[list[Object], Field(min_length=1, max_length=100)]
    """Objects as `LogEntry` describes them. One that is none is rejected; the others are kept."""


class LogFilters(Query):
    """Which lines. Conditions are joined by AND; values separated by commas by OR."""

    workspace_id: Id | None = None
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    task_id: Id | None = None
    stage_name: Mark | None = None
    activation_id: Id | None = None
    is_orchestrator_task: bool | None = None
    source: Csv[Source] | None = None
    category: Csv[Category] | None = None
    level: Csv[Level] | None = None
    operation: Csv[Title] | None = None
    status: Csv[LogStatus] | None = None
    role: Csv[Mark] | None = None
    actor_kind: Csv[Mark] | None = None
    actor_id: Label | None = None
    tool_owner: ToolOwner | None = None
    execution_backend: Mark | None = None
    trace_id: Mark | None = None
    search: Label | None = None
    """In the operation, the payload or the error."""
    since: Moment | None = None
    """A day before `until` when absent."""
    until: Moment | None = None


class LogQuery(LogFilters):
    """A page of lines."""

    order: Literal["asc", "desc"] = "desc"
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None
    per_page: Annotated[int, Field(ge=1, le=500)] = 100
    detail: Literal["summary", "full"] = "full"
    """`summary` leaves out payload and stack."""


class LogStreamQuery(LogFilters):
    """Which lines to follow."""

    detail: Literal["summary", "full"] = "full"


class LogStatsQuery(LogFilters):
    """What to count by."""

    group_by: Literal[
        "category",
        "operation",
        "level",
        "task_id",
        "work_item_id",
        "stage_name",
        "activation_id",
        "is_orchestrator_task",
        "source",
        "execution_backend",
        "tool_owner",
    ] = "category"


class LogExportQuery(LogFilters):
    """In which form."""

    format: Literal["json", "csv"] = "json"


@answer
class LogIngested(TypedDict):
    """What became of the lines."""

    accepted: int
    rejected: int
    rejection_details: list[dict[str, Any]]
    """`index`, `trace_id` and `reason` of the first ten that were rejected."""


@answer
class LogRow(TypedDict):
    """One line."""

    id: Id
    tenant_id: Id
    trace_id: str
    span_id: str
    parent_span_id: str | None
    source: str
    category: str
    level: str
    operation: str
    status: str
    duration_ms: float | None
    payload: dict[str, Any] | None
    error: dict[str, Any] | None
    workspace_id: Id | None
    workflow_id: Id | None
    work_item_id: Id | None
    task_id: Id | None
    stage_name: str | None
    activation_id: Id | None
    is_orchestrator_task: bool
    role: str | None
    actor_type: str | None
    actor_id: str | None
    actor_name: str | None
    resource_type: str | None
    resource_id: str | None
    resource_name: str | None
    execution_backend: str | None
    tool_owner: str | None
    created_at: Instant


@answer
class LogGroup(TypedDict):
    """What the lines of one value come to."""

    group: str | None
    count: int
    error_count: int
    total_duration_ms: float
    avg_duration_ms: float


@answer
class LogTotals(TypedDict):
    """What all groups come to."""

    count: int
    error_count: int
    total_duration_ms: float


@answer
class LogStats(TypedDict):
    """Groups, the largest first, at most 100."""

    groups: list[LogGroup]
    totals: LogTotals
