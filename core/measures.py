"""How much there is of what: what operators watch, over all tenants and never by one.

It costs what is open, not what has ended: finished tasks and settled deliveries are not counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Statement
from core.store.tables.triggers import schedule_run, trigger_start
from core.store.tx import Tx
from core.transitions import FINAL
from schemas.vocabulary import TaskState


@dataclass(frozen=True)
class Measures:
    """What was counted at one moment."""

    tasks: Mapping[TaskState, int]
    """Tasks that are not final, by state."""
    leases: int
    approvals: int
    log_position: int
    lags: Mapping[str, int]
    """How far each reader of the log is behind."""
    deliveries: Mapping[str, int]
    """Notifications that are not settled, by channel."""
    occasions: int
    """Runs and starts that wait for their turn."""


_OPEN = ", ".join(str(int(state)) for state in TaskState if state not in FINAL)
_TASKS = Statement(
    sa.select(t.task.c.state, sa.func.count().label("n"))
    .where(
        t.task.c.tenant_id.in_(sa.select(t.tenant.c.id)),
        sa.literal_column(f"task.state IN ({_OPEN})", sa.Boolean),
    )
    .group_by(t.task.c.state)
)


def _count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(table).where(*conditions).scalar_subquery()


_QUEUED: sa.ColumnElement[str] = sa.literal_column("'queued'")
_COUNTS = Statement(
    sa.select(
        _count(t.lease).label("leases"),
        _count(t.approval, t.approval.c.status == sa.literal_column("'pending'")).label("approvals"),
        sa.select(sa.func.coalesce(sa.func.max(t.event.c.pos), 0)).scalar_subquery().label("head"),
        _count(schedule_run, schedule_run.c.status == _QUEUED).label("runs"),
        _count(trigger_start, trigger_start.c.status == _QUEUED).label("starts"),
    )
)
_CONSUMERS = Statement(sa.select(t.consumer.c.name, t.consumer.c.pos).where(t.consumer.c.pos > 0))
_DELIVERIES = Statement(
    sa.select(t.delivery.c.channel, sa.func.count().label("n"))
    .where(t.delivery.c.settled_at.is_(None))
    .group_by(t.delivery.c.channel)
)


async def measure(tx: Tx, _: None) -> Measures:
    """Count what is open now."""
    counts = await tx.one(_COUNTS)
    assert counts is not None, "it selects plain values"
    return Measures(
        tasks={TaskState(row.state): row.n for row in await tx.all(_TASKS)},
        leases=counts.leases,
        approvals=counts.approvals,
        log_position=counts.head,
        lags={row.name: max(0, counts.head - row.pos) for row in await tx.all(_CONSUMERS)},
        deliveries={row.channel: row.n for row in await tx.all(_DELIVERIES)},
        occasions=counts.runs + counts.starts,
    )
