"""Operations."""

import sqlalchemy as sa
from alembic import op

from core.store.types import Id, Instant, Json

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "stored_file",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("remove_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "stored_file_due",
        "stored_file",
        ["remove_at"],
        unique=False,
        postgresql_where=sa.text("remove_at IS NOT NULL"),
        sqlite_where=sa.text("remove_at IS NOT NULL"),
    )
    op.create_index("stored_file_tenant", "stored_file", ["tenant_id", "id"], unique=False)
    op.create_table(
        "webhook",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("event_types", Json(), nullable=False),
        sa.Column("workspace_id", Id(), nullable=True),
        sa.Column("workflow_id", Id(), nullable=True),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("previous_secret", sa.String(), nullable=True),
        sa.Column("previous_until", Instant(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.String(), nullable=True),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "webhook_active",
        "webhook",
        ["tenant_id"],
        unique=False,
        postgresql_where=sa.text("is_active"),
        sqlite_where=sa.text("is_active"),
    )
    op.create_index("webhook_tenant", "webhook", ["tenant_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("webhook")
    op.drop_table("stored_file")
