"""A worker says how it is doing, or falls silent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.agents import LOST_AFTER
from core.errors import InvalidTransition, NotFound
from core.fencing import P_LEASE, P_NOW, P_TASK
from core.lifecycle import Who, move
from core.store import tables
from core.store.statement import Row, Statement
from core.store.tables import workers as t
from core.store.tx import Tx
from core.store.types import Instant, Json
from core.tasks.release import release
from core.transitions import Move
from core.workers.records import MOVES, P_WORKER, Worker, WorkerId, own_row, told
from core.workers.signals import Signal, pending_signals
from schemas.vocabulary import TaskState, WorkerStatus

S = WorkerStatus
LOST: Final = (S.DEGRADED, S.DISCONNECTED, S.OFFLINE)
SHORTEST: Final = timedelta(seconds=5)
"""The shortest interval that a worker may promise."""


@dataclass(frozen=True)
class WorkerHeartbeat:
    """What a worker says of itself. None says nothing about it."""

    worker_id: UUID
    status: WorkerStatus | None = None
    current_tasks: Sequence[UUID] | None = None
    metrics: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Heard:
    """The answer to a heartbeat."""

    worker: Worker
    signals: Sequence[Signal]


_w = t.worker
_BEAT = Statement(
    sa.update(_w)
    .where(_w.c.id == P_WORKER, access.within_tenant(_w))
    .values(
        status=sa.bindparam("p_status"),
        current_tasks=sa.bindparam("p_tasks", type_=Json()),
        metrics=sa.bindparam("p_metrics", type_=Json()),
        last_seen_at=P_NOW,
        last_heartbeat_at=P_NOW,
    )
    .returning(_w)
)
_HELD = Statement(
    sa.select(
        tables.task.c.id,
        tables.task.c.state,
        tables.task.c.status_at,
        tables.lease.c.lease_id,
        tables.lease.c.seconds,
    )
    .join(tables.lease, tables.lease.c.task_id == tables.task.c.id)
    .where(
        tables.lease.c.agent_id.in_(sa.select(tables.agent.c.id).where(tables.agent.c.worker_id == P_WORKER))
    )
    .where(tables.task.c.worker_id == P_WORKER, tables.lease.c.until > P_NOW)
    .order_by(tables.task.c.id)
)
_RENEW = Statement(
    sa.update(tables.lease)
    .where(tables.lease.c.task_id == P_TASK, tables.lease.c.lease_id == P_LEASE, tables.lease.c.until > P_NOW)
    .values(until=sa.bindparam("p_until", type_=Instant()))
)
_STATUS = Statement(
    sa.update(_w)
    .where(_w.c.id == P_WORKER, access.within_tenant(_w))
    .values(status=sa.bindparam("p_status"), updated_at=P_NOW)
    .returning(_w)
)
# Another replica that holds the row is weakening it, or it speaks. Each takes several in one transaction, so
# that waiting could be waiting in a circle.
_FREE = Statement(
    sa.select(_w).where(_w.c.id == P_WORKER, access.within_tenant(_w)).with_for_update(skip_locked=True)
)
_SILENT = Statement(
    sa.select(_w.c.id, _w.c.tenant_id, _w.c.last_seen_at, _w.c.heartbeat_interval_seconds)
    .where(_w.c.status != "offline", _w.c.last_seen_at < sa.bindparam("p_before", type_=Instant()))
    .order_by(_w.c.last_seen_at)
    .limit(sa.literal_column("500"))
)


async def heartbeat(tx: Tx, command: WorkerHeartbeat) -> Heard:
    """Say how a worker is doing; the answer has what it is to be told, until it acknowledges.

    Without a status it stays as it is, but a lost one is online again. The leases of the tasks that it lists
    are renewed. Where it lists none, tasks that it claimed before its last heartbeat and never started go
    back to the queue. Repeating it changes nothing more.

    Raises:
        NotFound: no such worker.
        Forbidden: it is not the caller.
        InvalidTransition: the status cannot follow the present one.
    """
    row = await own_row(tx, command.worker_id)
    present = WorkerStatus(row.status)
    status = command.status or (S.ONLINE if present in LOST else present)
    if status is not present and status not in MOVES[present]:
        raise InvalidTransition(
            f"a worker that is {present} does not turn {status}",
            details={"from": present.value, "to": status.value},
        )
    tasks = row.current_tasks if command.current_tasks is None else [str(id) for id in command.current_tasks]
    if command.current_tasks is not None:
        await _reckon(tx, row, frozenset(command.current_tasks))
    changed = await tx.one(
        _BEAT,
        p_worker_id=row.id,
        p_status=status.value,
        p_tasks=tasks,
        p_metrics=row.metrics if command.metrics is None else dict(command.metrics),
        p_now=tx.now,
    )
    if changed is None:
        raise NotFound("no such worker")
    worker = Worker.of(changed)
    if status is not present and status in (S.DISCONNECTED, S.OFFLINE):
        told(tx, worker, f"worker.{status}")
    return Heard(worker, await pending_signals(tx, WorkerId(row.id)))


async def _reckon(tx: Tx, row: Row, listed: frozenset[UUID]) -> None:
    for held in await tx.all(_HELD, p_worker_id=row.id, p_now=tx.now):
        if held.id in listed:
            until = tx.now + timedelta(seconds=held.seconds)
            tx.add(_RENEW, p_task_id=held.id, p_lease_id=held.lease_id, p_now=tx.now, p_until=until)
        elif not listed and held.state == TaskState.CLAIMED and _is_older(held, row):
            moved = await move(
                tx,
                Move.EXPIRE,
                held.id,
                who=Who.SYSTEM,
                lease_id=held.lease_id,
                said={"reason": "worker_idle"},
                sets={"ready_at": tx.now},
            )
            await release(tx, moved.row)


def _is_older(held: Row, row: Row) -> bool:
    return row.last_heartbeat_at is not None and held.status_at < row.last_heartbeat_at


@dataclass(frozen=True)
class SilentWorker:
    """A worker that was not heard of for an interval, of some tenant."""

    tenant_id: UUID
    worker_id: UUID


async def silent_workers(tx: Tx, _: None) -> Sequence[SilentWorker]:
    """Workers whose silence means something, of every tenant."""
    rows = await tx.all(_SILENT, p_before=tx.now - SHORTEST)
    return [
        SilentWorker(row.tenant_id, row.id)
        for row in rows
        if tx.now - row.last_seen_at > timedelta(seconds=row.heartbeat_interval_seconds)
    ]


async def weaken(tx: Tx, command: SilentWorker) -> None:
    """Let a silent worker degrade, disconnect and be lost, as far as its silence reaches.

    Its tasks go the way of every lease that is not renewed.
    """
    row = await tx.one(_FREE, p_worker_id=command.worker_id)
    if row is None:
        return
    silent, interval = tx.now - row.last_seen_at, timedelta(seconds=row.heartbeat_interval_seconds)
    present = WorkerStatus(row.status)
    if silent > 2 * interval + LOST_AFTER:
        target = S.OFFLINE
    elif silent > 2 * interval:
        target = S.DISCONNECTED
    elif silent > interval:
        target = S.DEGRADED
    else:
        return
    if target not in MOVES[present]:
        return
    changed = await tx.one(_STATUS, p_worker_id=row.id, p_status=target.value, p_now=tx.now)
    if changed is not None and target is not S.DEGRADED:
        told(tx, Worker.of(changed), f"worker.{target}")
