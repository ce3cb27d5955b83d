"""Metering: what tasks used, as whoever runs them measured it. Rows are added and read, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.fencing import P_TASK
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import records
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.tasks.read import COUNTED, Page

AMOUNTS: Final = (
    "tokens_input", "tokens_output", "cost_usd", "wall_time_ms", "cpu_ms", "memory_peak_bytes",
    "network_bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Meter:
    """What a task used, beyond what was said before."""

    task_id: UUID
    worker_id: UUID | None = None
    agent_id: UUID | None = None
    tokens_input: int = 0
    tokens_output: int = 0
    cost_usd: float = 0.0
    wall_time_ms: int = 0
    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    network_bytes: int = 0


@dataclass(frozen=True)
class Metered:
    """One measurement."""

    id: UUID
    task_id: UUID
    workflow_id: UUID | None
    worker_id: UUID | None
    agent_id: UUID | None
    tokens_input: int
    tokens_output: int
    cost_usd: float
    wall_time_ms: int
    cpu_ms: int
    memory_peak_bytes: int
    network_bytes: int
    created_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Metered":
        """The value of a row."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class MeterFilter:
    """Which measurements. None means any."""

    task_id: UUID | None = None
    workflow_id: UUID | None = None
    worker_id: UUID | None = None
    agent_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    page: int = 1
    per_page: int = 20

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        """As SQL, within the caller's tenant."""
        found = [access.within_tenant(records.metering_event)]
        for name in ("task_id", "workflow_id", "worker_id", "agent_id"):
            value = getattr(self, name)
            if value is not None:
                found.append(_m[name] == sa.literal(value, Id()))
        if self.since is not None:
            found.append(_m.created_at >= sa.literal(self.since, Instant()))
        if self.until is not None:
            found.append(_m.created_at <= sa.literal(self.until, Instant()))
        return found


@dataclass(frozen=True)
class MeterSummary:
    """What measurements come to; of the memory, the highest peak."""

    events: int
    tokens_input: int
    tokens_output: int
    cost_usd: float
    wall_time_ms: int
    cpu_ms: int
    memory_peak_bytes: int
    network_bytes: int


_m = records.metering_event.c
_TASK = Statement(
    sa.select(t.task.c.id, t.task.c.workflow_id, t.task.c.agent_id, t.task.c.worker_id).where(
        t.task.c.id == P_TASK, access.readable()
    )
)
_INSERT = Statement(sa.insert(records.metering_event).returning(*_m))
_OF_WORKFLOW = Statement(
    sa.select(
        _m.task_id,
        sa.func.sum(_m.tokens_input + _m.tokens_output).label("tokens"),
        sa.func.sum(_m.cost_usd).label("cost"),
    )
    .where(_m.workflow_id == sa.bindparam("p_workflow_id", type_=Id()))
    .group_by(_m.task_id)
)


async def meter(tx: Tx, command: Meter) -> Metered:
    """Write down what a task used. Its workflow's budget counts it.

    Raises:
        NotFound: no such task, or not yours to see.
    """
    task = await tx.one(_TASK, p_task_id=command.task_id)
    if task is None:
        raise NotFound("no such task")
    values: dict[str, Any] = {name: getattr(command, name) for name in AMOUNTS}
    row = await tx.one(
        _INSERT,
        id=tx.new_id(),
        tenant_id=tx.caller.tenant_id,
        task_id=task.id,
        workflow_id=task.workflow_id,
        worker_id=command.worker_id or task.worker_id,
        agent_id=command.agent_id or task.agent_id,
        created_at=tx.now,
        **values,
    )
    assert row is not None, "an insert returns its row"
    return Metered.of(row)


async def list_metered(tx: Tx, query: MeterFilter) -> Page[Metered]:
    """A page of the tenant's measurements, newest first. The total is counted up to `COUNTED`."""
    some = sa.select(_m.id).where(*query.clauses()).limit(COUNTED).subquery()
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(some))
    rows = await tx.all(
        sa.select(*_m)
        .where(*query.clauses())
        .order_by(_m.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Metered.of(row) for row in rows], 0 if total is None else total.n)


async def summarise(tx: Tx, query: MeterFilter) -> MeterSummary:
    """What the tenant's measurements come to."""
    sums = [
        sa.func.coalesce((sa.func.max if name == "memory_peak_bytes" else sa.func.sum)(_m[name]), 0).label(
            name
        )
        for name in AMOUNTS
    ]
    row = await tx.one(sa.select(sa.func.count().label("events"), *sums).where(*query.clauses()))
    assert row is not None, "an aggregate has a row"
    amounts = {name: (float if name == "cost_usd" else int)(getattr(row, name)) for name in AMOUNTS}
    return MeterSummary(int(row.events), **amounts)  # type: ignore[arg-type]  # by name


async def metered_of(tx: Tx, workflow_id: UUID) -> Sequence[tuple[UUID, int, float]]:
    """Tokens and cost of each metered task of a workflow."""
    rows = await tx.all(_OF_WORKFLOW, p_workflow_id=workflow_id)
    return [(row.task_id, int(row.tokens), float(row.cost)) for row in rows]
