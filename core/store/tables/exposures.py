"""What is exposed to callers of other protocols, and the keys that sign the cards."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from core.store.tables.declaring import one_of, table
from core.store.types import Id, Instant, Json
from schemas.vocabulary import ExposureKind


class ExposureRow(SQLModel, table=True):
    """An agent, a role or a playbook with a card and endpoints of its own.

    A slug is part of a public address, and so is one of the whole hub: it is no secret that it is taken.
    """

    __tablename__ = "exposure"
    __table_args__ = (
        sa.CheckConstraint(one_of("kind", ExposureKind), name="exposure_kind_valid"),
        sa.Index("exposure_tenant", "tenant_id", "id"),
        sa.Index("exposure_target", "tenant_id", "kind", "target"),
    )
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    slug: str = Field(unique=True)
    kind: str
    target: str
    """The id of an agent, the name of a role, or the slug of a playbook."""
    workspace_id: UUID | None = Field(default=None, sa_type=Id)
    """Where a playbook runs."""
    name: str
    description: str
    skills: list[Any] = Field(sa_type=Json)
    input_modes: list[str] = Field(sa_type=Json)
    output_modes: list[str] = Field(sa_type=Json)
    required_extensions: list[str] = Field(sa_type=Json)
    """URIs that a caller must name."""
    is_active: bool = True
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)


class SigningKeyRow(SQLModel, table=True):
    """A key pair that signs what a tenant says of itself, until it is retired."""

    __tablename__ = "signing_key"
    __table_args__ = (sa.Index("signing_key_tenant", "tenant_id", "id"),)
    id: UUID = Field(primary_key=True, sa_type=Id)
    tenant_id: UUID = Field(sa_type=Id)
    kid: str = Field(unique=True)
    """Its thumbprint (RFC 7638)."""
    algorithm: str
    public: dict[str, Any] = Field(sa_type=Json)
    """The public key as a JWK."""
    private: str | None = None
    """The private key, sealed; forgotten when the key is retired."""
    created_at: datetime = Field(sa_type=Instant)
    retired_at: datetime | None = Field(default=None, sa_type=Instant)


exposure = table("exposure")
signing_key = table("signing_key")
