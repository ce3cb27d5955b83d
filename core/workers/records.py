"""A worker as data: its row, its states, and where it is found.

A worker is a principal of the same id; its key acts for itself and for the agents that it registered. As with
agents, no status decides who may write: the lease does. A draining worker is given nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Forbidden, NotFound
from core.store.statement import Row, Statement
from core.store.tables import workers as t
from core.store.tx import Tx
from core.store.types import Id
from schemas.vocabulary import WorkerStatus

S = WorkerStatus
MOVES: Final[Mapping[WorkerStatus, frozenset[WorkerStatus]]] = {
    S.ONLINE: frozenset({S.BUSY, S.DRAINING, S.DEGRADED, S.DISCONNECTED, S.OFFLINE}),
    S.BUSY: frozenset({S.ONLINE, S.DRAINING, S.DEGRADED, S.DISCONNECTED, S.OFFLINE}),
    S.DRAINING: frozenset({S.BUSY, S.DISCONNECTED, S.OFFLINE}),
    S.DEGRADED: frozenset({S.ONLINE, S.BUSY, S.DISCONNECTED, S.OFFLINE}),
    S.DISCONNECTED: frozenset({S.ONLINE, S.OFFLINE}),
    S.OFFLINE: frozenset({S.ONLINE}),
}
"""What a worker may turn into. Staying as it is is no move."""


@dataclass(frozen=True)
class Worker:
    """A worker as its operator sees it."""

    id: UUID
    tenant_id: UUID
    name: str
    runtime_type: str
    connection_mode: str
    routing_tags: Sequence[str]
    host_info: Mapping[str, Any]
    status: WorkerStatus
    heartbeat_interval_seconds: int
    current_tasks: Sequence[str]
    metrics: Mapping[str, Any]
    metadata: Mapping[str, Any]
    last_seen_at: datetime
    last_heartbeat_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Worker":
        """The value of a `worker` row."""
        return cls(
            row.id,
            row.tenant_id,
            row.name,
            row.runtime_type,
            row.connection_mode,
            row.routing_tags,
            row.host_info,
            WorkerStatus(row.status),
            row.heartbeat_interval_seconds,
            row.current_tasks,
            row.metrics,
            row.attributes,
            row.last_seen_at,
            row.last_heartbeat_at,
            row.created_at,
            row.updated_at,
        )


@dataclass(frozen=True)
class WorkerId:
    """Which worker."""

    worker_id: UUID


P_WORKER: Final = sa.bindparam("p_worker_id", type_=Id())
_w = t.worker
_MINE = sa.select(_w).where(_w.c.id == P_WORKER, access.within_tenant(_w))
_ONE = Statement(_MINE)
_LOCKED = Statement(_MINE.with_for_update())
_DRAINING = Statement(
    sa.select(_w.c.id).where(_w.c.id == P_WORKER, _w.c.status == sa.literal_column("'draining'"))
)


async def row_of(tx: Tx, worker_id: UUID, *, locked: bool = False) -> Row:
    """The row of one worker of the tenant.

    Raises:
        NotFound: no such worker.
    """
    row = await tx.one(_LOCKED if locked else _ONE, p_worker_id=worker_id)
    if row is None:
        raise NotFound("no such worker")
    return row


async def own_row(tx: Tx, worker_id: UUID) -> Row:
    """The locked row of the caller, or of any worker for an operator.

    Raises:
        NotFound: no such worker.
        Forbidden: it is not the caller.
    """
    row = await row_of(tx, worker_id, locked=True)
    if tx.caller.principal_id != row.id and not tx.caller.operator:
        raise Forbidden("this worker is not you")
    return row


async def is_draining(tx: Tx, worker_id: UUID) -> bool:
    """Whether a worker claims nothing more. One that never registered does not drain."""
    return await tx.one(_DRAINING, p_worker_id=worker_id) is not None


def told(tx: Tx, worker: Worker, kind: str) -> None:
    """Say in the log what became of a worker."""
    data = {"worker_id": str(worker.id), "name": worker.name, "status": worker.status.value}
    tx.event(kind, entity_type="worker", entity_id=worker.id, data=data)
