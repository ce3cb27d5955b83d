"""Worker processes, and what they are told."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, table, where
from core.store.types import Id, Instant, Json
from schemas.vocabulary import WorkerSignalType, WorkerStatus


class WorkerRow(SQLModel, table=True):
    """A process that runs agents. Its principal has the same id."""

    __tablename__ = "worker"
    __table_args__ = (
        sa.CheckConstraint(one_of("status", WorkerStatus), name="worker_status_valid"),
        sa.Index("worker_tenant", "tenant_id", "id"),
        sa.Index("worker_seen", "last_seen_at", **where("status <> 'offline'")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    name: str
    runtime_type: str
    connection_mode: str
    routing_tags: list[str] = Field(sa_type=Json)
    host_info: dict[str, Any] = Field(sa_type=Json)
    status: str
    heartbeat_interval_seconds: int
    current_tasks: list[str] = Field(sa_type=Json)
    """What its last heartbeat said it does."""
    metrics: dict[str, Any] = Field(sa_type=Json)
    attributes: dict[str, Any] = Field(sa_type=Json)
    registered_by: UUID = Field(sa_type=Id)
    last_seen_at: datetime = Field(sa_type=Instant)
    last_heartbeat_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class WorkerSignalRow(SQLModel, table=True):
    """What a worker is told, until it says that it heard."""

    __tablename__ = "worker_signal"
    __table_args__ = (
        sa.CheckConstraint(one_of("type", WorkerSignalType), name="worker_signal_type_valid"),
        sa.Index("worker_signal_open", "worker_id", "id", **where("acked_at IS NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    worker_id: UUID = Field(sa_type=Id)
    type: str
    task_id: UUID | None = Field(default=None, sa_type=Id)
    data: dict[str, Any] = Field(sa_type=Json)
    issued_by: UUID = Field(sa_type=Id)
    issued_at: datetime = Field(sa_type=Instant)
    acked_at: datetime | None = Field(default=None, sa_type=Instant)


class CheckpointRow(SQLModel, table=True):
    """What the last attempt that did so kept of its work."""

    __tablename__ = "task_checkpoint"
    task_id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    attempt: int
    state: Any | None = Field(sa_type=Json)
    kept_at: datetime = Field(sa_type=Instant)


checkpoint = table("task_checkpoint")
worker = table("worker")
worker_signal = table("worker_signal")
