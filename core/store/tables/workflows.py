"""Workspaces, roles, playbooks, and the workflows made from them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, table, where
from core.store.types import Id, Instant, Json
from schemas.vocabulary import (
    ActivationState,
    GateStatus,
    Lifecycle,
    OnTaskFailure,
    PauseMode,
    StageStatus,
    WorkflowState,
)

_LIVE = "state IN ('pending', 'active', 'paused')"


class WorkspaceRow(SQLModel, table=True):
    __tablename__ = "workspace"
    __table_args__ = (
        sa.UniqueConstraint("tenant_id", "slug", name="workspace_slug"),
        sa.Index("workspace_tenant", "tenant_id", "id"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    slug: str
    description: str | None = None
    repository_url: str | None = None
    settings: dict[str, Any] = Field(sa_type=Json)
    """Without what is secret in them."""
    git_token: str | None = None
    """Sealed."""
    git_webhook_provider: str | None = None
    git_webhook_secret: str | None = None
    """Sealed."""
    memory: dict[str, Any] = Field(sa_type=Json)
    memory_size_bytes: int
    current_spec_version: int
    is_active: bool
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class WorkspaceSpecRow(SQLModel, table=True):
    """One version of what a workspace offers. Versions are never changed."""

    __tablename__ = "workspace_spec"
    workspace_id: UUID = Field(primary_key=True, sa_type=Id)
    version: int = Field(primary_key=True)
    tenant_id: UUID = Field(sa_type=Id)
    spec: dict[str, Any] = Field(sa_type=Json)
    created_by: UUID = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)


class ToolTagRow(SQLModel, table=True):
    """A word for a tool that workspaces and roles speak of."""

    __tablename__ = "tool_tag"
    tenant_id: UUID = Field(primary_key=True, sa_type=Id)
    tool_id: str = Field(primary_key=True)
    name: str
    description: str | None = None
    category: str | None = None
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class RoleRow(SQLModel, table=True):
    __tablename__ = "role"
    __table_args__ = (sa.UniqueConstraint("tenant_id", "name", name="role_name"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    description: str | None = None
    system_prompt: str | None = None
    allowed_tools: list[str] = Field(sa_type=Json)
    mcp_server_ids: list[str] = Field(sa_type=Json)
    verification_strategy: str | None = None
    escalation_target: str | None = None
    max_escalation_depth: int
    is_active: bool
    version: int
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class PlaybookRow(SQLModel, table=True):
    """One version of a playbook. An edit makes another row; workflows keep the one they were made from."""

    __tablename__ = "playbook"
    __table_args__ = (
        sa.CheckConstraint(one_of("lifecycle", Lifecycle), name="playbook_lifecycle_valid"),
        sa.UniqueConstraint("tenant_id", "slug", "version", name="playbook_version"),
        sa.Index("playbook_current", "tenant_id", "slug", unique=True, **where("is_active")),
        sa.Index("playbook_tenant", "tenant_id", "id"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    slug: str
    version: int
    name: str
    description: str | None = None
    outcome: str
    lifecycle: str
    definition: dict[str, Any] = Field(sa_type=Json)
    is_active: bool
    archived_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class WorkflowRow(SQLModel, table=True):
    __tablename__ = "workflow"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", WorkflowState), name="workflow_state_valid"),
        sa.CheckConstraint(one_of("lifecycle", Lifecycle), name="workflow_lifecycle_valid"),
        sa.CheckConstraint(one_of("failure_policy", OnTaskFailure), name="workflow_policy_valid"),
        sa.CheckConstraint(f"pause_mode IS NULL OR {one_of('pause_mode', PauseMode)}", name="workflow_pause"),
        sa.CheckConstraint(f"({_LIVE}) = (completed_at IS NULL)", name="workflow_final_has_end"),
        sa.Index("workflow_tenant", "tenant_id", "id"),
        sa.Index("workflow_tenant_state", "tenant_id", "state", "id"),
        sa.Index("workflow_workspace", "workspace_id", "id"),
        sa.Index("workflow_playbook", "playbook_id", "id"),
        sa.Index("workflow_parent", "parent_workflow_id", **where("parent_workflow_id IS NOT NULL")),
        sa.Index("workflow_front", "front_task_id", unique=True, **where("front_task_id IS NOT NULL")),
        sa.Index("workflow_attempts", "attempt_group_id", "attempt_number", unique=True),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workspace_id: UUID = Field(sa_type=Id)
    playbook_id: UUID = Field(sa_type=Id)
    playbook_version: int
    definition: dict[str, Any] = Field(sa_type=Json)
    """The playbook's, as it was when the workflow was made."""
    name: str
    state: str
    lifecycle: str
    current_stage: str | None = None
    failure_policy: str
    parameters: dict[str, Any] = Field(sa_type=Json)
    inputs: dict[str, Any] = Field(sa_type=Json)
    context: dict[str, Any] = Field(sa_type=Json)
    attributes: dict[str, Any] = Field(sa_type=Json)
    operator_note: str | None = None
    output: Any | None = Field(default=None, sa_type=Json)
    failure: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """What it failed of."""
    budget: dict[str, Any] = Field(sa_type=Json)
    """`token_budget`, `cost_cap_usd`, `max_duration_minutes`, where given."""
    live_visibility_mode: str
    settings_revision: int
    paused_at: datetime | None = Field(default=None, sa_type=Instant)
    pause_mode: str | None = None
    created_by: UUID = Field(sa_type=Id)
    attempt_group_id: UUID = Field(sa_type=Id)
    attempt_number: int
    attempt_kind: str
    root_workflow_id: UUID = Field(sa_type=Id)
    previous_attempt_workflow_id: UUID | None = Field(default=None, sa_type=Id)
    redrive_reason: str | None = None
    parent_workflow_id: UUID | None = Field(default=None, sa_type=Id)
    front_task_id: UUID | None = Field(default=None, sa_type=Id)
    """The task that stands for it before whoever asked for it."""
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    completed_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class WorkflowStageRow(SQLModel, table=True):
    __tablename__ = "workflow_stage"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", StageStatus), name="workflow_stage_status_valid"),
        sa.CheckConstraint(one_of("gate_status", GateStatus), name="workflow_stage_gate_valid"),
    )
    workflow_id: UUID = Field(primary_key=True, sa_type=Id)
    position: int = Field(primary_key=True)
    id: UUID = Field(sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    status: str
    gate_status: str
    gate_id: UUID | None = Field(default=None, sa_type=Id)
    """The live gate, or the last one. So a stage has one live gate at most."""
    iteration_count: int
    summary: str | None = None
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    completed_at: datetime | None = Field(default=None, sa_type=Instant)


class WorkflowStepRow(SQLModel, table=True):
    """A task template that has been begun in a workflow: the tasks that are, or are to be, made from it."""

    __tablename__ = "workflow_step"
    workflow_id: UUID = Field(primary_key=True, sa_type=Id)
    name: str = Field(primary_key=True)
    position: int
    """Of its stage."""
    iteration: int
    """Grows when it is done again from the start. Tasks of an earlier iteration do not count."""
    begun: bool
    """False once it is to be done again, until what it depends on is done."""
    total: int
    """How many tasks it comes to; none when it was skipped or fanned out over nothing."""
    made: int
    """How many of them there are by now."""
    elements: list[Any] | None = Field(default=None, sa_type=Json)
    """What it fans out over."""
    skipped: bool
    problem: str | None = None
    """Why no task can be made of it."""


class WorkflowTaskRow(SQLModel, table=True):
    """Which task was made for which item of which step. The key is what makes each once."""

    __tablename__ = "workflow_task"
    __table_args__ = (sa.Index("workflow_task_task", "task_id"),)
    workflow_id: UUID = Field(primary_key=True, sa_type=Id)
    step: str = Field(primary_key=True)
    iteration: int = Field(primary_key=True)
    item: int = Field(primary_key=True)
    task_id: UUID = Field(sa_type=Id)


class WorkflowDueRow(SQLModel, table=True):
    """Something has changed in a workflow, and nobody has looked at what follows.

    One row a change, written with it; whoever advances the workflow takes away what it has seen.
    """

    __tablename__ = "workflow_due"
    __table_args__ = (
        sa.Index("workflow_due_workflow", "workflow_id"),
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0,
                "autovacuum_vacuum_threshold": 2000,
                "autovacuum_vacuum_cost_delay": 0,
            }
        },
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workflow_id: UUID = Field(sa_type=Id)


class ActivationRow(SQLModel, table=True):
    """Something that an orchestrator is to look at. `activation_id` is the batch it is handled in."""

    __tablename__ = "activation"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", ActivationState), name="activation_state_valid"),
        sa.Index("activation_workflow", "workflow_id", "id"),
        sa.Index("activation_open", "workflow_id", "state", **where("state IN ('queued', 'processing')")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workflow_id: UUID = Field(sa_type=Id)
    activation_id: UUID | None = Field(default=None, sa_type=Id)
    request_id: str | None = None
    reason: str
    event_type: str
    activation_reason: str
    payload: dict[str, Any] = Field(sa_type=Json)
    state: str
    dispatch_attempt: int
    dispatch_token: UUID | None = Field(default=None, sa_type=Id)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    """The orchestrator's task that handles it."""
    summary: str | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    recovery: dict[str, Any] | None = Field(default=None, sa_type=Json)
    not_before: datetime | None = Field(default=None, sa_type=Instant)
    queued_at: datetime = Field(sa_type=Instant)
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    consumed_at: datetime | None = Field(default=None, sa_type=Instant)
    completed_at: datetime | None = Field(default=None, sa_type=Instant)


class DocumentRow(SQLModel, table=True):
    __tablename__ = "document"
    __table_args__ = (sa.UniqueConstraint("workflow_id", "logical_name", name="document_name"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workflow_id: UUID = Field(sa_type=Id)
    workspace_id: UUID = Field(sa_type=Id)
    logical_name: str
    scope: str
    source: str
    title: str | None = None
    description: str | None = None
    attributes: dict[str, Any] = Field(sa_type=Json)
    location: dict[str, Any] = Field(sa_type=Json)
    """`repository` and `path`, or `url`, or `task_id`, `artifact_id` and `logical_path`."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


workspace = table("workspace")
workspace_spec = table("workspace_spec")
tool_tag = table("tool_tag")
role = table("role")
playbook = table("playbook")
workflow = table("workflow")
workflow_stage = table("workflow_stage")
workflow_step = table("workflow_step")
workflow_task = table("workflow_task")
workflow_due = table("workflow_due")
activation = table("activation")
document = table("document")
