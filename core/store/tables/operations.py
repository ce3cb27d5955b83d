"""Logs, metering, governance, webhooks, schedules, stored files."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import table, where
from core.store.types import Id, Instant, Json


class StoredFileRow(SQLModel, table=True):
    """A file beside the database. Its row is there first, marked for removal until the file is used."""

    __tablename__ = "stored_file"
    __table_args__ = (
        sa.Index("stored_file_tenant", "tenant_id", "id"),
        sa.Index("stored_file_due", "remove_at", **where("remove_at IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    size_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    sha256: bytes | None = None
    remove_at: datetime | None = Field(default=None, sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)


class WebhookRow(SQLModel, table=True):
    """Who outside hears of a tenant's events."""

    __tablename__ = "webhook"
    __table_args__ = (
        sa.Index("webhook_tenant", "tenant_id", "id"),
        sa.Index("webhook_active", "tenant_id", **where("is_active")),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    url: str
    endpoint: str
    """The URL's origin."""
    event_types: list[str] = Field(sa_type=Json)
    workspace_id: UUID | None = Field(default=None, sa_type=Id)
    workflow_id: UUID | None = Field(default=None, sa_type=Id)
    secret: str
    """Sealed, as is the one before it, which signs beside it until its time is over."""
    previous_secret: str | None = None
    previous_until: datetime | None = Field(default=None, sa_type=Instant)
    description: str | None = None
    is_active: bool = True
    disabled: str | None = None
    """Why the receiver is told nothing more, when it said so itself."""
    since: datetime = Field(sa_type=Instant)
    """It hears of what happens after this. A position would not do: PostgreSQL gives it out later."""
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


stored_file = table("stored_file")
webhook = table("webhook")
