"""Operations."""

import sqlalchemy as sa
from alembic import op

from core.store.types import Id, Instant

revision = "0007"
down_revision = "0006"


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


def downgrade() -> None:
    op.drop_table("stored_file")
