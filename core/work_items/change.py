"""What describes a work item is changed, it moves over the board, it is completed, blocked, opened again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.transitions import FINAL
from core.work_items.create import check_going, check_parent, check_role, column_of, stage_of
from core.work_items.records import (
    P_ITEM,
    WorkItem,
    change_item,
    column_for,
    item_row,
    move_item,
    refused,
    tell_item,
)
from core.work_items.transitions import ItemMove
from core.workflows.activations import enqueue
from core.workflows.advance import carry_on
from core.workflows.records import definition_of, workflow_row
from schemas.item_words import WorkItemState
from schemas.playbook import Definition


@dataclass(frozen=True)
class UpdateWorkItem:
    """What is to be different, by column name. `column_id` moves it, and opens or completes it thereby."""

    workflow_id: UUID
    work_item_id: UUID
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class CompleteWorkItem:
    """It is done."""

    workflow_id: UUID
    work_item_id: UUID
    completion_callouts: Any = None


_OPEN_TASKS = Statement(
    sa.select(t.task.c.id)
    .where(
        t.task.c.work_item_id == P_ITEM,
        t.task.c.state.not_in([sa.literal_column(str(int(state))) for state in sorted(FINAL)]),
    )
    .limit(sa.literal_column("20"))
)
MANUALLY_BLOCKED: Final = "moved to the blocked column"


async def update_work_item(tx: Tx, command: UpdateWorkItem) -> WorkItem:
    """Change a work item. Moving it to the terminal column completes it, moving it out opens it again.

    Raises:
        NotFound: no such item.
        Invalid: no such stage, column, role or parent.
        Conflict: the workflow is over; or it cannot be completed yet, and `details.reason_code` says why.
        InvalidTransition: its state does not allow to move there.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    row = await item_row(tx, workflow.id, command.work_item_id, locked=True)
    check_going(workflow)
    definition = await definition_of(tx, workflow.id)
    changes = dict(command.changes)
    column_id = changes.pop("column_id", None)
    if changes.get("stage_name") is not None:
        stage_of(definition, changes["stage_name"])
    check_role(definition, changes.get("owner_role"))
    if changes.get("parent_work_item_id") is not None:
        await check_parent(tx, workflow.id, row.id, changes["parent_work_item_id"])
    if "attributes" in changes:
        changes["attributes"] = {**row.attributes, **changes["attributes"]}
    different = {name: value for name, value in changes.items() if getattr(row, name) != value}
    if different:
        row = await change_item(tx, row, **different)
        tell_item(tx, row, "work_item.updated", {"fields": sorted(different)})
    if column_id is not None and column_id != row.column_id:
        row = await _move_to(tx, workflow, definition, row, column_id)
    await carry_on(tx, await workflow_row(tx, workflow.id))
    return WorkItem.of(row)


async def complete_work_item(tx: Tx, command: CompleteWorkItem) -> WorkItem:
    """Complete a work item. Completing it again returns it unchanged.

    Raises:
        NotFound: no such item.
        Conflict: the workflow is over; or tasks of it are open, an escalation or an answer is waited for.
        InvalidTransition: it is paused, blocked or cancelled.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    row = await item_row(tx, workflow.id, command.work_item_id, locked=True)
    if row.state == WorkItemState.COMPLETED:
        return WorkItem.of(row)
    check_going(workflow)
    definition = await definition_of(tx, workflow.id)
    column_id = column_for(definition.board, row, WorkItemState.COMPLETED)
    row = await _complete(tx, workflow, definition, row, column_id, command.completion_callouts)
    await carry_on(tx, await workflow_row(tx, workflow.id))
    return WorkItem.of(row)


async def block_item(tx: Tx, row: Row, reason: str) -> Row:
    """Block an item that is open; one that is not stays, but a paused one is blocked once it is resumed."""
    if row.state == WorkItemState.OPEN:
        board = (await definition_of(tx, row.workflow_id)).board
        column_id = column_for(board, row, WorkItemState.BLOCKED)
        said = {"blocked_reason": reason}
        return await move_item(tx, ItemMove.BLOCK, row, said=said, blocked_reason=reason, column_id=column_id)
    if row.state == WorkItemState.PAUSED:
        return await change_item(tx, row, blocked_reason=reason)
    return row


async def unblock_item(tx: Tx, row: Row) -> Row:
    """The inverse of `block_item`."""
    if row.state == WorkItemState.BLOCKED:
        board = (await definition_of(tx, row.workflow_id)).board
        column_id = column_for(board, row, WorkItemState.OPEN)
        return await move_item(tx, ItemMove.UNBLOCK, row, blocked_reason=None, column_id=column_id)
    return await change_item(tx, row, blocked_reason=None)


async def _move_to(tx: Tx, workflow: Row, definition: Definition, row: Row, column_id: str) -> Row:
    column, state = column_of(definition, column_id), WorkItemState(row.state)
    if column.is_terminal:
        return await _complete(tx, workflow, definition, row, column_id, row.completion_callouts)
    if state is WorkItemState.CANCELLED:
        raise refused(row, WorkItemState.OPEN)
    if state is WorkItemState.COMPLETED:
        row = await move_item(tx, ItemMove.REOPEN, row, column_id=column_id)
    elif column.is_blocked or state is WorkItemState.BLOCKED:
        m = ItemMove.BLOCK if column.is_blocked else ItemMove.UNBLOCK
        reason = (row.blocked_reason or MANUALLY_BLOCKED) if column.is_blocked else None
        return await move_item(tx, m, row, column_id=column_id, blocked_reason=reason)
    else:
        said = {"from_column_id": row.column_id, "column_id": column_id}
        row = await change_item(tx, row, column_id=column_id)
        tell_item(tx, row, "work_item.moved", said)
    if column.is_blocked:
        row = await move_item(tx, ItemMove.BLOCK, row, blocked_reason=MANUALLY_BLOCKED)
    return row


async def _complete(
    tx: Tx, workflow: Row, definition: Definition, row: Row, column_id: str, callouts: Any
) -> Row:
    if row.state == WorkItemState.OPEN:  # else the move itself is refused
        await _check_done(tx, row)
    row = await move_item(tx, ItemMove.COMPLETE, row, column_id=column_id, completion_callouts=callouts)
    if definition.orchestrated:
        said = {"work_item_id": str(row.id), "title": row.title, "stage_name": row.stage_name}
        await enqueue(tx, workflow, "work_item.completed", "a work item is completed", said)
    return row


async def _check_done(tx: Tx, row: Row) -> None:
    def still(reason: str, message: str, hint: str, **details: Any) -> Conflict:
        said = {"reason_code": reason, "work_item_id": str(row.id), "recovery_hint": hint, **details}
        return Conflict(message, details=said, hint=hint)

    if row.escalation_status == "open":
        raise still(
            "work_item_open_escalation",
            "an escalation of the work item is open",
            "POST …/resolve-escalation first",
        )
    tasks = await tx.all(_OPEN_TASKS, p_work_item_id=row.id)
    if tasks:
        raise still(
            "work_item_tasks_not_ready",
            "tasks of the work item are still open",
            "let them end, or cancel them",
            task_ids=[str(task.id) for task in tasks],
        )
    if row.next_expected_action is not None:
        raise still(
            "work_item_waiting_for_continuation",
            f"{row.next_expected_actor or 'somebody'} is expected to {row.next_expected_action}",
            "do it, or clear next_expected_action",
            next_expected_action=row.next_expected_action,
            next_expected_actor=row.next_expected_actor,
        )
