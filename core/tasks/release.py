"""The way into the queue: a pending task that nothing holds back becomes ready, and whom that concerns.

Every move that puts a task back targets `pending`; the command then calls `release`. So a task becomes ready
here or at its birth, and nowhere else, and only these two wake a waiting claim.
"""

from collections import deque
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import routing
from core.fencing import P_NOW, P_TASK
from core.lifecycle import PLAYBOOK, Who, move, try_move
from core.routing import Route, route_id
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.tasks import policy as policies
from core.transitions import Move
from core.workflows.admission import Hold, why_held
from core.workflows.marks import mark
from schemas.vocabulary import ApprovalKind, OnDependencyFailure, Priority, TaskState


async def release(tx: Tx, row: Row, *, has_place: bool = False) -> Row:
    """Make a pending task ready, or ask for leave to start it, when nothing holds it back. Else nothing.

    `has_place`: who calls has counted what goes on in the workflow, and there is a place.
    """
    if row.state != TaskState.PENDING or row.waiting > 0 or row.on_hold or row.ready_at > tx.now:
        return row
    if row.workflow_id is not None:
        steers = mode_of(row) == routing.ORCHESTRATOR_MODE
        held = await why_held(tx, row.workflow_id, row.work_item_id, steers=steers, has_place=has_place)
        if held is not Hold.NONE:
            tx.add(_HOLD, p_task_id=row.id)
            if held is Hold.COUNTED:
                mark(tx, row)
            return row
    if row.approval_open:
        # Imported here: deciding an approval releases tasks in turn.
        from core.approvals import open_approval

        asked = (await move(tx, Move.ASK_APPROVAL, row.id, who=Who.SYSTEM, sets={"has_approvals": True})).row
        await open_approval(tx, asked, ApprovalKind.START, f"start: {asked.title}")
        return asked
    chosen, until = await choose_route(tx, row)
    released = await move(
        tx,
        Move.RELEASE,
        row.id,
        who=Who.SYSTEM,
        sets={
            "route_id": chosen,
            "preferred_until": until,
            "rank": policies.rank(row.ready_at, Priority(row.priority)),
        },
    )
    if released.row.type == PLAYBOOK:
        from core.workflows.fronts import begin  # it makes tasks in turn

        return await begin(tx, released.row)
    tx.wake(routing.topic(chosen))
    return released.row


async def choose_route(tx: Tx, row: Row) -> tuple[int, Any]:
    """The route a task becomes ready on, and until when it is kept for its preferred agent."""
    until = row.preferred_until
    if row.preferred_agent_id is None or until is None or until <= tx.now:
        return row.general_route_id, None
    wanted = Route(frozenset(row.required_tags), frozenset(row.required_tools), mode_of(row))
    return await route_id(tx, wanted.for_agent(row.preferred_agent_id)), until


def mode_of(row: Row) -> str:
    """Which kind of agent a task is for."""
    return routing.ORCHESTRATOR_MODE if row.extras.get("orchestrator") else routing.TASK_MODE


_HOLD = Statement(sa.update(t.task).where(t.task.c.id == P_TASK).values(on_hold=sa.true()))
_COUNT_OFF = Statement(
    sa.update(t.dependency)
    .where(
        t.dependency.c.after_id == P_TASK, t.dependency.c.task_id == sa.bindparam("p_dependant", type_=Id())
    )
    .values(done=sa.true())
)
_WAITING_FOR = Statement(
    sa.select(t.task.c.id, t.task.c.policy)
    .join(t.dependency, t.dependency.c.task_id == t.task.c.id)
    .where(t.dependency.c.after_id == P_TASK, t.dependency.c.done == sa.false())
    .order_by(t.task.c.id)
)
_WAIT_LESS = Statement(
    sa.update(t.task)
    .where(t.task.c.id == P_TASK)
    .values(waiting=t.task.c.waiting - 1, updated_at=P_NOW)
    .returning(*t.task.c)
)


async def settle_dependants(tx: Tx, ended: Row) -> None:
    """Let go, or cancel, the tasks that waited for one that has just become final, and who waits for those.

    Rows are taken in ascending id, like everywhere, so that two ends cannot lock each other out. A chain is
    walked, not called, so that no length of it runs out of stack. A dependant that has ended is left alone.
    """
    settling = deque([ended])
    while settling:
        done = settling.popleft()
        for waiting in await tx.all(_WAITING_FOR, p_task_id=done.id):
            wish = OnDependencyFailure(waiting.policy["on_dependency_failure"])
            if done.state == TaskState.COMPLETED or wish is OnDependencyFailure.RUN:
                await _count_off(tx, done.id, waiting.id)
            elif wish is OnDependencyFailure.CANCEL:
                cancelled = await try_move(
                    tx,
                    Move.CANCEL,
                    waiting.id,
                    who=Who.SYSTEM,
                    said={"reason": "dependency_failed"},
                    settles=False,
                )
                if cancelled is not None:
                    settling.append(cancelled)


async def _count_off(tx: Tx, done_id: UUID, waiting_id: UUID) -> None:
    await tx.run(_COUNT_OFF, p_task_id=done_id, p_dependant=waiting_id)
    row = await tx.one(_WAIT_LESS, p_task_id=waiting_id, p_now=tx.now)
    if row is None:
        return
    if row.on_hold and row.waiting == 0:
        mark(tx, row)  # of another workflow than the one that ended: nobody looks there yet
    await release(tx, row)
