"""What is kept of what went on: logs, metering, retention and holds, git activity, workspace files."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import table, where
from core.store.types import Id, Instant, Json, Real


class ExecutionLogRow(SQLModel, table=True):
    """One line of what an executor, or what runs it, says of its work."""

    __tablename__ = "execution_log"
    __table_args__ = (
        sa.Index("execution_log_tenant", "tenant_id", "created_at", "id"),
        sa.Index("execution_log_task", "task_id", "created_at", "id", **where("task_id IS NOT NULL")),
        sa.Index(
            "execution_log_workflow", "workflow_id", "created_at", "id", **where("workflow_id IS NOT NULL")
        ),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    writer_id: UUID = Field(sa_type=Id)
    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    source: str
    category: str
    level: str
    operation: str
    status: str
    duration_ms: float | None = Field(default=None, sa_type=Real)
    payload: dict[str, Any] = Field(sa_type=Json)
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    workspace_id: UUID | None = Field(default=None, sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    work_item_id: UUID | None = Field(default=None, sa_type=Id)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    stage_name: str | None = None
    activation_id: UUID | None = Field(default=None, sa_type=Id)
    is_orchestrator_task: bool = False
    role: str | None = None
    actor_type: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    resource_name: str | None = None
    execution_backend: str | None = None
    tool_owner: str | None = None
    created_at: datetime = Field(sa_type=Instant)


class MeteringEventRow(SQLModel, table=True):
    """What a piece of work has used."""

    __tablename__ = "metering_event"
    __table_args__ = (
        sa.Index("metering_event_tenant", "tenant_id", "id"),
        sa.Index("metering_event_task", "task_id", "id"),
        sa.Index("metering_event_workflow", "workflow_id", "id", **where("workflow_id IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    task_id: UUID = Field(sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    worker_id: UUID | None = Field(default=None, sa_type=Id)
    agent_id: UUID | None = Field(default=None, sa_type=Id)
    tokens_input: int = Field(sa_type=sa.BigInteger)
    tokens_output: int = Field(sa_type=sa.BigInteger)
    cost_usd: float = Field(sa_type=Real)
    wall_time_ms: int = Field(sa_type=sa.BigInteger)
    cpu_ms: int = Field(sa_type=sa.BigInteger)
    memory_peak_bytes: int = Field(sa_type=sa.BigInteger)
    network_bytes: int = Field(sa_type=sa.BigInteger)
    created_at: datetime = Field(sa_type=Instant)


class RetentionPolicyRow(SQLModel, table=True):
    """How long a tenant keeps what is over. A tenant without one has the defaults."""

    __tablename__ = "retention_policy"
    tenant_id: UUID = Field(primary_key=True, sa_type=Id)
    task_prune_after_days: int
    workflow_delete_after_days: int
    execution_log_retention_days: int
    event_retention_days: int
    artifact_retention_days: int
    updated_at: datetime = Field(sa_type=Instant)


class LegalHoldRow(SQLModel, table=True):
    """A task, workflow or workspace that retention passes over, with what belongs to it."""

    __tablename__ = "legal_hold"
    entity_id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    entity_type: str
    set_by: UUID = Field(sa_type=Id)
    set_at: datetime = Field(sa_type=Instant)


class EventFloorRow(SQLModel, table=True):
    """Up to where a tenant's log has gaps, because retention has passed."""

    __tablename__ = "event_floor"
    tenant_id: UUID = Field(primary_key=True, sa_type=Id)
    pos: int = Field(sa_type=sa.BigInteger)


class RetentionTurnRow(SQLModel, table=True):
    """One row: which replica clears away, and when the next one may."""

    __tablename__ = "retention_turn"
    name: str = Field(primary_key=True)
    holder: UUID | None = Field(default=None, sa_type=Id)
    until: datetime = Field(sa_type=Instant)


class GitDeliveryRow(SQLModel, table=True):
    """What a git server has sent already. Kept for a day, so that it is taken once."""

    __tablename__ = "git_delivery"
    __table_args__ = (sa.Index("git_delivery_at", "at"),)
    workspace_id: UUID = Field(primary_key=True, sa_type=Id)
    key: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)


class GitActivityRow(SQLModel, table=True):
    """What a git server said about a task."""

    __tablename__ = "git_activity"
    __table_args__ = (sa.Index("git_activity_task", "task_id", "id"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workspace_id: UUID = Field(sa_type=Id)
    task_id: UUID = Field(sa_type=Id)
    provider: str
    kind: str
    data: dict[str, Any] = Field(sa_type=Json)
    at: datetime = Field(sa_type=Instant)


class WorkspaceFileRow(SQLModel, table=True):
    """A file that a workspace keeps. Its content is a stored file."""

    __tablename__ = "workspace_file"
    __table_args__ = (sa.UniqueConstraint("workspace_id", "key", name="workspace_file_key"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workspace_id: UUID = Field(sa_type=Id)
    key: str
    description: str | None = None
    file_name: str
    content_type: str
    size_bytes: int = Field(sa_type=sa.BigInteger)
    sha256: bytes
    file_id: UUID = Field(sa_type=Id)
    created_by: UUID = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)


execution_log = table("execution_log")
metering_event = table("metering_event")
retention_policy = table("retention_policy")
legal_hold = table("legal_hold")
event_floor = table("event_floor")
retention_turn = table("retention_turn")
git_delivery = table("git_delivery")
git_activity = table("git_activity")
workspace_file = table("workspace_file")
