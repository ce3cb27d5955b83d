"""What an executor reports: it started, it is done, it failed, it will not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, NotFound
from core.fencing import P_TASK, ended_with
from core.lifecycle import Who, move, try_move
from core.store import tables as t
from core.store.engine import in_step
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks import policy as policies
from core.tasks.release import release
from core.tasks.task import Task
from core.transitions import Fence, Move
from schemas import validation
from schemas.vocabulary import ApprovalKind, AttemptOutcome, TaskState

REQUEUE_PAUSE = timedelta(seconds=1)
"""How long a task that was handed back is kept away, so that others come first."""


@dataclass(frozen=True)
class ReportedError:
    """Why an attempt failed. It is tried again if it is recoverable and the policy lists its category."""

    category: str
    message: str
    recoverable: bool = True

    def stored(self) -> dict[str, Any]:
        """Its form in the task and in its attempt."""
        return {"category": self.category, "message": self.message, "recoverable": self.recoverable}


@dataclass(frozen=True)
class StartTask:
    """`agent_id` and `worker_id`, where given, must name the executor that holds the task."""

    task_id: UUID
    lease_id: UUID | None = None
    agent_id: UUID | None = None
    worker_id: UUID | None = None


@dataclass(frozen=True)
class CompleteTask:
    """The result: any JSON value. `verification` with `passed: false` asks for a judgement."""

    task_id: UUID
    output: Any = None
    lease_id: UUID | None = None
    agent_id: UUID | None = None
    worker_id: UUID | None = None
    metrics: Mapping[str, Any] | None = None
    git_info: Mapping[str, Any] | None = None
    verification: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class FailTask:
    """The attempt failed."""

    task_id: UUID
    error: ReportedError
    lease_id: UUID | None = None
    agent_id: UUID | None = None
    worker_id: UUID | None = None
    metrics: Mapping[str, Any] | None = None
    git_info: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RefuseTask:
    """The executor will not do it; with `requeue` another may."""

    task_id: UUID
    lease_id: UUID
    reason: str
    requeue: bool = False


_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))


@in_step
async def start(tx: Tx, command: StartTask) -> Task:
    """Say that work begins. Starting one's own started task again returns it unchanged.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`.
    """
    moved = await move(
        tx,
        Move.START,
        command.task_id,
        who=Who.EXECUTOR,
        lease_id=command.lease_id,
        sets={"started_at": tx.now},
    )
    _check_named(moved.row, command)
    if moved.changed:
        arm_timeout(tx, moved.row)
    return Task.of(moved.row)


@in_step
async def complete(tx: Tx, command: CompleteTask) -> Task:
    """Hand in the result and end the attempt. An equal result under the same lease again changes nothing.

    A result that does not fit the task's output schema, or that its executor could not verify, goes to
    `output_pending_assessment` instead of `completed`.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`; Conflict also for another
            result under a lease that has already completed.
    """
    sets = {"output": command.output, "error": None, "report": _report(command)}
    verified = command.verification is None or command.verification.get("passed") is not False
    if verified:
        row = await try_move(
            tx,
            Move.COMPLETE,
            command.task_id,
            who=Who.EXECUTOR,
            lease_id=command.lease_id,
            sets=sets,
            unchecked=True,
        )
        if row is not None:
            _check_named(row, command)
            return Task.of(row)
    return await _complete_checked(tx, command, sets)


async def _complete_checked(tx: Tx, command: CompleteTask, sets: dict[str, Any]) -> Task:
    """Complete with a look at the output first; or find out why completing was refused."""
    row = await _readable(tx, command.task_id)
    if await ended_with(tx, row, command.lease_id, AttemptOutcome.COMPLETED):
        return _same_output(row, command)
    doubts = _doubts(row, command)
    moved = await move(
        tx,
        Move.SUBMIT_OUTPUT if doubts else Move.COMPLETE,
        command.task_id,
        who=Who.EXECUTOR,
        lease_id=command.lease_id,
        said={"issues": doubts} if doubts else None,
        sets={**sets, "has_approvals": True} if doubts else sets,
    )
    _check_named(moved.row, command)
    if not moved.changed:
        return _same_output(moved.row, command)
    if doubts:
        from core.approvals import open_approval  # deciding one moves the task in turn

        await open_approval(
            tx, moved.row, ApprovalKind.OUTPUT, f"output: {moved.row.title}", subject={"issues": doubts}
        )
    return Task.of(moved.row)


def _same_output(row: Row, command: CompleteTask) -> Task:
    if row.output != command.output:
        raise Conflict(
            "this attempt has completed with another output", details={"reason_code": "output_differs"}
        )
    return Task.of(row)


async def fail(tx: Tx, command: FailTask) -> Task:
    """Report a failure: tried again when the policy says so, else final. Repeating it changes nothing.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`.
    """
    row = await _readable(tx, command.task_id)
    if row.lease_id is not None:
        _check_named(row, command)
    if await ended_with(tx, row, command.lease_id, AttemptOutcome.FAILED):
        return Task.of(row)
    error = command.error
    working = row.state in (TaskState.CLAIMED, TaskState.IN_PROGRESS)
    if command.lease_id is None and tx.caller.operator and working:
        return await _give_up(tx, row, error)
    again = policies.retry_at(
        policies.loaded(row.policy).retry, row.retry_count, error.category, error.recoverable, tx.now
    )
    if again is None or row.lease_id is None:
        moved = await move(
            tx,
            Move.FAIL,
            row.id,
            who=Who.EXECUTOR,
            lease_id=command.lease_id,
            error=error.stored(),
            said={"error": error.stored()},
            sets={
                "error": error.stored(),
                "status_message": [{"text": error.message}],
                "report": _report(command),
            },
        )
        return Task.of(moved.row)
    moved = await move(
        tx,
        Move.RETRY_LATER,
        row.id,
        who=Who.EXECUTOR,
        lease_id=command.lease_id,
        fence=Fence.OWN,
        error=error.stored(),
        announces="task.retry_scheduled",
        said={"error": error.stored(), "retry_at": again.isoformat()},
        sets={"ready_at": again, "retry_count": row.retry_count + 1, "error": error.stored()},
    )
    return Task.of(await release(tx, moved.row))


async def _give_up(tx: Tx, row: Row, error: ReportedError) -> Task:
    """An operator fails a task that somebody else holds."""
    moved = await move(
        tx,
        Move.GIVE_UP,
        row.id,
        who=Who.SYSTEM,
        lease_id=row.lease_id,
        outcome=AttemptOutcome.FAILED,
        error=error.stored(),
        said={"error": error.stored()},
        sets={"error": error.stored(), "status_message": [{"text": error.message}]},
    )
    return Task.of(moved.row)


async def refuse(tx: Tx, command: RefuseTask) -> Task:
    """Decline the task: it is rejected, or with `requeue` given to others after a second.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`.
    """
    if not command.requeue:
        moved = await move(
            tx,
            Move.REFUSE,
            command.task_id,
            who=Who.EXECUTOR,
            lease_id=command.lease_id,
            said={"reason": command.reason},
            sets={"status_message": [{"text": command.reason}]},
        )
        return Task.of(moved.row)
    moved = await move(
        tx,
        Move.REQUEUE,
        command.task_id,
        who=Who.EXECUTOR,
        lease_id=command.lease_id,
        said={"reason": command.reason},
        sets={"ready_at": tx.now + REQUEUE_PAUSE},
    )
    return Task.of(await release(tx, moved.row))


async def _readable(tx: Tx, task_id: UUID) -> Row:
    row = await tx.one(_READ, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return row


def _check_named(row: Row, command: StartTask | CompleteTask | FailTask) -> None:
    if command.agent_id not in (None, row.agent_id) or command.worker_id not in (None, row.worker_id):
        raise Forbidden("agent_id or worker_id is not the one that holds the task")


_ARM = Statement(
    sa.update(t.task)
    .where(t.task.c.id == P_TASK)
    .values(timeout_at=sa.bindparam("p_due", type_=t.task.c.timeout_at.type))
)


def arm_timeout(tx: Tx, row: Row) -> None:
    """Let a task that has just been started end with its time, if it has one."""
    if row.timeout_seconds is not None:
        tx.add(_ARM, p_task_id=row.id, p_due=tx.now + timedelta(seconds=row.timeout_seconds))


def _doubts(row: Row, command: CompleteTask) -> list[dict[str, Any]]:
    doubts: list[dict[str, Any]] = []
    schema = policies.loaded(row.policy).output_schema
    if schema is not None:
        doubts += [
            {"path": i.path, "message": i.message} for i in validation.validate(schema, command.output)
        ]
    if command.verification is not None and command.verification.get("passed") is False:
        doubts.append({"path": "verification", "message": "the executor could not verify its output"})
    return doubts


def _report(command: CompleteTask | FailTask) -> dict[str, Any] | None:
    said = {"metrics": command.metrics, "git_info": command.git_info}
    if isinstance(command, CompleteTask):
        said["verification"] = command.verification
    return {name: dict(value) for name, value in said.items() if value is not None} or None
