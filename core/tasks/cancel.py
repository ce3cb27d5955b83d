"""A task is cancelled, at once or with grace. The executor hears of it either way."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Forbidden, InvalidTransition, NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import PLAYBOOK, Who, move, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.task import Task
from core.transitions import FINAL, LEASED, Fence, Move
from schemas.vocabulary import Face, Scope, TaskState


@dataclass(frozen=True)
class CancelTask:
    """`grace_seconds` asks the executor first; with `lease_id` the executor confirms.

    `strict`: every final state refuses (A2A), where REST answers completed and cancelled tasks unchanged.
    """

    task_id: UUID
    reason: str | None = None
    grace_seconds: int = 0
    lease_id: UUID | None = None
    strict: bool = False


_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_HELD = LEASED | {TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}


async def cancel(tx: Tx, command: CancelTask) -> Task:
    """Cancel a task: its attempt ends, its lease is gone, what waits on it is settled.

    With grace the task goes on until its executor confirms, completes or the grace is over.

    Raises:
        NotFound: no such task, or not yours.
        Forbidden: you may see it but neither submitted nor operate it.
        Conflict: the lease that you confirm with is gone.
        InvalidTransition: it is final, and `strict` or born where final is final.
    """
    row = await tx.one(_READ, p_task_id=command.task_id)
    if row is None:
        raise NotFound("no such task")
    said = {"reason": command.reason} if command.reason else None
    if command.lease_id is not None:
        moved = await move(
            tx, Move.CANCEL, row.id, who=Who.EXECUTOR, lease_id=command.lease_id, fence=Fence.OWN, said=said
        )
        return Task.of(moved.row)
    _may_cancel(tx, row)
    state = TaskState(row.state)
    if state in FINAL:
        return Task.of(await _cancel_final(tx, row, command))
    asks = command.grace_seconds and row.type != PLAYBOOK  # the hub needs no time to stop
    if asks and row.lease_id is not None and state in _HELD:
        return Task.of(await _ask_first(tx, row, command))
    sets = {"status_message": [{"text": command.reason}]} if command.reason else {}
    moved = await move(tx, Move.CANCEL, row.id, who=Who.READER, said=said, sets=sets)
    return Task.of(moved.row)


def _may_cancel(tx: Tx, row: Row) -> None:
    caller = tx.caller
    if row.submitter_id != caller.principal_id and not caller.scope.includes(Scope.WORKER):
        raise Forbidden("only the submitter, a worker or an operator may cancel")


async def _cancel_final(tx: Tx, row: Row, command: CancelTask) -> Row:
    state = TaskState(row.state)
    if not command.strict:
        if state in (TaskState.COMPLETED, TaskState.CANCELLED):
            return row
        if state is TaskState.FAILED and row.face in (Face.REST, Face.WORKFLOW):
            return (await move(tx, Move.CLOSE_FAILED, row.id, who=Who.READER)).row
    raise InvalidTransition(
        f"the task is {state.wire} already",
        details={
            "task_id": str(row.id),
            "current_state": state.wire,
            "requested_state": TaskState.CANCELLED.wire,
        },
    )


async def _ask_first(tx: Tx, row: Row, command: CancelTask) -> Row:
    if row.cancel_requested_at is not None:
        return row
    asked = await touch(
        tx,
        row.id,
        who=Who.READER,
        states=frozenset(_HELD),
        doing="cancel",
        sets={
            "cancel_requested_at": tx.now,
            "cancel_due_at": tx.now + timedelta(seconds=command.grace_seconds),
        },
    )
    tell(
        tx,
        asked,
        "task.cancel_requested",
        {"task_id": str(row.id), "reason": command.reason, "grace_seconds": command.grace_seconds},
    )
    tx.wake(f"task:{row.id}")
    return asked
