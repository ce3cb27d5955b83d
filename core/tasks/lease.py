"""An executor keeps its lease alive, and learns whether it should stop."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.caller import Caller
from core.errors import Conflict, NotFound
from core.fencing import P_LEASE, P_NOW, P_TASK, check_lease
from core.platform import Platform
from core.store import tables as t
from core.store.engine import in_step
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Instant
from core.tasks.task import LeaseState
from schemas.vocabulary import TaskState

WAIT_STEP = 1.0


@dataclass(frozen=True)
class RenewLease:
    """Which lease, and for how long from now; None repeats what the claim asked for."""

    task_id: UUID
    lease_id: UUID
    extend_seconds: int | None = None
    known_state: TaskState | None = None
    """The state that the executor believes in: a waiting renewal answers at once when it is another."""


_READ = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()))
_SECONDS = Statement(
    sa.select(t.lease.c.seconds).where(
        t.lease.c.task_id == P_TASK, t.lease.c.lease_id == P_LEASE, t.lease.c.until > P_NOW
    )
)
_RENEW = Statement(
    sa.update(t.lease)
    .where(t.lease.c.task_id == P_TASK, t.lease.c.lease_id == P_LEASE, t.lease.c.until > P_NOW)
    .values(until=sa.bindparam("p_until", type_=Instant()))
)


@in_step
async def renew(tx: Tx, command: RenewLease) -> LeaseState:
    """Extend the lease. Concurrent renewals all succeed; the last one's end counts.

    Raises:
        NotFound: no such task.
        Forbidden: the lease is somebody else's.
        Conflict: the lease is gone; `details.reason_code` says how.
    """
    row = await tx.one(_READ, p_task_id=command.task_id)
    if row is None:
        raise NotFound("no such task")
    await check_lease(tx, row, command.lease_id)
    seconds = command.extend_seconds
    if seconds is None:
        present = await tx.one(_SECONDS, p_task_id=row.id, p_lease_id=command.lease_id, p_now=tx.now)
        seconds = 60 if present is None else present.seconds
    until = tx.now + timedelta(seconds=seconds)
    if not await tx.run(_RENEW, p_task_id=row.id, p_lease_id=command.lease_id, p_now=tx.now, p_until=until):
        raise Conflict("the lease has ended", details={"reason_code": "lease_expired"})
    return LeaseState(until, row.cancel_requested_at is not None, TaskState(row.state), row.version)


async def renew_waiting(
    platform: Platform, caller: Caller, command: RenewLease, wait_seconds: float
) -> LeaseState:
    """As `renew`, then wait up to `wait_seconds` for news: a wish to cancel, an answer, a lost lease.

    Raises: as `renew`, also when the lease is lost while waiting.
    """
    deadline = platform.monotonic() + wait_seconds
    with platform.hints.listen([f"task:{command.task_id}"]) as woken:
        first = await platform.write(caller, renew, command)
        while not first.cancel_requested and command.known_state in (None, first.state):
            left = deadline - platform.monotonic()
            if left <= 0:
                return first
            await woken.wait(min(left, WAIT_STEP))
            if await platform.read(caller, unchanged_since, Seen(command, first.state)):
                continue
            return await platform.write(caller, renew, command)
        return first


@dataclass(frozen=True)
class Seen:
    """A lease and the state in which it was last seen."""

    lease: RenewLease
    state: TaskState


async def unchanged_since(tx: Tx, seen: Seen) -> bool:
    """Whether the lease is still the task's, its state the same, and nobody wants the task cancelled."""
    row = await tx.one(_READ, p_task_id=seen.lease.task_id)
    return (
        row is not None
        and row.lease_id == seen.lease.lease_id
        and row.state == seen.state
        and row.cancel_requested_at is None
    )
