"""Work items and what belongs to them, as they go out. What comes in is in `schemas/v1/work_items.py`."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from schemas.item_words import Resolution, WorkItemState
from schemas.v1.fields import Id, Instant, answer
from schemas.vocabulary import GateStatus, Priority


@answer
class WorkItem(TypedDict):
    """Something to be done in a workflow, by as many tasks as it takes."""

    id: Id
    tenant_id: Id
    workflow_id: Id
    parent_work_item_id: Id | None
    branch_key: str | None
    stage_name: str
    column_id: str
    state: WorkItemState
    title: str
    goal: str | None
    acceptance_criteria: str | None
    notes: str | None
    owner_role: str | None
    priority: Priority
    next_expected_actor: str | None
    next_expected_action: str | None
    """`assess`, `approve`, `rework` or `handoff`: it cannot be completed before."""
    blocked_state: Literal["blocked"] | None
    blocked_reason: str | None
    escalation_status: Literal["open"] | None
    escalation_task_id: Id | None
    """The task that asks."""
    rework_count: int
    created_by: Literal["orchestrator", "api", "webhook", "manual"]
    metadata: dict[str, Any]
    initial_input_packet: dict[str, Any]
    completion_callouts: Any
    task_count: int
    task_counts: dict[str, int]
    """Its tasks by state."""
    children_count: int
    is_milestone: bool
    """Whether it has children."""
    assessment_status: str | None
    """What the last assessment came to, or `pending`."""
    gate_status: GateStatus
    """Of its stage."""
    completed_at: Instant | None
    created_at: Instant
    updated_at: Instant
    children: NotRequired[list["WorkItem"]]
    """Where they were asked for."""


@answer
class WorkItemCard(TypedDict):
    """A work item on the board."""

    kind: Literal["work_item"]
    id: Id
    title: str
    stage_name: str
    role: str | None
    """Whose it is."""
    state: WorkItemState
    priority: Priority
    parent_work_item_id: Id | None
    total: int
    task_counts: dict[str, int]
    """Its tasks by state."""
    next_expected_actor: str | None
    next_expected_action: str | None
    escalation_status: Literal["open"] | None
    rework_count: int
    problem: str | None
    """Why it is blocked."""


@answer
class WorkItemSummary(TypedDict):
    """The work items of a workflow in numbers."""

    total_work_items: int
    open_work_item_count: int
    """Neither completed nor cancelled."""
    blocked_work_item_count: int
    completed_work_item_count: int
    active_stage_count: int
    awaiting_gate_count: int
    active_stage_names: list[str]


@answer
class Handoff(TypedDict):
    """What the executor of a task hands on to whoever comes next."""

    id: Id
    task_id: Id
    task_rework_count: int
    """The revision of the task that it speaks of."""
    workflow_id: Id | None
    work_item_id: Id | None
    role: str | None
    attempt: int
    summary: str
    completion: Literal["full", "blocked"]
    resolution: Resolution | None
    decision_state: Resolution | None
    """The same."""
    closure_effect: str | None
    changes: list[Any]
    decisions: list[Any]
    remaining_items: list[Any]
    blockers: list[Any]
    focus_areas: list[str]
    known_risks: list[str]
    successor_context: str | None
    role_data: dict[str, Any]
    subject_ref: dict[str, Any] | None
    subject_revision: int | None
    outcome_action_applied: str | None
    artifact_ids: list[str]
    documents: list[str]
    created_at: Instant


@answer
class MemoryEntry(TypedDict):
    """Something that is remembered."""

    key: str
    value: Any
    removed: bool
    """In the history: it was forgotten then."""
    task_id: Id | None
    """The task that wrote it."""
    author_id: Id
    created_at: Instant


@answer
class ContextPacket(TypedDict):
    """What an executor may want to know around a task."""

    task: dict[str, Any]
    agent: dict[str, Any] | None
    workspace: dict[str, Any] | None
    workflow: dict[str, Any] | None
    stage: dict[str, Any] | None
    work_item: WorkItem | None
    role: dict[str, Any] | None
    instructions: str | None
    """The playbook's process instructions."""
    predecessor_handoff: Handoff | None
    dependencies: list[dict[str, Any]]
    """The tasks it depends on, with their outputs."""
    subject: dict[str, Any] | None
    """What it assesses."""
    memory: dict[str, Any]
