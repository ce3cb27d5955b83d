"""Grants, tool calls and what the gateway must remember of them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, table, where
from core.store.types import Id, Instant, Json
from schemas.vocabulary import CallState, GrantEffect, GrantSubject


class McpGrantRow(SQLModel, table=True):
    """Who may call which tools of a server. `subject` is a role's name, or an id as text."""

    __tablename__ = "mcp_grant"
    __table_args__ = (
        sa.CheckConstraint(one_of("subject_kind", GrantSubject), name="mcp_grant_subject_kind_valid"),
        sa.CheckConstraint(one_of("effect", GrantEffect), name="mcp_grant_effect_valid"),
        sa.UniqueConstraint(
            "tenant_id", "subject_kind", "subject", "server_id", "tool", "effect", name="mcp_grant_key"
        ),
        sa.Index("mcp_grant_server", "server_id"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    subject_kind: str
    subject: str
    server_id: UUID = Field(sa_type=Id)
    tool: str
    """A pattern of the names that the server gives."""
    effect: str
    timeout_seconds: int | None = None
    calls_per_minute: int | None = None
    max_result_bytes: int | None = None
    created_by: UUID = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=Instant)


class McpCallRow(SQLModel, table=True):
    """One call of a tool through the gateway: who, what, and what became of it."""

    __tablename__ = "mcp_call"
    __table_args__ = (
        sa.CheckConstraint(one_of("state", CallState), name="mcp_call_state_valid"),
        sa.Index("mcp_call_tenant", "tenant_id", "id"),
        sa.Index("mcp_call_task", "task_id", "id", **where("task_id IS NOT NULL")),
        sa.Index("mcp_call_grant", "grant_id", "requested_at", **where("grant_id IS NOT NULL")),
        sa.Index("mcp_call_waiting", "id", **where("state = 'awaiting_approval'")),
        sa.Index("mcp_call_running", "due_at", **where("state = 'started'")),
        sa.Index("mcp_call_gated", "gate_digest", "id", **where("gate_digest IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    principal_id: UUID = Field(sa_type=Id)
    task_id: UUID | None = Field(default=None, sa_type=Id)
    attempt: int | None = None
    lease_id: UUID | None = Field(default=None, sa_type=Id)
    server_id: UUID = Field(sa_type=Id)
    server: str
    tool: str
    arguments_digest: str
    arguments: Any | None = Field(default=None, sa_type=Json)
    """With what looks like a secret left out."""
    definition_hash: str
    grant_id: UUID | None = Field(default=None, sa_type=Id)
    """What limits its rate, where anything does."""
    state: str
    approval_id: UUID | None = Field(default=None, sa_type=Id)
    gate_digest: str | None = None
    """What its approval was given for; the same call again is found by it."""
    sealed_request: str | None = None
    """The arguments whole, for a call that waits for leave."""
    timeout_seconds: int
    max_result_bytes: int
    result: Any | None = Field(default=None, sa_type=Json)
    """What came of a call that had to wait, for whoever asks again."""
    error: dict[str, Any] | None = Field(default=None, sa_type=Json)
    is_error: bool | None = None
    collected: bool = False
    requested_at: datetime = Field(sa_type=Instant)
    started_at: datetime | None = Field(default=None, sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    due_at: datetime | None = Field(default=None, sa_type=Instant)
    """When a started call that nobody has ended is given up as unknown."""
    duration_ms: int | None = None


grant = table("mcp_grant")
call = table("mcp_call")
