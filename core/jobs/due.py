"""What falls due: leases that ran out, tasks whose time has come, deadlines. Each step is one command.

A step names what was read (a lease, a time) and compares it again in its transaction, so that two replicas,
or a replica and an executor, never both act on the same thing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import routing
from core.approval_decisions import decide_by_default
from core.approvals import TOOL_CALLS, Approval
from core.errors import Conflict
from core.fencing import P_NOW, P_TASK
from core.journal import tell
from core.lifecycle import Who, move, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks import policy as policies
from core.tasks.input import park_lost
from core.tasks.release import release
from core.transitions import ASKING, FINAL, Move
from schemas.vocabulary import ApprovalKind, AttemptOutcome, TaskState

BATCH = 500
"""How much one look takes up; what is left comes with the next."""
CANCEL_REASON = "cancelled; the executor did not confirm in time"
REPLAY_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Due:
    """Something that fell due: a task of a tenant, and what was read of it."""

    tenant_id: UUID
    task_id: UUID
    lease_id: UUID | None = None


@dataclass(frozen=True)
class DueApproval:
    """An approval whose time is over."""

    tenant_id: UUID
    approval_id: UUID


_LIMIT: sa.ColumnElement[int] = sa.literal_column(str(BATCH))
_LEASES = Statement(
    sa.select(t.lease.c.tenant_id, t.lease.c.task_id, t.lease.c.lease_id)
    .where(t.lease.c.until <= P_NOW)
    .limit(_LIMIT)
)
_DELAYED = Statement(
    sa.select(t.task.c.tenant_id, t.task.c.id.label("task_id"), t.task.c.lease_id)
    .where(
        t.task.c.state == sa.literal_column(str(int(TaskState.PENDING))),
        t.task.c.waiting == sa.literal_column("0"),
        sa.literal_column("NOT task.on_hold", sa.Boolean),
        t.task.c.ready_at <= P_NOW,
    )
    .order_by(t.task.c.ready_at)
    .limit(_LIMIT)
)
_PREFERRED = Statement(
    sa.select(t.task.c.tenant_id, t.task.c.id.label("task_id"), t.task.c.lease_id)
    .where(
        t.task.c.state == sa.literal_column(str(int(TaskState.READY))),
        t.task.c.preferred_until.is_not(None),
        t.task.c.preferred_until <= P_NOW,
    )
    .limit(_LIMIT)
)
_TIMED_OUT = Statement(
    sa.select(t.task.c.tenant_id, t.task.c.id.label("task_id"), t.task.c.lease_id)
    .where(t.task.c.timeout_at.is_not(None), t.task.c.timeout_at <= P_NOW)
    .limit(_LIMIT)
)
_CANCEL_DUE = Statement(
    sa.select(t.task.c.tenant_id, t.task.c.id.label("task_id"), t.task.c.lease_id)
    .where(t.task.c.cancel_due_at.is_not(None), t.task.c.cancel_due_at <= P_NOW)
    .limit(_LIMIT)
)
_APPROVALS = Statement(
    sa.select(t.approval.c.tenant_id, t.approval.c.id)
    .where(
        t.approval.c.status == sa.literal_column("'pending'"),
        t.approval.c.expires_at.is_not(None),
        t.approval.c.expires_at <= P_NOW,
    )
    .limit(_LIMIT)
)


async def lost_leases(tx: Tx, _: None) -> Sequence[Due]:
    """Leases that ran out, of every tenant."""
    return [Due(r.tenant_id, r.task_id, r.lease_id) for r in await tx.all(_LEASES, p_now=tx.now)]


async def delayed(tx: Tx, _: None) -> Sequence[Due]:
    """Pending tasks whose time has come."""
    return [Due(r.tenant_id, r.task_id) for r in await tx.all(_DELAYED, p_now=tx.now)]


async def kept_too_long(tx: Tx, _: None) -> Sequence[Due]:
    """Ready tasks that their preferred agent has not taken in time."""
    return [Due(r.tenant_id, r.task_id) for r in await tx.all(_PREFERRED, p_now=tx.now)]


async def timed_out(tx: Tx, _: None) -> Sequence[Due]:
    """Tasks that run longer than they may."""
    return [Due(r.tenant_id, r.task_id, r.lease_id) for r in await tx.all(_TIMED_OUT, p_now=tx.now)]


async def to_cancel(tx: Tx, _: None) -> Sequence[Due]:
    """Tasks whose executor was asked to stop, and whose grace is over."""
    return [Due(r.tenant_id, r.task_id) for r in await tx.all(_CANCEL_DUE, p_now=tx.now)]


async def approvals_due(tx: Tx, _: None) -> Sequence[DueApproval]:
    """Pending approvals past their deadline."""
    return [DueApproval(r.tenant_id, r.id) for r in await tx.all(_APPROVALS, p_now=tx.now)]


_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK).with_for_update())
_LEASE_OVER = Statement(
    sa.select(t.lease.c.lease_id).where(t.lease.c.task_id == P_TASK, t.lease.c.until <= P_NOW)
)


async def expire_lease(tx: Tx, due: Due) -> None:
    """End an attempt whose lease ran out. One that was renewed or ended meanwhile is left alone.

    Never started: back to the queue, for free. Started: tried again or given up, as the policy says. Waiting
    for an answer: the task goes on waiting, without its executor.
    """
    over = await tx.one(_LEASE_OVER, p_task_id=due.task_id, p_now=tx.now)
    row = await tx.one(_READ, p_task_id=due.task_id)
    if over is None or row is None or row.lease_id != due.lease_id or over.lease_id != due.lease_id:
        return
    state = TaskState(row.state)
    if state is TaskState.CLAIMED:
        moved = await move(
            tx,
            Move.EXPIRE,
            row.id,
            who=Who.SYSTEM,
            lease_id=row.lease_id,
            said={"reason": "lease_expired"},
            sets={"ready_at": tx.now},
        )
        await release(tx, moved.row)
    elif state is TaskState.IN_PROGRESS:
        await _lose(tx, row, "infrastructure", "the executor was lost: its lease ran out")
    elif state in ASKING:
        await park_lost(tx, row)


async def time_out(tx: Tx, due: Due) -> None:
    """End an attempt that took too long: tried again when the policy lists `timeout`, else failed."""
    row = await tx.one(_READ, p_task_id=due.task_id)
    if row is None or row.timeout_at is None or row.timeout_at > tx.now or row.lease_id != due.lease_id:
        return
    if row.state in (TaskState.CLAIMED, TaskState.IN_PROGRESS):
        await _lose(tx, row, "timeout", "the attempt took longer than the task allows")


async def _lose(tx: Tx, row: Row, category: str, message: str) -> None:
    error = {"category": category, "message": message, "recoverable": True}
    again = policies.retry_at(policies.loaded(row.policy).retry, row.retry_count, category, True, tx.now)
    if again is None:
        await move(
            tx,
            Move.GIVE_UP,
            row.id,
            who=Who.SYSTEM,
            lease_id=row.lease_id,
            error=error,
            said={"error": error, "reason": category},
            sets={"error": error, "status_message": [{"text": message}]},
        )
        return
    moved = await move(
        tx,
        Move.RETRY_LATER,
        row.id,
        who=Who.SYSTEM,
        lease_id=row.lease_id,
        outcome=AttemptOutcome.EXPIRED,
        error=error,
        announces="task.retry_scheduled",
        said={"error": error, "reason": category, "retry_at": again.isoformat()},
        sets={"ready_at": again, "retry_count": row.retry_count + 1, "error": error},
    )
    await release(tx, moved.row)


async def release_delayed(tx: Tx, due: Due) -> None:
    """Make a task ready whose time has come."""
    row = await tx.one(_READ, p_task_id=due.task_id)
    if row is not None:
        await release(tx, row)


_GENERAL = Statement(
    sa.update(t.task)
    .where(
        t.task.c.id == P_TASK,
        t.task.c.state == sa.literal_column(str(int(TaskState.READY))),
        t.task.c.preferred_until.is_not(None),
        t.task.c.preferred_until <= P_NOW,
    )
    .values(route_id=t.task.c.general_route_id, preferred_until=None)
    .returning(t.task.c.route_id)
)


async def open_to_all(tx: Tx, due: Due) -> None:
    """Give a task that was kept for one agent to everybody who covers it."""
    row = await tx.one(_GENERAL, p_task_id=due.task_id, p_now=tx.now)
    if row is not None:
        tx.wake(routing.topic(row.route_id))


async def cancel_after_grace(tx: Tx, due: Due) -> None:
    """Cancel a task whose executor was asked to stop and did not say so in time."""
    row = await tx.one(_READ, p_task_id=due.task_id)
    if (
        row is None
        or row.cancel_due_at is None
        or row.cancel_due_at > tx.now
        or TaskState(row.state) in FINAL
    ):
        return
    await move(tx, Move.CANCEL, row.id, who=Who.SYSTEM, said={"reason": CANCEL_REASON})


_EXPIRE_APPROVAL = Statement(
    sa.update(t.approval)
    .where(
        t.approval.c.id == sa.bindparam("p_approval_id", type_=t.approval.c.id.type),
        t.approval.c.status == sa.literal_column("'pending'"),
        t.approval.c.expires_at <= P_NOW,
    )
    .values(status=sa.literal("expired"), updated_at=P_NOW)
    .returning(*t.approval.c)
)


async def expire_approval(tx: Tx, due: DueApproval) -> None:
    """Decide an approval as its policy declared for this case, or let it run out.

    Running out is no rejection: whoever asked learns that nobody decided.
    """
    if await decide_by_default(tx, due.approval_id):
        return
    found = await tx.one(_EXPIRE_APPROVAL, p_approval_id=due.approval_id, p_now=tx.now)
    if found is None:
        return
    approval = Approval.of(found)
    tx.wake(f"approval:{approval.id}")
    if approval.kind is ApprovalKind.TOOL_CALL:
        tx.wake(TOOL_CALLS)
    if approval.task_id is None:
        return
    try:
        row = await touch(
            tx, approval.task_id, who=Who.SYSTEM, states=frozenset(TaskState) - FINAL, doing="let it run out"
        )
    except Conflict:
        return
    data: dict[str, Any] = {"approval_id": str(approval.id), "status": approval.status.value}
    tell(tx, row, "approval.expired", {"task_id": str(row.id), "kind": approval.kind.value, **data})


_OLD_REPLAYS = Statement(
    sa.delete(t.idem).where(t.idem.c.at < sa.bindparam("p_before", type_=t.idem.c.at.type))
)
_OLD_SESSIONS = Statement(
    sa.delete(t.refresh_session).where(
        t.refresh_session.c.expires_at < sa.bindparam("p_before", type_=t.refresh_session.c.expires_at.type)
    )
)


async def forget_old(tx: Tx, _: None) -> None:
    """Drop replay records after seven days, and refresh sessions that ended as long ago."""
    tx.add(_OLD_REPLAYS, p_before=tx.now - REPLAY_KEPT)
    tx.add(_OLD_SESSIONS, p_before=tx.now - REPLAY_KEPT)
