"""An executor, or an operator, puts a task before people; and what they say sends it on its way again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, move, touch
from core.roles import role_named
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.release import release
from core.tasks.submit import SubmitTask, submit_escalation
from core.tasks.task import Task
from core.transitions import Move
from schemas.vocabulary import TaskState


@dataclass(frozen=True)
class EscalateTask:
    """Put a task before people. With `lease_id` its executor does, else an operator."""

    task_id: UUID
    reason: str
    lease_id: UUID | None = None
    by_executor: bool = False
    target: str | None = None
    """Before whom an operator puts it, for those who read it."""
    said: Mapping[str, Any] | None = None
    """What else whoever decides should know."""


@dataclass(frozen=True)
class ResolveEscalation:
    """What is to be done. It becomes `input.escalation_resolution`."""

    task_id: UUID
    instructions: str
    context: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RespondToEscalation:
    """A word to whoever decides, or to the executor that comes next. It decides nothing yet."""

    task_id: UUID
    instructions: str
    context: Mapping[str, Any] | None = None


_READ = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)
_ANY = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.within_tenant(t.task)).with_for_update(of=t.task)
)
_DEEPEST = 5
"""How often a task may be escalated on, when its role says nothing else."""


async def escalate(tx: Tx, command: EscalateTask) -> Task:
    """End the attempt; the task waits, without any deadline, for people or for the role that its own names.

    An executor's escalation to another role makes a task for that one, whose output is the answer. Beyond the
    role's depth the task fails instead.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`.
    """
    target, depth, deepest = "human", 0, _DEEPEST
    if command.by_executor:
        row = await _readable(tx, command.task_id)
        role = None if row.role is None else await role_named(tx, row.role)
        depth = int(row.extras.get("escalation_depth", 0)) + 1
        if role is not None:
            target, deepest = role.escalation_target or "human", role.max_escalation_depth
        if target != "human" and depth > deepest:
            return await _too_deep(tx, command, deepest)
    elif command.target is not None:
        target = command.target
    said = {"reason": command.reason, "target": target, **(command.said or {})}
    moved = await move(
        tx,
        Move.AGENT_ESCALATE if command.by_executor else Move.ESCALATE,
        command.task_id,
        who=Who.EXECUTOR if command.by_executor else Who.READER,
        lease_id=command.lease_id,
        announces="task.agent_escalated" if command.by_executor else "task.escalated",
        said=said,
        sets={"status_message": [{"text": command.reason}]},
    )
    if target == "human" or not command.by_executor:
        return Task.of(moved.row)
    return await _ask_role(tx, moved.row, command, target, depth)


async def _ask_role(tx: Tx, row: Row, command: EscalateTask, target: str, depth: int) -> Task:
    """Make the task whose output answers the escalation."""
    made = await submit_escalation(
        tx,
        SubmitTask(
            title=f"escalation: {row.title}"[:500],
            description=command.reason,
            role=target,
            input={
                "escalated_task_id": str(row.id),
                "reason": command.reason,
                "input": row.input,
                **(command.said or {}),
            },
            context_id=row.context_id,
            workflow_id=row.workflow_id,
            work_item_id=row.work_item_id,
            workspace_id=row.workspace_id,
            stage_name=row.stage_name,
            extras={"escalates_task_id": str(row.id), "escalation_depth": depth},
        ),
    )
    told = await touch(
        tx, row.id, who=Who.SYSTEM, states=frozenset({TaskState.ESCALATED}), doing="escalate it"
    )
    said = {"task_id": str(row.id), "escalation_task_id": str(made.id), "target": target, "depth": depth}
    tell(tx, told, "task.escalation_task_created", said)
    return Task.of(told)


async def _too_deep(tx: Tx, command: EscalateTask, deepest: int) -> Task:
    error = {
        "category": "escalation_depth_exceeded",
        "message": f"it was escalated {deepest} times already: {command.reason}",
        "recoverable": False,
    }
    moved = await move(
        tx,
        Move.FAIL,
        command.task_id,
        who=Who.EXECUTOR,
        lease_id=command.lease_id,
        error=error,
        announces="task.escalation_depth_exceeded",
        said={"error": error},
        sets={"error": error, "status_message": [{"text": error["message"]}]},
    )
    return Task.of(moved.row)


async def respond(tx: Tx, command: RespondToEscalation) -> Task:
    """Record a response to an escalation, in the task's input as `escalation_response`. It stays escalated.

    Raises:
        NotFound: no such task, or not yours to see.
        InvalidTransition: it is not escalated.
    """
    row = await _readable(tx, command.task_id)
    response = {"instructions": command.instructions, "context": dict(command.context or {})}
    given = row.input if isinstance(row.input, dict) else {"input": row.input}
    touched = await touch(
        tx,
        row.id,
        who=Who.READER,
        states=frozenset({TaskState.ESCALATED}),
        doing="respond to an escalation",
        sets={"input": {**given, "escalation_response": response}},
    )
    said = {"task_id": str(row.id), "response": response}
    tell(tx, touched, "task.escalation_response_recorded", said)
    return Task.of(touched)


async def answer(tx: Tx, asked: Row) -> None:
    """The task that was made for an escalation is completed: its output sends the other one on its way."""
    row = await tx.one(_ANY, p_task_id=UUID(asked.extras["escalates_task_id"]))
    if row is None or row.state != TaskState.ESCALATED:
        return
    output = asked.output if isinstance(asked.output, dict) else {"answer": asked.output}
    instructions = str(output.get("instructions") or output.get("answer") or "")
    context = {"escalation_task_id": str(asked.id), "output": asked.output}
    await _send_on(tx, row, {"instructions": instructions, "context": context}, Who.SYSTEM)


async def resolve(tx: Tx, command: ResolveEscalation) -> Task:
    """Send an escalated task back to the queue, with what was decided in its input.

    When its executor has handed on all of its work before, it is completed instead.

    Raises:
        NotFound: no such task, or not yours to see.
        InvalidTransition: it is not escalated.
    """
    row = await _readable(tx, command.task_id)
    resolution = {"instructions": command.instructions, "context": dict(command.context or {})}
    return Task.of(await _send_on(tx, row, resolution, Who.READER))


async def _send_on(tx: Tx, row: Row, resolution: Mapping[str, Any], who: Who) -> Row:
    given = row.input if isinstance(row.input, dict) else {"input": row.input}
    handoff = row.extras.get("latest_handoff") or {}
    settled = handoff.get("rework_count") == row.rework_count and handoff.get("completion") == "full"
    sets: dict[str, Any] = {
        "input": {**given, "escalation_resolution": dict(resolution)},
        "status_message": None,
    }
    sets |= {"output": {"handoff": handoff}} if settled else {"ready_at": tx.now}
    moved = await move(
        tx,
        Move.SETTLE_ESCALATION if settled else Move.RESOLVE_ESCALATION,
        row.id,
        who=who,
        announces="task.escalation_resolved",
        said={"resolution": dict(resolution)},
        sets=sets,
    )
    return await release(tx, moved.row)


async def _readable(tx: Tx, task_id: UUID) -> Row:
    row = await tx.one(_READ, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return row
