"""What people do to a task beside judging it: skip it, give it away, replace its output, open it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, move, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.tasks import policy as policies
from core.tasks.release import release
from core.tasks.review import CONVERSATIONAL, JudgeTask, Reopened, again, judge_task, pending_kinds
from core.tasks.task import Task
from core.transitions import Move
from schemas.vocabulary import ApprovalKind, Face, Scope, TaskState

PREFERENCE: Final = timedelta(seconds=60)
"""How long a task is kept for whom it was given to, once it is ready."""
_REOPENED = frozenset({TaskState.FAILED, TaskState.CANCELLED})
_AT_WORK = frozenset(
    {TaskState.CLAIMED, TaskState.IN_PROGRESS, TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED}
)


@dataclass(frozen=True)
class SkipTask:
    """Count a task as done without doing it."""

    task_id: UUID
    reason: str


@dataclass(frozen=True)
class ReassignTask:
    """Give a task to somebody else, or to a worker's agents."""

    task_id: UUID
    reason: str
    preferred_agent_id: UUID | None = None
    preferred_worker_id: UUID | None = None


@dataclass(frozen=True)
class OverrideOutput:
    """Put another output in the place of the task's own."""

    task_id: UUID
    output: Any
    reason: str


@dataclass(frozen=True)
class ReworkTask:
    """Have a task done again, with the feedback in its input."""

    task_id: UUID
    feedback: str
    override_input: Mapping[str, Any] | None = None
    preferred_agent_id: UUID | None = None
    preferred_worker_id: UUID | None = None


@dataclass(frozen=True)
class RejectTask:
    """Refuse a task or what it came to: it fails."""

    task_id: UUID
    feedback: str


_READ = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)
_AGENT = Statement(
    sa.select(t.agent.c.id).where(
        t.agent.c.id == sa.bindparam("p_agent_id", type_=Id()), access.within_tenant(t.agent)
    )
)
_AGENT_OF = Statement(
    sa.select(t.agent.c.id)
    .where(t.agent.c.worker_id == sa.bindparam("p_worker_id", type_=Id()), access.within_tenant(t.agent))
    .order_by(t.agent.c.id)
    .limit(sa.literal_column("1"))
)


async def skip(tx: Tx, command: SkipTask) -> Task:
    """Complete a task that nobody works on, without an output of its own. Its dependants go on.

    Raises:
        NotFound: no such task.
        InvalidTransition: somebody works on it, it is completed, or final for good.
    """
    row = await _readable(tx, command.task_id)
    moved = await move(
        tx,
        Move.REOPEN_SKIP if TaskState(row.state) in _REOPENED else Move.SKIP,
        row.id,
        who=Who.READER,
        said={"reason": command.reason},
        sets={
            "output": {"skipped": True, "reason": command.reason},
            "error": None,
            "status_message": [{"text": command.reason}],
        },
    )
    return Task.of(moved.row)


async def reassign(tx: Tx, command: ReassignTask) -> Task:
    """Take a task from whoever has it, who is told, and keep it a minute for whom it is given to.

    Raises:
        NotFound: no such task.
        Invalid: no such agent, or a worker without agents.
        InvalidTransition: it is completed, refused, escalated or final for good.
    """
    row = await _readable(tx, command.task_id)
    agent_id = await _preferred(tx, command.preferred_agent_id, command.preferred_worker_id)
    sets: dict[str, Any] = {
        "preferred_agent_id": agent_id,
        "preferred_until": None if agent_id is None else tx.now + PREFERENCE,
    }
    said = {"reason": command.reason, "preferred_agent_id": agent_id and str(agent_id)}
    if row.state == TaskState.PENDING:
        pending = frozenset({TaskState.PENDING})
        touched = await touch(tx, row.id, who=Who.READER, states=pending, doing="reassign", sets=sets)
        tell(tx, touched, "task.reassigned", {"task_id": str(row.id), **said})
        return Task.of(touched)
    reopens = TaskState(row.state) in _REOPENED
    sets |= {"ready_at": tx.now, "status_message": None, "output": None}
    m = Move.REOPEN_REASSIGN if reopens else Move.REASSIGN
    moved = await move(tx, m, row.id, who=Who.READER, said=said, sets=sets)
    return Task.of(await release(tx, moved.row))


async def override_output(tx: Tx, command: OverrideOutput) -> Task:
    """Replace the output of a task that is done, judged, failed or cancelled; it is completed then.

    What was there before stands in the log, with who replaced it and why.

    Raises:
        NotFound: no such task.
        InvalidTransition: it is not over, and waits for no judgement; or it is final for good.
    """
    row = await _readable(tx, command.task_id)
    by = {"by": str(tx.caller.principal_id), "at": tx.now.isoformat(), "reason": command.reason}
    sets = {
        "output": command.output,
        "error": None,
        "status_message": None,
        "attributes": {**row.attributes, "output_override": by},
    }
    said = {"reason": command.reason, "previous_output": row.output}
    if row.state == TaskState.COMPLETED:
        if Face(row.face) in CONVERSATIONAL:
            return Task.of((await move(tx, Move.REOPEN_OVERRIDE, row.id, who=Who.READER)).row)
        done = frozenset({TaskState.COMPLETED})
        touched = await touch(tx, row.id, who=Who.READER, states=done, doing="override its output", sets=sets)
        tell(tx, touched, "task.output_overridden", {"task_id": str(row.id), **said})
        return Task.of(touched)
    reopens = TaskState(row.state) in _REOPENED
    m = Move.REOPEN_OVERRIDE if reopens else Move.OVERRIDE_OUTPUT
    moved = await move(
        tx, m, row.id, who=Who.READER, said=said, sets=sets, announces="task.output_overridden"
    )
    return Task.of(moved.row)


async def rework(tx: Tx, command: ReworkTask) -> Reopened:
    """Send back what waits for a decision; or have a task that is over done again, as a worker or operator.

    A task born on A2A, ACP or MCP stays as it is: a new one is made in the same context.

    Raises:
        NotFound: no such task.
        Forbidden: not yours to decide, or to open again.
        Conflict: it was done again as often as it may be.
        InvalidTransition: it is being done, or waits for nothing that could be sent back.
    """
    row = await _readable(tx, command.task_id)
    agent_id = await _preferred(tx, command.preferred_agent_id, command.preferred_worker_id)
    over = TaskState(row.state) in _REOPENED | {TaskState.COMPLETED}
    if not over:
        if agent_id is not None:
            await tx.run(
                sa.update(t.task)
                .where(t.task.c.id == row.id)
                .values(preferred_agent_id=agent_id, preferred_until=tx.now + PREFERENCE)
            )
        judged = JudgeTask(
            row.id,
            "request_changes",
            feedback=command.feedback,
            override_input=command.override_input,
        )
        return Reopened(await judge_task(tx, judged), False)
    _operates(tx)
    given = row.input if isinstance(row.input, dict) else {"input": row.input}
    merged = {**given, **(command.override_input or {}), "assessment_feedback": command.feedback}
    if Face(row.face) in CONVERSATIONAL:
        return Reopened(await again(tx, row, merged), True)
    if row.rework_count + 1 > policies.loaded(row.policy).max_rework:
        raise Conflict(
            f"the task was done again {row.rework_count} times; that is as often as it may be",
            details={"reason_code": "max_rework_exceeded", "task_id": str(row.id)},
        )
    sets: dict[str, Any] = {
        "rework_count": row.rework_count + 1,
        "ready_at": tx.now,
        "input": merged,
        "output": None,
        "status_message": None,
    }
    if agent_id is not None:
        sets |= {"preferred_agent_id": agent_id, "preferred_until": tx.now + PREFERENCE}
    said = {"feedback": command.feedback}
    moved = await move(tx, Move.REOPEN_REWORK, row.id, who=Who.READER, said=said, sets=sets)
    return Reopened(Task.of(await release(tx, moved.row)), False)


async def reject(tx: Tx, command: RejectTask) -> Task:
    """Refuse what waits for a decision; or, as a worker or operator, a task at work or completed.

    Raises:
        NotFound: no such task.
        Forbidden: not yours to decide, or to refuse.
        InvalidTransition: it waits for nothing, and is neither at work nor completed; or final for good.
    """
    row = await _readable(tx, command.task_id)
    state = TaskState(row.state)
    decidable = {ApprovalKind.START, ApprovalKind.OUTPUT}
    if state not in _AT_WORK | {TaskState.COMPLETED} or decidable & await pending_kinds(tx, row.id):
        return await judge_task(tx, JudgeTask(row.id, "reject", feedback=command.feedback))
    _operates(tx)
    if row.lease_id is not None and tx.caller.principal_id in (row.agent_id, row.worker_id):
        raise Forbidden("whoever does the task does not decide about it; fail it instead")
    error = {"category": "assessment_rejected", "message": command.feedback, "recoverable": False}
    moved = await move(
        tx,
        Move.REJECT_COMPLETED if state is TaskState.COMPLETED else Move.REJECT,
        row.id,
        who=Who.READER,
        said={"error": error},
        sets={"error": error, "status_message": [{"text": command.feedback}]},
    )
    return Task.of(moved.row)


def _operates(tx: Tx) -> None:
    if not tx.caller.scope.includes(Scope.WORKER):
        raise Forbidden("only a worker or an operator may do this while the task waits for no decision")


async def _preferred(tx: Tx, agent_id: UUID | None, worker_id: UUID | None) -> UUID | None:
    if agent_id is not None:
        if await tx.one(_AGENT, p_agent_id=agent_id) is None:
            raise Invalid("preferred_agent_id names no agent", details={"field": "preferred_agent_id"})
        return agent_id
    if worker_id is None:
        return None
    row = await tx.one(_AGENT_OF, p_worker_id=worker_id)
    if row is None:
        raise Invalid(
            "preferred_worker_id names no worker with agents", details={"field": "preferred_worker_id"}
        )
    return UUID(str(row.id))


async def _readable(tx: Tx, task_id: UUID) -> Row:
    row = await tx.one(_READ, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return row
