"""What the changes of tasks mean for their work item: who is expected next, escalations, and its branch."""

from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.transitions import FINAL
from core.work_items.records import change_item, find_item, tell_item
from core.work_items.transitions import ITEM_OVER
from schemas.item_words import Resolution, WorkItemState
from schemas.vocabulary import TaskState

_BRANCH = Statement(
    sa.select(*i.work_item.c)
    .where(
        i.work_item.c.workflow_id == sa.bindparam("p_workflow_id", type_=i.work_item.c.workflow_id.type),
        i.work_item.c.branch_key == sa.bindparam("p_branch_key", type_=sa.String()),
        i.work_item.c.completed_at.is_(None),
        access.within_tenant(i.work_item),
    )
    .order_by(i.work_item.c.id)
    .with_for_update()
)
NOBODY: Final = {"next_expected_action": None, "next_expected_actor": None}


def concerns(row: Row) -> bool:
    """Whether this move of a task may mean something for its work item."""
    return row.state == TaskState.ESCALATED or row.prev_state == TaskState.ESCALATED or row.state in FINAL


async def follow(tx: Tx, task: Row) -> None:
    """Take note, in the work item, of where a task of it came to."""
    item = await find_item(tx, task.work_item_id, locked=True)
    if item is None or WorkItemState(item.state) in ITEM_OVER:
        return
    if task.state == TaskState.ESCALATED:
        opened = await change_item(tx, item, escalation_status="open", escalation_task_id=task.id)
        tell_item(tx, opened, "work_item.updated", {"escalation_status": "open", "task_id": str(task.id)})
        return
    if item.escalation_task_id == task.id:
        item = await close_escalation(tx, item, "resolved")
    if TaskState(task.state) not in FINAL:
        return
    judging = task.extras.get("task_kind") == "assessment"
    sets: dict[str, Any] = {}
    if judging and item.next_expected_action == "assess" and item.next_expected_actor == task.role:
        sets = dict(NOBODY)
        if task.state != TaskState.COMPLETED:
            sets["assessment_status"] = None
    elif (
        task.state == TaskState.COMPLETED
        and item.next_expected_action == "rework"
        and item.next_expected_actor in (None, task.role)
    ):
        sets = dict(NOBODY)
    if sets:
        await change_item(tx, item, **sets)


async def close_escalation(tx: Tx, item: Row, how: str) -> Row:
    """No escalation of the item is open any more."""
    closed = await change_item(tx, item, escalation_status=None, escalation_task_id=None)
    said = {"action": how, "task_id": item.escalation_task_id and str(item.escalation_task_id)}
    tell_item(tx, closed, "work_item.escalation_resolved", said)
    return closed


async def assessed(tx: Tx, assessment: Row, subject: Row, resolution: Resolution, feedback: str) -> None:
    """Take note of what an assessment came to, in the work item of its subject."""
    work_item_id: UUID | None = subject.work_item_id or assessment.work_item_id
    if work_item_id is None:
        return
    item = await find_item(tx, work_item_id, locked=True)
    if item is None or WorkItemState(item.state) in ITEM_OVER:
        return
    sets: dict[str, Any] = {"assessment_status": resolution.value, **NOBODY}
    handoff = assessment.extras.get("latest_handoff") or {}
    if resolution is Resolution.REQUEST_CHANGES:
        sets |= {"next_expected_action": "rework", "next_expected_actor": subject.role}
        sets["rework_count"] = i.work_item.c.rework_count + 1
    if handoff.get("outcome_action_applied") == "escalate":
        sets |= {"escalation_status": "open", "escalation_task_id": subject.id}
    item = await change_item(tx, item, **sets)
    tell_item(tx, item, "work_item.updated", {"fields": sorted(sets), "assessment_status": resolution.value})
    if resolution is Resolution.BLOCKED:
        from core.work_items.change import block_item  # its module advances workflows, which makes tasks

        await block_item(tx, item, feedback or "an assessment blocked it")


async def end_branch(tx: Tx, assessment: Row, feedback: str) -> None:
    """Stop the open items of the branch to which an assessment belongs."""
    if assessment.work_item_id is None:
        return
    own = await find_item(tx, assessment.work_item_id)
    if own is None:
        return
    from core.work_items.control import stop_item  # as above

    rows = [own] if own.completed_at is None else []
    if own.branch_key is not None:
        rows = await tx.all(_BRANCH, p_workflow_id=own.workflow_id, p_branch_key=own.branch_key)
    for row in rows:
        await stop_item(tx, row, feedback or "its branch was ended")
