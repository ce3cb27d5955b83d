"""What is said to a work item and meant for a task of it: try it again, skip it, answer its escalation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, Invalid, NotFound
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.amend import ReworkTask, SkipTask, rework, skip
from core.tasks.escalate import ResolveEscalation, resolve
from core.tasks.review import RetryTask, retry
from core.transitions import FINAL
from core.work_items.change import unblock_item
from core.work_items.create import check_going
from core.work_items.following import close_escalation
from core.work_items.records import P_ITEM, WorkItem, item_row
from core.workflows.advance import carry_on
from core.workflows.records import workflow_row
from schemas.vocabulary import TaskState


@dataclass(frozen=True)
class RetryWorkItem:
    """Try the failed task of an item again."""

    workflow_id: UUID
    work_item_id: UUID
    override_input: Mapping[str, Any] | None = None
    force: bool = False


@dataclass(frozen=True)
class SkipWorkItem:
    """Count the present task of an item as done."""

    workflow_id: UUID
    work_item_id: UUID
    reason: str


@dataclass(frozen=True)
class ResolveItemEscalation:
    """`dismiss` clears it; `unblock_subject` lets item and task go on; `reopen_subject` has it done again."""

    workflow_id: UUID
    work_item_id: UUID
    action: str
    feedback: str | None = None


@dataclass(frozen=True)
class LinkedTask:
    """A task of a work item of a workflow."""

    workflow_id: UUID
    work_item_id: UUID
    task_id: UUID


_NEWEST = sa.select(*t.task.c).where(t.task.c.work_item_id == P_ITEM).order_by(t.task.c.id.desc())
_ONE: sa.ColumnElement[int] = sa.literal_column("1")
_FAILED = Statement(
    _NEWEST.where(t.task.c.state == sa.literal_column(str(int(TaskState.FAILED)))).limit(_ONE)
)
_OPEN = Statement(
    _NEWEST.where(
        t.task.c.state.not_in([sa.literal_column(str(int(state))) for state in sorted(FINAL)])
    ).limit(_ONE)
)
_LAST = Statement(_NEWEST.limit(_ONE))
_LINKED = Statement(
    sa.select(t.task.c.id).where(
        t.task.c.id == sa.bindparam("p_task_id", type_=t.task.c.id.type), t.task.c.work_item_id == P_ITEM
    )
)
_SUBJECT = Statement(
    sa.select(*t.task.c).where(t.task.c.id == sa.bindparam("p_task_id", type_=t.task.c.id.type))
)


async def check_linked(tx: Tx, query: LinkedTask) -> None:
    """Accept a path that names a task under its own work item and workflow.

    Raises:
        NotFound: the workflow, the item or the task is not there, or not under one another.
    """
    row = await item_row(tx, query.workflow_id, query.work_item_id)
    if await tx.one(_LINKED, p_task_id=query.task_id, p_work_item_id=row.id) is None:
        raise NotFound("the work item has no such task")


async def retry_work_item(tx: Tx, command: RetryWorkItem) -> WorkItem:
    """Try the newest failed task again; with `force` the newest one, whatever became of it.

    Raises:
        NotFound: no such item.
        Conflict: the workflow is over, nothing of it has failed, or it cannot be retried.
    """
    row = await _locked(tx, command.workflow_id, command.work_item_id)
    task = await tx.one(_FAILED, p_work_item_id=row.id)
    if task is None and command.force:
        task = await tx.one(_LAST, p_work_item_id=row.id)
    if task is None:
        raise _no_task(row, "no task of the work item has failed")
    await retry(tx, RetryTask(task.id, command.override_input, command.force))
    return await _then(tx, row)


async def skip_work_item(tx: Tx, command: SkipWorkItem) -> WorkItem:
    """Skip the newest failed task, or else the newest open one.

    Raises:
        NotFound: no such item.
        Conflict: the workflow is over, there is no such task, or somebody works on it.
    """
    row = await _locked(tx, command.workflow_id, command.work_item_id)
    task = await tx.one(_FAILED, p_work_item_id=row.id) or await tx.one(_OPEN, p_work_item_id=row.id)
    if task is None:
        raise _no_task(row, "no task of the work item has failed or is open")
    await skip(tx, SkipTask(task.id, command.reason))
    return await _then(tx, row)


async def resolve_item_escalation(tx: Tx, command: ResolveItemEscalation) -> WorkItem:
    """Decide the open escalation of a work item.

    Raises:
        NotFound: no such item.
        Invalid: to have it done again needs feedback.
        Conflict: none is open; or its task cannot be done again.
    """
    row = await _locked(tx, command.workflow_id, command.work_item_id)
    if row.escalation_status != "open":
        raise Conflict(
            "no escalation of the work item is open", details={"reason_code": "no_open_escalation"}
        )
    task = await tx.one(_SUBJECT, p_task_id=row.escalation_task_id)
    row = await close_escalation(tx, row, command.action)
    if command.action == "dismiss":
        return await _then(tx, row)
    escalated = task is not None and task.state == TaskState.ESCALATED
    if command.action == "unblock_subject":
        row = await unblock_item(tx, row)
        if task is not None and escalated:
            await resolve(tx, ResolveEscalation(task.id, command.feedback or "go on"))
        return await _then(tx, row)
    if command.feedback is None:
        raise Invalid("to have it done again needs feedback", details={"field": "feedback"})
    if task is not None and escalated:
        await resolve(tx, ResolveEscalation(task.id, command.feedback))
    elif task is not None:
        await rework(tx, ReworkTask(task.id, command.feedback))
    return await _then(tx, await unblock_item(tx, row))


async def _locked(tx: Tx, workflow_id: UUID, work_item_id: UUID) -> Row:
    workflow = await workflow_row(tx, workflow_id, locked=True)
    row = await item_row(tx, workflow.id, work_item_id, locked=True)
    check_going(workflow)
    return row


async def _then(tx: Tx, row: Row) -> WorkItem:
    await carry_on(tx, await workflow_row(tx, row.workflow_id))
    return WorkItem.of(await item_row(tx, row.workflow_id, row.id))


def _no_task(row: Row, message: str) -> Conflict:
    return Conflict(message, details={"reason_code": "no_such_task", "work_item_id": str(row.id)})
