"""An executor, or an operator, puts a task before people; and what they say sends it on its way again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_TASK
from core.lifecycle import Who, move
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.tasks.release import release
from core.tasks.task import Task
from core.transitions import Move


@dataclass(frozen=True)
class EscalateTask:
    """Put a task before people. With `lease_id` its executor does, else an operator."""

    task_id: UUID
    reason: str
    lease_id: UUID | None = None
    by_executor: bool = False
    said: Mapping[str, Any] | None = None
    """What else whoever decides should know."""


@dataclass(frozen=True)
class ResolveEscalation:
    """What is to be done. It becomes `input.escalation_resolution`."""

    task_id: UUID
    instructions: str
    context: Mapping[str, Any] | None = None


_READ = Statement(
    sa.select(t.task.c.input).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)


async def escalate(tx: Tx, command: EscalateTask) -> Task:
    """End the attempt; the task waits for people, without any deadline.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`.
    """
    said = {"reason": command.reason, "target": "human", **(command.said or {})}
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
    return Task.of(moved.row)


async def resolve(tx: Tx, command: ResolveEscalation) -> Task:
    """Send an escalated task back to the queue, with what was decided in its input.

    Raises:
        NotFound: no such task, or not yours to see.
        InvalidTransition: it is not escalated.
    """
    row = await tx.one(_READ, p_task_id=command.task_id)
    if row is None:
        raise NotFound("no such task")
    resolution = {"instructions": command.instructions, "context": dict(command.context or {})}
    given = row.input if isinstance(row.input, dict) else {"input": row.input}
    moved = await move(
        tx,
        Move.RESOLVE_ESCALATION,
        command.task_id,
        who=Who.READER,
        announces="task.escalation_resolved",
        said={"resolution": resolution},
        sets={
            "input": {**given, "escalation_resolution": resolution},
            "ready_at": tx.now,
            "status_message": None,
        },
    )
    return Task.of(await release(tx, moved.row))
