"""What people do with a task beside its executor: allow it, judge its output, send it back, try it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.approvals import Approval, DecideApproval, decide
from core.errors import Conflict, InvalidTransition, NotFound
from core.fencing import P_TASK
from core.lifecycle import Who, move
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks import policy as policies
from core.tasks.release import release
from core.tasks.submit import SubmitTask, submit_for
from core.tasks.task import Task
from core.transitions import FINAL, TRANSITIONS, Move
from schemas.vocabulary import ApprovalKind, ApprovalStatus, Face, Priority, TaskState

CONVERSATIONAL = frozenset({Face.A2A, Face.ACP, Face.MCP})
"""Born here, a task is final once it is final: reopening makes a new one in the same context."""


@dataclass(frozen=True)
class JudgeTask:
    """Decide the approval that a task waits for. `action` as in `core.approvals`."""

    task_id: UUID
    action: str
    kinds: tuple[ApprovalKind, ...] = (ApprovalKind.START, ApprovalKind.OUTPUT)
    feedback: str | None = None
    override_input: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RetryTask:
    """Try again; with `force` from more states. `override_input` is merged into the input."""

    task_id: UUID
    override_input: Mapping[str, Any] | None = None
    force: bool = False


@dataclass(frozen=True)
class Reopened:
    """The task that goes on: the same, or a new one where final is final."""

    task: Task
    is_new: bool


_READ = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)
_PENDING = Statement(
    sa.select(t.approval.c.id, t.approval.c.kind)
    .where(t.approval.c.task_id == P_TASK, t.approval.c.status == sa.literal_column("'pending'"))
    .order_by(t.approval.c.id)
)
_SET_INPUT = Statement(
    sa.update(t.task)
    .where(t.task.c.id == P_TASK)
    .values(input=sa.bindparam("p_input", type_=t.task.c.input.type))
)


async def judge_task(tx: Tx, command: JudgeTask) -> Task:
    """Decide what the task waits for: `approve`, `reject` or `request_changes`.

    Raises:
        NotFound, Forbidden, Conflict, Invalid: as `approvals.decide`.
        InvalidTransition: the task waits for no such decision.
    """
    row = await _readable(tx, command.task_id)
    for pending in await tx.all(_PENDING, p_task_id=row.id):
        if ApprovalKind(pending.kind) in command.kinds:
            if command.override_input is not None:
                await tx.run(_SET_INPUT, p_task_id=row.id, p_input=_merged(row.input, command.override_input))
            await decide(tx, DecideApproval(pending.id, action=command.action, feedback=command.feedback))
            return Task.of(await _readable(tx, command.task_id))
    raise InvalidTransition(
        f"the task is {TaskState(row.state).wire} and waits for no such decision",
        details={
            "task_id": str(row.id),
            "current_state": TaskState(row.state).wire,
            "requested_state": {"approve": "ready", "reject": "failed"}.get(command.action, "pending"),
        },
    )


async def pending_kinds(tx: Tx, task_id: UUID) -> set[ApprovalKind]:
    """Which decisions a task waits for."""
    return {ApprovalKind(pending.kind) for pending in await tx.all(_PENDING, p_task_id=task_id)}


async def judge(tx: Tx, row: Row, approval: Approval) -> None:
    """Make the move that hangs on a decided approval of kind `start` or `output`."""
    starting = approval.kind is ApprovalKind.START
    if approval.status is ApprovalStatus.APPROVED:
        move_name = Move.APPROVE if starting else Move.APPROVE_OUTPUT
        sets: dict[str, Any] = {"approval_open": False} if starting else {}
        if starting and approval.answer is not None:
            sets["input"] = _merged(row.input, {"approval_answer": approval.answer})
        moved = await move(tx, move_name, row.id, who=Who.SYSTEM, sets=sets)
        await release(tx, moved.row)
    elif approval.status is ApprovalStatus.REJECTED:
        await _reject(tx, row, approval.feedback)
    elif approval.status is ApprovalStatus.CHANGES_REQUESTED:
        await _rework(tx, row, approval.feedback, approval.answer)


async def _reject(tx: Tx, row: Row, feedback: str | None, *, announces: str | None = None) -> None:
    error = {
        "category": "assessment_rejected",
        "message": feedback or "rejected",
        "recoverable": False,
    }
    await move(
        tx,
        Move.REJECT,
        row.id,
        who=Who.SYSTEM,
        announces=announces,
        said={"error": error},
        sets={"error": error, "status_message": [{"text": error["message"]}]},
    )


async def _rework(tx: Tx, row: Row, feedback: str | None, answer: Any = None) -> None:
    if row.rework_count + 1 > policies.loaded(row.policy).max_rework:
        await _reject(tx, row, feedback, announces="task.max_rework_exceeded")
        return
    moved = await move(
        tx,
        Move.REWORK,
        row.id,
        who=Who.SYSTEM,
        said={"feedback": feedback},
        sets={
            "rework_count": row.rework_count + 1,
            "ready_at": tx.now,
            "input": _merged(
                row.input,
                {
                    "assessment_feedback": feedback,
                    **({} if answer is None else {"approval_answer": answer}),
                },
            ),
        },
    )
    await release(tx, moved.row)


async def retry(tx: Tx, command: RetryTask) -> Reopened:
    """Try a failed task again; with `force` also one that waits, was rejected or completed.

    A task born on A2A, ACP or MCP stays as it is: a new one is made in the same context.

    Raises:
        NotFound: no such task.
        Conflict: not retryable.
    """
    row = await _readable(tx, command.task_id)
    state = TaskState(row.state)
    merged = _merged(row.input, command.override_input or {})
    retryable = state is TaskState.FAILED or (
        command.force and state in FINAL and state != TaskState.CANCELLED
    )
    if state in FINAL and not retryable:
        raise _not_retryable(row, "only a failed task; `force` adds completed and rejected ones")
    if state in FINAL and Face(row.face) in CONVERSATIONAL:
        return Reopened(await again(tx, row, merged), True)
    if state in FINAL:
        moved = await move(
            tx,
            Move.REOPEN_RETRY,
            row.id,
            who=Who.READER,
            sets={
                "retry_count": row.retry_count + 1,
                "ready_at": tx.now,
                "input": merged,
                "output": None,
                "status_message": None,
            },
        )
        return Reopened(Task.of(await release(tx, moved.row)), False)
    if not command.force:
        raise _not_retryable(row, "it has not failed")
    if state is TaskState.READY:
        return Reopened(Task.of(row), False)
    if state is TaskState.PENDING:
        await tx.run(_READY_NOW, p_task_id=row.id, p_now=tx.now)
        return Reopened(Task.of(await release(tx, await _readable(tx, row.id))), False)
    if state not in TRANSITIONS[Move.FORCE_RETRY].sources:
        raise _not_retryable(row, "somebody is working on it")
    moved = await move(
        tx,
        Move.FORCE_RETRY,
        row.id,
        who=Who.READER,
        sets={
            "retry_count": row.retry_count + 1,
            "ready_at": tx.now,
            "input": merged,
            "status_message": None,
        },
    )
    return Reopened(Task.of(await release(tx, moved.row)), False)


_READY_NOW = Statement(
    sa.update(t.task)
    .where(t.task.c.id == P_TASK, t.task.c.state == sa.literal_column(str(int(TaskState.PENDING))))
    .values(ready_at=sa.bindparam("p_now", type_=t.task.c.ready_at.type))
)


async def again(tx: Tx, row: Row, merged: Any) -> Task:
    """A new task in the place of one that is final for good."""
    return await submit_for(
        tx,
        SubmitTask(
            title=row.title,
            input=merged,
            description=row.description,
            type=row.type,
            priority=Priority(row.priority),
            role=row.role,
            stage_name=row.stage_name,
            context_id=row.context_id,
            context=row.context,
            metadata=row.attributes,
            extras={name: value for name, value in row.extras.items() if name != "latest_handoff"},
            required_tags=row.required_tags,
            required_tools=row.required_tools,
            policy=policies.loaded(row.policy),
            workflow_id=row.workflow_id,
            work_item_id=row.work_item_id,
            workspace_id=row.workspace_id,
            external_id=row.external_id,
            previous_task_id=row.id,
        ),
        row,
    )


async def _readable(tx: Tx, task_id: UUID) -> Row:
    row = await tx.one(_READ, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return row


def _merged(present: Any, added: Mapping[str, Any]) -> Any:
    if not added:
        return present
    return {**present, **added} if isinstance(present, dict) else {"input": present, **added}


def _not_retryable(row: Row, why: str) -> Conflict:
    return InvalidTransition(
        f"the task is {TaskState(row.state).wire} and cannot be retried: {why}",
        details={
            "task_id": str(row.id),
            "current_state": TaskState(row.state).wire,
            "requested_state": TaskState.READY.wire,
        },
    )
