"""Work items."""

import sqlalchemy as sa
from alembic import op

from core.store.types import Id, Instant, Json

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "handoff",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("rework_count", sa.Integer(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=True),
        sa.Column("work_item_id", Id(), nullable=True),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("completion", sa.String(), nullable=False),
        sa.Column("resolution", sa.String(), nullable=True),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("content", Json(), nullable=False),
        sa.Column("author_id", Id(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("task_id", "rework_count", name="handoff_revision"),
    )
    with op.batch_alter_table("handoff", schema=None) as batch_op:
        batch_op.create_index(
            "handoff_work_item",
            ["work_item_id", "id"],
            unique=False,
            postgresql_where=sa.text("work_item_id IS NOT NULL"),
            sqlite_where=sa.text("work_item_id IS NOT NULL"),
        )
        batch_op.create_index(
            "handoff_workflow",
            ["workflow_id"],
            unique=False,
            postgresql_where=sa.text("workflow_id IS NOT NULL"),
            sqlite_where=sa.text("workflow_id IS NOT NULL"),
        )

    op.create_table(
        "memory_entry",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("subject_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", Json(), nullable=True),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("task_id", Id(), nullable=True),
        sa.Column("author_id", Id(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("memory_entry", schema=None) as batch_op:
        batch_op.create_index(
            "memory_entry_current",
            ["subject_id", "key"],
            unique=True,
            postgresql_where=sa.text("is_current"),
            sqlite_where=sa.text("is_current"),
        )
        batch_op.create_index("memory_entry_subject", ["subject_id", "id"], unique=False)

    op.create_table(
        "work_item",
        sa.Column("id", Id(), nullable=False),
        sa.Column("tenant_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("parent_work_item_id", Id(), nullable=True),
        sa.Column("branch_key", sa.String(), nullable=True),
        sa.Column("stage_name", sa.String(), nullable=False),
        sa.Column("column_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("goal", sa.String(), nullable=True),
        sa.Column("acceptance_criteria", sa.String(), nullable=True),
        sa.Column("notes", sa.String(), nullable=True),
        sa.Column("owner_role", sa.String(), nullable=True),
        sa.Column("priority", sa.String(), nullable=False),
        sa.Column("next_expected_actor", sa.String(), nullable=True),
        sa.Column("next_expected_action", sa.String(), nullable=True),
        sa.Column("assessment_status", sa.String(), nullable=True),
        sa.Column("blocked_reason", sa.String(), nullable=True),
        sa.Column("escalation_status", sa.String(), nullable=True),
        sa.Column("escalation_task_id", Id(), nullable=True),
        sa.Column("rework_count", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("creator_id", Id(), nullable=False),
        sa.Column("attributes", Json(), nullable=False),
        sa.Column("inputs", Json(), nullable=False),
        sa.Column("completion_callouts", Json(), nullable=True),
        sa.Column("completed_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "(state IN ('completed', 'cancelled')) = (completed_at IS NOT NULL)",
            name="work_item_over_has_end",
        ),
        sa.CheckConstraint(
            "state IN ('open', 'paused', 'blocked', 'completed', 'cancelled')", name="work_item_state_valid"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("work_item", schema=None) as batch_op:
        batch_op.create_index(
            "work_item_open",
            ["workflow_id", "stage_name"],
            unique=False,
            postgresql_where=sa.text("NOT (state IN ('completed', 'cancelled'))"),
            sqlite_where=sa.text("NOT (state IN ('completed', 'cancelled'))"),
        )
        batch_op.create_index(
            "work_item_parent",
            ["parent_work_item_id"],
            unique=False,
            postgresql_where=sa.text("parent_work_item_id IS NOT NULL"),
            sqlite_where=sa.text("parent_work_item_id IS NOT NULL"),
        )
        batch_op.create_index("work_item_workflow", ["workflow_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("work_item")
    op.drop_table("memory_entry")
    op.drop_table("handoff")
