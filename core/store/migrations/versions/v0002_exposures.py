"""Exposures."""

import sqlalchemy as sa
from alembic import op

from core.store.types import Id, Instant, Json

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "exposure",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("workspace_id", Id(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("skills", Json(), nullable=False),
        sa.Column("input_modes", Json(), nullable=False),
        sa.Column("output_modes", Json(), nullable=False),
        sa.Column("required_extensions", Json(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.CheckConstraint("kind IN ('agent', 'role', 'playbook')", name="exposure_kind_valid"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug"),
    )
    op.create_index("exposure_target", "exposure", ["tenant_id", "kind", "target"], unique=False)
    op.create_index("exposure_tenant", "exposure", ["tenant_id", "id"], unique=False)
    op.create_table(
        "signing_key",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("kid", sa.String(), nullable=False),
        sa.Column("algorithm", sa.String(), nullable=False),
        sa.Column("public", Json(), nullable=False),
        sa.Column("private", sa.String(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("retired_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kid"),
    )
    op.create_index("signing_key_tenant", "signing_key", ["tenant_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("signing_key")
    op.drop_table("exposure")
