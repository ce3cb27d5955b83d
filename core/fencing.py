"""The lease as a fence: who may write to a task as its executor, and what is wrong with one that may not.

Every claim makes a fresh lease id. Whoever presents it, unexpired, is the executor; a late write of an
earlier attempt finds another id, or none, and is told so.
"""

from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.transitions import FINAL, Arc, Fence
from schemas.vocabulary import AttemptOutcome, TaskState

P_TASK = sa.bindparam("p_task_id", type_=Id())
P_LEASE = sa.bindparam("p_lease_id", type_=Id())
P_NOW = sa.bindparam("p_now", type_=Instant())

_OF_LEASE = Statement(
    sa.select(t.attempt).where(t.attempt.c.task_id == P_TASK, t.attempt.c.lease_id == P_LEASE)
)
_UNTIL = Statement(sa.select(t.lease.c.until).where(t.lease.c.task_id == P_TASK))


def fenced(fence: Fence, *, presented: bool) -> list[sa.ColumnElement[bool]]:
    """What a write compares: the lease it presents, alive; or who it is, when an old client has none."""
    live = sa.exists().where(
        t.lease.c.task_id == t.task.c.id, t.lease.c.lease_id == t.task.c.lease_id, t.lease.c.until > P_NOW
    )
    if fence is Fence.OWN and presented:
        return [t.task.c.lease_id == P_LEASE, live]
    if fence is Fence.OWN:
        myself = sa.or_(t.task.c.agent_id == access.ME, t.task.c.worker_id == access.ME)
        return [t.task.c.lease_id.is_not(None), myself, live]
    if fence is Fence.SEEN:
        return [t.task.c.lease_id == P_LEASE]
    return []


async def check_lease(tx: Tx, row: Row, lease_id: UUID | None, *, repeats: Arc | None = None) -> None:
    """Say what is wrong with an executor's lease; return when nothing is, or when this repeats `repeats`.

    Raises:
        Forbidden: the caller never was the executor of this task.
        Conflict: `details.reason_code` is one of `task_already_cancelled`, `task_ownership_moved` and
            `lease_expired`.
    """
    held = None if lease_id is None else await tx.one(_OF_LEASE, p_task_id=row.id, p_lease_id=lease_id)
    cancelled = row.state == TaskState.CANCELLED
    if not tx.caller.operator and not cancelled:
        _check_holder(tx, row, lease_id, held)
    if repeats is not None and held is not None and _repeats(row, held, repeats):
        return
    if cancelled:
        raise Conflict(
            "the task was cancelled: stop and drop the result",
            details={"reason_code": "task_already_cancelled", "stale_callback_disposition": "cancelled"},
        )
    if row.lease_id is not None and lease_id in (None, row.lease_id):
        await _check_live(tx, row)
        return
    if row.lease_id is not None or (held is not None and row.attempt > held.n):
        raise Conflict(
            f"attempt {row.attempt} runs under another lease: drop this result",
            details={"reason_code": "task_ownership_moved", "stale_callback_disposition": "superseded"},
        )
    if held is None or held.outcome == AttemptOutcome.EXPIRED:
        raise Conflict("the lease has ended", details={"reason_code": "lease_expired"})
    if TaskState(row.state) not in FINAL and held.outcome in (
        AttemptOutcome.SUPERSEDED,
        AttemptOutcome.FAILED,
    ):
        raise Conflict(
            "the attempt has ended", details={"reason_code": "task_ownership_moved", "outcome": held.outcome}
        )


async def ended_with(tx: Tx, row: Row, lease_id: UUID | None, outcome: AttemptOutcome) -> bool:
    """Whether the caller's lease has ended the task's last attempt in this way: what it says is a repeat.

    Raises:
        Forbidden: the lease is somebody else's.
    """
    if lease_id is None or lease_id == row.lease_id:
        return False
    held = await tx.one(_OF_LEASE, p_task_id=row.id, p_lease_id=lease_id)
    if held is None or held.n != row.attempt or held.outcome != outcome:
        return False
    if not tx.caller.operator:
        _check_holder(tx, row, lease_id, held)
    return True


async def is_live(tx: Tx, row: Row) -> bool:
    """Whether the lease that the task names has not run out."""
    lease = await tx.one(_UNTIL, p_task_id=row.id)
    return lease is not None and bool(lease.until > tx.now)


def _check_holder(tx: Tx, row: Row, lease_id: UUID | None, held: Row | None) -> None:
    holder = row if lease_id is None else held
    if holder is None or tx.caller.principal_id not in (holder.agent_id, holder.worker_id):
        raise Forbidden("only the executor may do this: present the lease_id of your own claim")


def _repeats(row: Row, held: Row, arc: Arc) -> bool:
    """Whether the task is where the move leads, and came there under this lease."""
    return (
        row.state == arc.target
        and row.attempt == held.n
        and (held.outcome is None or held.outcome == arc.ends)
    )


async def _check_live(tx: Tx, row: Row) -> None:
    if not await is_live(tx, row):
        raise Conflict(
            "the lease ran out; the task will be given to somebody else",
            details={"reason_code": "lease_expired"},
            hint="renew with POST /tasks/{id}/lease before lease_expires_at",
        )
