"""Logs, metering, governance, webhooks, schedules, stored files."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import table, where
from core.store.types import Id, Instant


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


stored_file = table("stored_file")
