"""A task joins a work item: whether it may, whether somebody is at it already, and what it means there."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, Invalid
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.transitions import FINAL
from core.work_items.records import P_ITEM, change_item, find_item, tell_item, working_column
from core.work_items.transitions import ITEM_OVER
from core.workflows.records import P_WORKFLOW, definition_of
from schemas.item_words import WorkItemState


@dataclass(frozen=True)
class Joined:
    """Where a new task belongs; or the task that is at it already."""

    workflow_id: UUID
    workspace_id: UUID
    stage_name: str
    existing: Row | None


_AT_IT = Statement(
    sa.select(*t.task.c)
    .where(
        t.task.c.work_item_id == P_ITEM,
        t.task.c.role == sa.bindparam("p_role", type_=sa.String()),
        t.task.c.state.not_in([sa.literal_column(str(int(state))) for state in sorted(FINAL)]),
    )
    .order_by(t.task.c.id)
    .limit(sa.literal_column("1"))
)
_WORKSPACE = Statement(sa.select(w.workflow.c.workspace_id).where(w.workflow.c.id == P_WORKFLOW))


async def join(tx: Tx, workflow_id: UUID | None, work_item_id: UUID, role: str | None) -> Joined:
    """Let a task join a work item. The item's row is locked, so that two of one role cannot join at once.

    Raises:
        Invalid: no such item, or not of this workflow.
        Conflict: the item is over.
    """
    item = await find_item(tx, work_item_id, locked=True)
    if item is None or workflow_id not in (None, item.workflow_id):
        raise Invalid("work_item_id names no work item of the workflow", details={"field": "work_item_id"})
    if WorkItemState(item.state) in ITEM_OVER:
        raise Conflict(
            f"the work item is {item.state}", details={"reason_code": "work_item_over", "state": item.state}
        )
    existing = None
    if role is not None:
        existing = await tx.one(_AT_IT, p_work_item_id=item.id, p_role=role)
    workflow = await tx.one(_WORKSPACE, p_workflow_id=item.workflow_id)
    assert workflow is not None
    return Joined(item.workflow_id, workflow.workspace_id, item.stage_name, existing)


async def begun(tx: Tx, task: Row) -> None:
    """A task was made for the item: it leaves the entry column, and whoever judges is expected to."""
    item = await find_item(tx, task.work_item_id)
    if item is None:
        return
    sets: dict[str, str | None] = {}
    board = (await definition_of(tx, item.workflow_id)).board
    if item.column_id == board.entry and working_column(board) != item.column_id:
        sets["column_id"] = working_column(board)
    if task.extras.get("task_kind") == "assessment":
        sets |= {"assessment_status": "pending", "next_expected_action": "assess"}
        sets["next_expected_actor"] = task.role
    if not sets:
        return
    changed = await change_item(tx, item, **sets)
    moved = "column_id" in sets
    said = {"task_id": str(task.id), "fields": sorted(sets)}
    if moved:
        said |= {"from_column_id": item.column_id, "column_id": changed.column_id}
    tell_item(tx, changed, "work_item.moved" if moved else "work_item.updated", said)
