"""What a worker is told, until it says that it heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.fencing import P_NOW
from core.store.statement import Row, Statement
from core.store.tables import workers as t
from core.store.tx import Tx
from core.store.types import Id
from core.workers.records import MOVES, P_WORKER, WorkerId, own_row, row_of
from schemas.vocabulary import WorkerSignalType, WorkerStatus

MOST: Final = 100
"""That wait for one worker at a time."""


@dataclass(frozen=True)
class Signal:
    """What a worker is told."""

    id: UUID
    type: WorkerSignalType
    task_id: UUID | None
    data: Mapping[str, Any]
    issued_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Signal":
        """The value of a `worker_signal` row."""
        return cls(row.id, WorkerSignalType(row.type), row.task_id, row.data, row.issued_at)


@dataclass(frozen=True)
class SendSignal:
    """Tell a worker something."""

    worker_id: UUID
    type: WorkerSignalType
    task_id: UUID | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AckSignal:
    """A worker has heard."""

    worker_id: UUID
    signal_id: UUID


_w, _s = t.worker, t.worker_signal
_SIGNAL = Statement(sa.insert(_s))
_OPEN = Statement(
    sa.select(_s)
    .where(_s.c.worker_id == P_WORKER, _s.c.acked_at.is_(None), access.within_tenant(_s))
    .order_by(_s.c.id)
    .limit(MOST)
)
_ACK = Statement(
    sa.update(_s)
    .where(
        _s.c.id == sa.bindparam("p_id", type_=Id()),
        _s.c.worker_id == P_WORKER,
        access.within_tenant(_s),
    )
    .values(acked_at=sa.func.coalesce(_s.c.acked_at, P_NOW))
)
_STATUS = Statement(
    sa.update(_w).where(_w.c.id == P_WORKER).values(status=sa.bindparam("p_status"), updated_at=P_NOW)
)


async def pending_signals(tx: Tx, query: WorkerId) -> Sequence[Signal]:
    """What the worker has not acknowledged, oldest first."""
    return [Signal.of(row) for row in await tx.all(_OPEN, p_worker_id=query.worker_id)]


async def send_signal(tx: Tx, command: SendSignal) -> Signal:
    """Tell a worker something; it hears of it with its next heartbeat. Draining begins at once.

    Raises:
        NotFound: no such worker.
        Conflict: too much waits for it already.
    """
    row = await row_of(tx, command.worker_id, locked=True)
    if len(await pending_signals(tx, WorkerId(row.id))) >= MOST:
        raise Conflict("the worker has not heard of what it was told", details={"waiting": MOST})
    signal = Signal(tx.new_id(), command.type, command.task_id, dict(command.data), tx.now)
    await tx.run(
        _SIGNAL,
        id=signal.id,
        tenant_id=row.tenant_id,
        worker_id=row.id,
        type=signal.type.value,
        task_id=signal.task_id,
        data=signal.data,
        issued_by=tx.caller.principal_id,
        issued_at=tx.now,
        acked_at=None,
    )
    drains = WorkerStatus.DRAINING in MOVES[WorkerStatus(row.status)]
    if command.type is WorkerSignalType.SET_DRAINING and drains:
        await tx.run(_STATUS, p_worker_id=row.id, p_status=WorkerStatus.DRAINING.value, p_now=tx.now)
    data = {"signal_id": str(signal.id), "type": signal.type.value, "name": row.name}
    if signal.task_id is not None:
        data["task_id"] = str(signal.task_id)
    tx.event("worker.signaled", entity_type="worker", entity_id=row.id, data=data)
    tx.wake(f"worker:{row.id}")
    return signal


async def ack_signal(tx: Tx, command: AckSignal) -> None:
    """Say that a signal was heard. Once more is no error.

    Raises:
        NotFound: no such worker, or no such signal of it.
        Forbidden: the worker is not the caller.
    """
    row = await own_row(tx, command.worker_id)
    if not await tx.run(_ACK, p_id=command.signal_id, p_worker_id=row.id, p_now=tx.now):
        raise NotFound("no such signal")
