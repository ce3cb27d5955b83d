"""Work items, what is handed on between their tasks, and what is remembered with them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, table, where
from core.store.types import Id, Instant, Json
from schemas.item_words import WorkItemState

_OVER = "state IN ('completed', 'cancelled')"


class WorkItemRow(SQLModel, table=True):
    """Something to be done in a workflow, by as many tasks as it takes."""

    __tablename__ = "work_item"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", WorkItemState), name="work_item_state_valid"),
        sa.CheckConstraint(f"({_OVER}) = (completed_at IS NOT NULL)", name="work_item_over_has_end"),
        sa.Index("work_item_workflow", "workflow_id", "id"),
        sa.Index("work_item_open", "workflow_id", "stage_name", **where(f"NOT ({_OVER})")),
        sa.Index("work_item_parent", "parent_work_item_id", **where("parent_work_item_id IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    workflow_id: UUID = Field(sa_type=Id)
    parent_work_item_id: UUID | None = Field(default=None, sa_type=Id)
    branch_key: str | None = None
    stage_name: str
    column_id: str
    state: str
    title: str
    goal: str | None = None
    acceptance_criteria: str | None = None
    notes: str | None = None
    owner_role: str | None = None
    priority: str
    next_expected_actor: str | None = None
    next_expected_action: str | None = None
    assessment_status: str | None = None
    blocked_reason: str | None = None
    """Set exactly while it is blocked, through a pause, too."""
    escalation_status: str | None = None
    escalation_task_id: UUID | None = Field(default=None, sa_type=Id)
    """The task that asks, while an escalation is open."""
    rework_count: int
    created_by: str
    creator_id: UUID = Field(sa_type=Id)
    attributes: dict[str, Any] = Field(sa_type=Json)
    inputs: dict[str, Any] = Field(sa_type=Json)
    completion_callouts: Any | None = Field(default=None, sa_type=Json)
    completed_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class HandoffRow(SQLModel, table=True):
    """What the executor of a task hands on to whoever comes next; one for each revision of the task."""

    __tablename__ = "handoff"
    __table_args__ = (
        sa.UniqueConstraint("task_id", "rework_count", name="handoff_revision"),
        sa.Index("handoff_work_item", "work_item_id", "id", **where("work_item_id IS NOT NULL")),
        sa.Index("handoff_workflow", "workflow_id", **where("workflow_id IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    task_id: UUID = Field(sa_type=Id)
    rework_count: int
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    work_item_id: UUID | None = Field(default=None, sa_type=Id)
    role: str | None = None
    attempt: int
    completion: str
    resolution: str | None = None
    summary: str
    content: dict[str, Any] = Field(sa_type=Json)
    """The rest of what was said."""
    author_id: UUID = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)


class MemoryEntryRow(SQLModel, table=True):
    """One value that was remembered with a work item, or with a task that belongs to none."""

    __tablename__ = "memory_entry"
    __table_args__ = (
        sa.Index("memory_entry_subject", "subject_id", "id"),
        sa.Index("memory_entry_current", "subject_id", "key", unique=True, **where("is_current")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    subject_id: UUID = Field(sa_type=Id)
    """The work item, or the task."""
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    key: str
    value: Any | None = Field(default=None, sa_type=Json)
    removed: bool
    """It was forgotten with this entry."""
    is_current: bool
    task_id: UUID | None = Field(default=None, sa_type=Id)
    author_id: UUID = Field(sa_type=Id)
    size_bytes: int
    created_at: datetime = Field(sa_type=Instant)


work_item = table("work_item")
handoff = table("handoff")
memory_entry = table("memory_entry")
