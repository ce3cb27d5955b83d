"""What the decision about a stage's gate means for the work items of the stage."""

from uuid import UUID

import sqlalchemy as sa

from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.work_items.change import block_item
from core.work_items.records import change_item, column_for, move_item, tell_item
from core.work_items.transitions import ItemMove
from core.workflows.records import P_WORKFLOW, definition_of
from schemas.item_words import WorkItemState

_c = i.work_item.c
_OF_STAGE = Statement(
    sa.select(*_c)
    .where(
        _c.workflow_id == P_WORKFLOW,
        _c.stage_name == sa.bindparam("p_stage_name", type_=sa.String()),
        _c.state != sa.literal_column("'cancelled'"),
    )
    .order_by(_c.id)
    .with_for_update()
)


async def rework_items(tx: Tx, workflow_id: UUID, stage_name: str, feedback: str | None) -> None:
    """Changes were requested: what was completed is open again, and all of it is to be worked on."""
    board = (await definition_of(tx, workflow_id)).board
    for row in await _of_stage(tx, workflow_id, stage_name):
        if row.state == WorkItemState.COMPLETED:
            column_id = column_for(board, row, WorkItemState.OPEN)
            row = await move_item(tx, ItemMove.REOPEN, row, said={"feedback": feedback}, column_id=column_id)
        row = await change_item(
            tx,
            row,
            next_expected_action="rework",
            next_expected_actor=row.owner_role,
            rework_count=_c.rework_count + 1,
        )
        said = {"fields": ["next_expected_action"], "next_expected_action": "rework", "feedback": feedback}
        tell_item(tx, row, "work_item.updated", said)


async def block_items(tx: Tx, workflow_id: UUID, stage_name: str, feedback: str | None) -> None:
    """The gate blocks: so are the items that are open."""
    for row in await _of_stage(tx, workflow_id, stage_name):
        await block_item(tx, row, feedback or "the gate of its stage blocks it")


async def _of_stage(tx: Tx, workflow_id: UUID, stage_name: str) -> list[Row]:
    return await tx.all(_OF_STAGE, p_workflow_id=workflow_id, p_stage_name=stage_name)
