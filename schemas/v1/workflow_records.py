"""Workflows and what belongs to them, as they go out. What comes in is in `schemas/v1/workflows.py`."""

from typing import Any, Literal

from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, answer
from schemas.v1.tasks import Task
from schemas.v1.work_item_records import WorkItem, WorkItemCard, WorkItemSummary
from schemas.vocabulary import (
    ActivationState,
    GateStatus,
    Lifecycle,
    OnTaskFailure,
    PauseMode,
    StageStatus,
    WorkflowState,
)

Visibility = Literal["standard", "enhanced"]


@answer
class Workflow(TypedDict):
    """A workflow."""

    id: Id
    tenant_id: Id
    workspace_id: Id
    playbook_id: Id
    playbook_version: int
    name: str
    state: WorkflowState
    lifecycle: Lifecycle
    current_stage: str | None
    on_task_failure: OnTaskFailure
    parameters: dict[str, str]
    inputs: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]
    operator_note: str | None
    output: Any
    """What it came to, once it is completed."""
    failure: dict[str, Any] | None
    """What it failed of: `category`, `message`, and the `task` or gate."""
    token_budget: int | None
    cost_cap_usd: float | None
    max_duration_minutes: float | None
    live_visibility_mode: Visibility
    settings_revision: int
    pause_mode: PauseMode | None
    attempt_group_id: Id
    attempt_number: int
    attempt_kind: Literal["initial", "redrive"]
    root_workflow_id: Id
    previous_attempt_workflow_id: Id | None
    redrive_reason: str | None
    parent_workflow_id: Id | None
    created_by: Id
    started_at: Instant | None
    completed_at: Instant | None
    """When it was over, however."""
    created_at: Instant
    updated_at: Instant


@answer
class Stage(TypedDict):
    """A stage of a workflow."""

    id: Id
    name: str
    position: int
    goal: str
    guidance: str | None
    involves: list[str]
    status: StageStatus
    gate_status: GateStatus
    gate_id: Id | None
    is_active: bool
    iteration_count: int
    """How often changes were requested."""
    summary: str | None
    open_work_item_count: int
    total_work_item_count: int
    started_at: Instant | None
    completed_at: Instant | None


@answer
class Activation(TypedDict):
    """Something that an orchestrator is to look at."""

    id: Id
    workflow_id: Id
    activation_id: Id | None
    """The batch in which it is handled."""
    request_id: str | None
    reason: str
    event_type: str
    activation_reason: str
    payload: dict[str, Any]
    state: ActivationState
    dispatch_attempt: int
    dispatch_token: Id | None
    task_id: Id | None
    summary: str | None
    error: dict[str, Any] | None
    recovery: dict[str, Any] | None
    queued_at: Instant
    started_at: Instant | None
    consumed_at: Instant | None
    completed_at: Instant | None


@answer
class WorkflowDetail(Workflow):
    """A workflow and what belongs to it."""

    tasks: list[Task]
    """The newest thousand."""
    task_counts: dict[str, int]
    """All of its tasks, by state."""
    workflow_stages: list[Stage]
    active_stages: list[str]
    work_items: list[WorkItem]
    work_item_summary: WorkItemSummary
    activations: list[Activation]
    """The newest hundred."""


@answer
class BoardItem(TypedDict):
    """Something on the board: a step of the playbook."""

    kind: Literal["step"]
    id: str
    """The step's name in the playbook."""
    title: str
    stage_name: str
    role: str | None
    state: Literal["waiting", "running", "completed", "failed", "skipped"]
    depends_on: list[str]
    iteration: int
    total: int
    task_counts: dict[str, int]
    """Its tasks by state."""
    problem: str | None


@answer
class BoardColumn(TypedDict):
    """A column of the board."""

    id: str
    label: str
    description: str | None
    is_blocked: bool
    is_terminal: bool
    items: list[BoardItem | WorkItemCard]


@answer
class Board(TypedDict):
    """A workflow at a glance."""

    workflow: Workflow
    columns: list[BoardColumn]
    stages: list[Stage]
    active_stages: list[str]
    work_item_summary: WorkItemSummary


@answer
class Gate(TypedDict):
    """A stage's gate. The same id names it among the approvals."""

    id: Id
    workflow_id: Id
    stage_id: Id
    stage_name: str
    status: str
    """`awaiting_approval`, `approved`, `rejected`, `changes_requested`, `blocked` or `superseded`."""
    closure_effect: Literal["blocking"]
    request_summary: str
    recommendation: str | None
    concerns: list[str]
    key_artifacts: list[dict[str, Any]]
    subject_revision: int
    requested_by_type: Literal["system", "principal"]
    requested_by_id: Id
    requested_at: Instant
    decision_feedback: str | None
    decided_by_type: Literal["system", "principal"] | None
    decided_by_id: Id | None
    decided_at: Instant | None


@answer
class ArtifactReference(TypedDict):
    """The artifact that a document names."""

    id: str
    task_id: Id
    logical_path: str | None
    download_url: str


@answer
class Document(TypedDict):
    """A document."""

    id: Id
    workflow_id: Id
    workspace_id: Id
    logical_name: str
    scope: str
    source: str
    title: str | None
    description: str | None
    metadata: dict[str, Any]
    repository: str | None
    path: str | None
    url: str | None
    artifact: ArtifactReference | None
    created_at: Instant
    updated_at: Instant


@answer
class Deliverable(TypedDict):
    """A result of a workflow."""

    descriptor_id: str
    descriptor_kind: str
    delivery_stage: Literal["in_progress", "final"]
    title: str
    state: Literal["draft", "under_review", "approved", "superseded", "final"]
    work_item_id: Id | None
    task_id: Id
    stage_name: str | None
    summary_brief: str | None
    content: Any
    """The task's output."""
    updated_at: Instant


@answer
class WorkflowSettings(TypedDict):
    """The settings of a workflow."""

    live_visibility_mode: Visibility
    settings_revision: int


@answer
class BudgetSnapshot(TypedDict):
    """What a workflow has used of what it may use."""

    tokens_used: int
    tokens_limit: int | None
    tokens_remaining: int | None
    cost_used_usd: float
    cost_limit_usd: float | None
    cost_remaining_usd: float | None
    elapsed_minutes: float
    duration_limit_minutes: float | None
    duration_remaining_minutes: float | None
    warning_dimensions: list[str]
    """Over four fifths of the limit: `tokens`, `cost`, `duration`."""
    exceeded_dimensions: list[str]


@answer
class BulkDeleted(TypedDict):
    """What became of each."""

    deleted: int
    failed: int
    results: list["BulkResult"]


@answer
class BulkResult(TypedDict):
    """What became of one."""

    id: Id
    deleted: bool
    reason: str | None
