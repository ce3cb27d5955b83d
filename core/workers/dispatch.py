"""Work that is pushed: offered over a socket, and the worker's once it says so.

An offer is a claim under a short lease, made by the replica that has the socket. So no two replicas offer the
same task, and what was offered by one that died comes back when that lease runs out.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict
from core.fencing import P_LEASE, P_NOW, P_TASK
from core.lifecycle import Who, move
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Instant
from core.tasks.release import release
from core.transitions import Move
from schemas.vocabulary import TaskState


@dataclass(frozen=True)
class AcceptOffer:
    """The worker takes what it was offered, under a lease of so many seconds."""

    task_id: UUID
    lease_id: UUID
    seconds: int


@dataclass(frozen=True)
class WithdrawOffer:
    """The worker does not take it: `late` says that it did not answer in time, else it is gone."""

    task_id: UUID
    lease_id: UUID
    late: bool


_ACCEPT = Statement(
    sa.update(t.lease)
    .where(
        t.lease.c.task_id == P_TASK,
        t.lease.c.lease_id == P_LEASE,
        t.lease.c.until > P_NOW,
        access.within_tenant(t.lease),
    )
    .values(
        seconds=sa.bindparam("p_seconds", type_=sa.Integer()),
        until=sa.bindparam("p_until", type_=Instant()),
    )
)
_OFFERED = Statement(
    sa.select(t.task.c.state, t.task.c.lease_id)
    .where(t.task.c.id == P_TASK, access.within_tenant(t.task))
    .with_for_update()
)


async def accept(tx: Tx, command: AcceptOffer) -> None:
    """Let the offer be the worker's: its lease is a whole one from now on. Again renews it.

    Raises:
        Conflict: the offer has ended.
    """
    until = tx.now + timedelta(seconds=command.seconds)
    if not await tx.run(
        _ACCEPT,
        p_task_id=command.task_id,
        p_lease_id=command.lease_id,
        p_now=tx.now,
        p_seconds=command.seconds,
        p_until=until,
    ):
        raise Conflict("the offer has ended", details={"reason_code": "lease_expired"})


async def withdraw(tx: Tx, command: WithdrawOffer) -> None:
    """Put an offer back into the queue, at no cost. What was started or taken meanwhile is left alone."""
    row = await tx.one(_OFFERED, p_task_id=command.task_id)
    if row is None or row.state != TaskState.CLAIMED or row.lease_id != command.lease_id:
        return
    moved = await move(
        tx,
        Move.EXPIRE,
        command.task_id,
        who=Who.SYSTEM,
        lease_id=command.lease_id,
        announces="task.dispatch_timeout" if command.late else None,
        said={"reason": "dispatch_timeout" if command.late else "worker_gone"},
        sets={"ready_at": tx.now},
    )
    await release(tx, moved.row)
