"""Holding a work item, letting it go on, stopping it. A pause holds its tasks as a workflow's pause does."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from core.lifecycle import Who, try_move
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.release import release
from core.transitions import FINAL, LEASED, Move
from core.work_items.create import check_going
from core.work_items.records import P_ITEM, WorkItem, change_item, column_for, item_row, move_item, refused
from core.work_items.transitions import ItemMove
from core.workflows.advance import carry_on
from core.workflows.records import definition_of, workflow_row
from schemas.item_words import WorkItemState
from schemas.vocabulary import PauseMode, TaskState


@dataclass(frozen=True)
class PauseWorkItem:
    """Hold a work item. `interrupt` takes back what is being done."""

    workflow_id: UUID
    work_item_id: UUID
    mode: PauseMode = PauseMode.DRAIN


@dataclass(frozen=True)
class ResumeWorkItem:
    """Let a paused work item go on."""

    workflow_id: UUID
    work_item_id: UUID


@dataclass(frozen=True)
class CancelWorkItem:
    """Stop a work item for good."""

    workflow_id: UUID
    work_item_id: UUID
    reason: str | None = None


_QUEUED = frozenset({TaskState.READY, *LEASED})
_OF_ITEM = t.task.c.work_item_id == P_ITEM


def _codes(states: frozenset[TaskState]) -> list[sa.ColumnElement[int]]:
    return [sa.literal_column(str(int(state))) for state in sorted(states)]


_TO_HOLD = Statement(
    sa.select(t.task.c.id, t.task.c.state)
    .where(_OF_ITEM, t.task.c.state.in_(_codes(_QUEUED)))
    .order_by(t.task.c.id)
)
_LET_GO = Statement(
    sa.update(t.task).where(_OF_ITEM, t.task.c.on_hold).values(on_hold=sa.false()).returning(*t.task.c)
)
_OPEN = Statement(
    sa.select(t.task.c.id).where(_OF_ITEM, t.task.c.state.not_in(_codes(FINAL))).order_by(t.task.c.id)
)


async def pause_work_item(tx: Tx, command: PauseWorkItem) -> WorkItem:
    """Hold a work item: what is ready waits, and nothing of it begins. Pausing it again changes nothing.

    Raises:
        NotFound: no such item.
        Conflict: the workflow is over.
        InvalidTransition: the item is over.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    row = await item_row(tx, workflow.id, command.work_item_id, locked=True)
    if row.state == WorkItemState.PAUSED and command.mode is PauseMode.DRAIN:
        return WorkItem.of(row)
    check_going(workflow)
    if row.state != WorkItemState.PAUSED:
        row = await move_item(tx, ItemMove.PAUSE, row, said={"mode": command.mode.value})
    for task in await tx.all(_TO_HOLD, p_work_item_id=row.id):
        ready = task.state == TaskState.READY
        if not ready and command.mode is PauseMode.DRAIN:
            continue
        sets = {"on_hold": True, **({} if ready else {"ready_at": tx.now})}
        m = Move.HOLD if ready else Move.REASSIGN
        await try_move(tx, m, task.id, who=Who.SYSTEM, said={"reason": "work_item_paused"}, sets=sets)
    await carry_on(tx, await workflow_row(tx, workflow.id))
    return WorkItem.of(row)


async def resume_work_item(tx: Tx, command: ResumeWorkItem) -> WorkItem:
    """Let a paused work item go on; what was held is ready again. One that was blocked is blocked again.

    Raises:
        NotFound: no such item.
        Conflict: the workflow is over.
        InvalidTransition: the item is not paused.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    row = await item_row(tx, workflow.id, command.work_item_id, locked=True)
    if row.state != WorkItemState.PAUSED:
        raise refused(row, WorkItemState.OPEN)
    check_going(workflow)
    blocked = row.blocked_reason is not None
    row = await move_item(tx, ItemMove.RESUME_BLOCKED if blocked else ItemMove.RESUME, row)
    if blocked:
        board = (await definition_of(tx, workflow.id)).board
        row = await change_item(tx, row, column_id=column_for(board, row, WorkItemState.BLOCKED))
    for task in sorted(await tx.all(_LET_GO, p_work_item_id=row.id), key=lambda task: task.id.hex):
        await release(tx, task)
    await carry_on(tx, await workflow_row(tx, workflow.id))
    return WorkItem.of(row)


async def cancel_work_item(tx: Tx, command: CancelWorkItem) -> WorkItem:
    """Stop a work item: its tasks are cancelled, its executors told. Cancelling it again changes nothing.

    Raises:
        NotFound: no such item.
        Conflict: the workflow is over.
        InvalidTransition: the item is completed.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    row = await item_row(tx, workflow.id, command.work_item_id, locked=True)
    if row.state == WorkItemState.CANCELLED:
        return WorkItem.of(row)
    check_going(workflow)
    row = await stop_item(tx, row, command.reason)
    await carry_on(tx, await workflow_row(tx, workflow.id))
    return WorkItem.of(row)


async def stop_item(tx: Tx, row: Row, reason: str | None) -> Row:
    """Cancel an item and its tasks.

    Raises:
        InvalidTransition: it is over.
    """
    board = (await definition_of(tx, row.workflow_id)).board
    row = await move_item(
        tx,
        ItemMove.CANCEL,
        row,
        said={"reason": reason},
        column_id=column_for(board, row, WorkItemState.CANCELLED),
        next_expected_actor=None,
        next_expected_action=None,
        escalation_status=None,
        escalation_task_id=None,
        blocked_reason=None,
    )
    for task in await tx.all(_OPEN, p_work_item_id=row.id):
        await try_move(
            tx,
            Move.CANCEL,
            task.id,
            who=Who.SYSTEM,
            said={"reason": "work_item_cancelled"},
            sets={"status_message": [{"text": reason or "the work item was cancelled"}]},
        )
    return row
