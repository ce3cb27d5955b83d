"""A schedule and its runs as values, and the statements that both of its sides use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.store.statement import Row, Statement
from core.store.tables.triggers import schedule, schedule_run
from core.store.tx import Tx
from core.store.types import Id
from schemas.occasions import MissedRuns, Overlap, RunStatus

DUE = "schedules"
"""The topic that is woken when a schedule may be due."""
P_SCHEDULE = sa.bindparam("p_schedule_id", type_=Id())


@dataclass(frozen=True)
class Schedule:
    """A schedule as operators see it."""

    id: UUID
    name: str
    description: str | None
    cron: str | None
    start_at: datetime | None
    timezone: str
    action: Mapping[str, Any]
    missed: MissedRuns
    overlap: Overlap
    is_active: bool
    next_at: datetime | None
    created_by: UUID
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "Schedule":
        """From its row."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**values, "missed": MissedRuns(row.missed), "overlap": Overlap(row.overlap)})


@dataclass(frozen=True)
class Run:
    """One time at which it was due, or was told to run."""

    id: UUID
    schedule_id: UUID
    due_at: datetime | None
    status: RunStatus
    reason: str | None
    error: Mapping[str, Any] | None
    task_id: UUID | None
    workflow_id: UUID | None
    created_at: datetime
    started_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Run":
        """From its row."""
        values = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        return cls(**{**values, "status": RunStatus(row.status)})


@dataclass(frozen=True)
class OneSchedule:
    """A schedule by its id."""

    schedule_id: UUID


_ONE = Statement(sa.select(*schedule.c).where(schedule.c.id == P_SCHEDULE, access.within_tenant(schedule)))
_LOCKED = Statement(
    sa.select(*schedule.c)
    .where(schedule.c.id == P_SCHEDULE, access.within_tenant(schedule))
    .with_for_update()
)
# For the clockwork: what another replica holds, it is doing. Each takes several schedules at once, so
# that waiting could be waiting in a circle.
FREE = Statement(
    sa.select(*schedule.c)
    .where(schedule.c.id == P_SCHEDULE, access.within_tenant(schedule))
    .with_for_update(skip_locked=True)
)
INSERT_RUN = Statement(sa.insert(schedule_run))


async def schedule_row(tx: Tx, schedule_id: UUID, *, locked: bool = False) -> Row:
    """The row of a schedule of the tenant.

    Raises:
        NotFound: there is none.
    """
    row = await tx.one(_LOCKED if locked else _ONE, p_schedule_id=schedule_id)
    if row is None:
        raise NotFound("no such schedule")
    return row


def tell(tx: Tx, kind: str, row: Row, data: Mapping[str, Any]) -> None:
    """Write an event of a schedule."""
    tx.event(kind, entity_type="schedule", entity_id=row.id, data={"name": row.name, **data})
