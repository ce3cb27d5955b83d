"""Schedules and triggers: what starts tasks and workflows by itself, and the record of what was started."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, table, where
from core.store.types import Id, Instant, Json
from schemas.occasions import RunStatus


class ScheduleRow(SQLModel, table=True):
    """Starts something at times."""

    __tablename__ = "schedule"
    __table_args__ = (
        sa.Index("schedule_tenant", "tenant_id", "id"),
        sa.Index("schedule_due", "next_at", **where("is_active AND next_at IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    description: str | None = None
    cron: str | None = None
    start_at: datetime | None = Field(default=None, sa_type=Instant)
    """Once, instead of by an expression."""
    timezone: str
    action: dict[str, Any] = Field(sa_type=Json)
    missed: str
    overlap: str
    is_active: bool = True
    next_at: datetime | None = Field(default=None, sa_type=Instant)
    """When it is due next. Each run moves it on in its own transaction, so that no time is taken twice."""
    created_by: UUID = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class ScheduleRunRow(SQLModel, table=True):
    """One time at which a schedule was due, or was told to run."""

    __tablename__ = "schedule_run"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", RunStatus), name="schedule_run_status_valid"),
        sa.UniqueConstraint("schedule_id", "due_at", name="schedule_run_once"),
        sa.Index("schedule_run_history", "schedule_id", "id"),
        sa.Index("schedule_run_open", "schedule_id", **where("is_open")),
        sa.Index("schedule_run_queued", "schedule_id", "id", **where("status = 'queued'")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    schedule_id: UUID = Field(sa_type=Id)
    due_at: datetime | None = Field(default=None, sa_type=Instant)
    """None for a run that somebody asked for."""
    status: str
    reason: str | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    is_open: bool = False
    """Whether what it started may still go on, as far as an overlap was looked for."""
    created_at: datetime = Field(sa_type=Instant)
    started_at: datetime | None = Field(default=None, sa_type=Instant)


class TriggerRow(SQLModel, table=True):
    """Starts something when an event happens, or when somebody outside calls."""

    __tablename__ = "trigger_rule"
    __table_args__ = (
        sa.Index("trigger_rule_tenant", "tenant_id", "id"),
        sa.Index("trigger_rule_events", "tenant_id", **where("is_active AND kind = 'event'")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    description: str | None = None
    kind: str
    event_types: list[str] = Field(sa_type=Json)
    filters: dict[str, Any] = Field(sa_type=Json)
    auth: str | None = None
    secret: str | None = None
    """Sealed."""
    action: dict[str, Any] = Field(sa_type=Json)
    is_active: bool = True
    since: datetime = Field(sa_type=Instant)
    """It hears of what happens after this."""
    created_by: UUID = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class TriggerStartRow(SQLModel, table=True):
    """One event or call that a trigger starts something for. Its key is there once."""

    __tablename__ = "trigger_start"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", RunStatus), name="trigger_start_status_valid"),
        sa.UniqueConstraint("trigger_id", "key", name="trigger_start_once"),
        sa.Index("trigger_start_history", "trigger_id", "id"),
        sa.Index("trigger_start_queued", "id", **where("status = 'queued'")),
        sa.Index("trigger_start_task", "task_id", **where("task_id IS NOT NULL")),
        sa.Index("trigger_start_workflow", "workflow_id", **where("workflow_id IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    trigger_id: UUID = Field(sa_type=Id)
    key: str
    given: dict[str, Any] | None = Field(default=None, sa_type=Json)
    """What its templates are filled in from; forgotten once it was started."""
    depth: int = 0
    """How many triggers led here, one from the other."""
    status: str
    reason: str | None = None
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)
    started_at: datetime | None = Field(default=None, sa_type=Instant)


schedule = table("schedule")
schedule_run = table("schedule_run")
trigger = table("trigger_rule")
trigger_start = table("trigger_start")
