"""Schedules: something is started at times, or once later. `core/jobs/schedules.py` runs them.

Only operators make and see them; what they start is started in the name of whoever made them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access, cron
from core.errors import Conflict, Invalid
from core.schedule_records import DUE, P_SCHEDULE, OneSchedule, Run, Schedule, schedule_row, tell
from core.store.statement import Statement
from core.store.tables.triggers import schedule, schedule_run
from core.store.tx import Tx
from core.tasks.read import Page
from schemas.occasions import MissedRuns, Overlap
from schemas.starting import check_paths

MOST: Final = 200
"""Schedules of a tenant."""
ROOTS: Final = frozenset({"schedule", "run"})
"""What the templates of a schedule begin with."""


@dataclass(frozen=True)
class CreateSchedule:
    """By a cron expression, or once at a moment."""

    name: str
    action: Mapping[str, Any]
    cron: str | None = None
    start_at: datetime | None = None
    delay_seconds: int | None = None
    """Once, so long from now."""
    timezone: str = "UTC"
    description: str | None = None
    missed: MissedRuns = MissedRuns.LATEST
    overlap: Overlap = Overlap.ALLOW
    is_active: bool = True


@dataclass(frozen=True)
class ChangeSchedule:
    """What changes, by column."""

    schedule_id: UUID
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class ListSchedules:
    """A page of the tenant's schedules."""

    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class ListRuns:
    """What became of a schedule's times, newest first."""

    schedule_id: UUID
    page: int = 1
    per_page: int = 20


_s, _r = schedule.c, schedule_run.c
_INSERT = Statement(sa.insert(schedule))
_COUNT = Statement(sa.select(sa.func.count().label("n")).where(access.within_tenant(schedule)))
_DELETE = Statement(sa.delete(schedule).where(_s.id == P_SCHEDULE, access.within_tenant(schedule)))
_DELETE_RUNS = Statement(
    sa.delete(schedule_run).where(_r.schedule_id == P_SCHEDULE, access.within_tenant(schedule_run))
)


async def create_schedule(tx: Tx, command: CreateSchedule) -> Schedule:
    """Make a schedule. What was due before it was made was never due.

    Raises:
        Invalid: the expression, the time zone or a template cannot be read.
        Conflict: the tenant has as many as it may.
    """
    count = await tx.one(_COUNT)
    if count is not None and count.n >= MOST:
        raise Conflict(f"a tenant has at most {MOST} schedules")
    _check_action(command.action)
    row_id, start_at = tx.new_id(), command.start_at
    if command.delay_seconds is not None:
        start_at = tx.now + timedelta(seconds=command.delay_seconds)
    columns = {
        "name": command.name,
        "description": command.description,
        "cron": command.cron,
        "start_at": start_at,
        "timezone": command.timezone,
        "action": dict(command.action),
        "missed": command.missed.value,
        "overlap": command.overlap.value,
        "is_active": command.is_active,
        "next_at": _next(tx, command.cron, start_at, command.timezone),
    }
    tx.add(
        _INSERT,
        id=row_id,
        tenant_id=tx.caller.tenant_id,
        **columns,
        created_by=tx.caller.principal_id,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await tx.flush()
    row = await schedule_row(tx, row_id)
    tell(tx, "schedule.created", row, {"cron": row.cron, "timezone": row.timezone})
    tx.wake(DUE)
    return Schedule.of(row)


async def get_schedule(tx: Tx, query: OneSchedule) -> Schedule:
    """One schedule.

    Raises:
        NotFound: no such schedule.
    """
    return Schedule.of(await schedule_row(tx, query.schedule_id))


async def list_schedules(tx: Tx, query: ListSchedules) -> Page[Schedule]:
    """The tenant's schedules, newest first."""
    found = (
        sa.select(*_s)
        .where(access.within_tenant(schedule))
        .order_by(_s.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    count = await tx.one(_COUNT)
    return Page([Schedule.of(row) for row in await tx.all(found)], 0 if count is None else count.n)


async def change_schedule(tx: Tx, command: ChangeSchedule) -> Schedule:
    """Change some of it. Another expression, zone or moment, or going on after a pause, begins anew: what was
    due meanwhile was not missed, but for one that is due once and has not run.

    Raises:
        NotFound: no such schedule.
        Invalid: as `create_schedule`; or it would have both an expression and a moment, or neither.
    """
    row = await schedule_row(tx, command.schedule_id, locked=True)
    changes = dict(command.changes)
    if "action" in changes:
        _check_action(changes["action"])
    after = {name: changes.get(name, getattr(row, name)) for name in ("cron", "start_at", "timezone")}
    if (after["cron"] is None) == (after["start_at"] is None):
        raise Invalid("a schedule has either cron or start_at", details={"field": "cron"})
    moved = any(after[name] != getattr(row, name) for name in after)
    resumed = bool(changes.get("is_active")) and not row.is_active and after["cron"] is not None
    if moved or resumed:
        changes["next_at"] = _next(tx, after["cron"], after["start_at"], after["timezone"])
    update = sa.update(schedule).where(_s.id == row.id, access.within_tenant(schedule))
    changed = await tx.one(update.values(**changes, updated_at=tx.now).returning(*_s))
    assert changed is not None, "it is locked"
    tell(tx, "schedule.updated", changed, {"changed": sorted(changes)})
    tx.wake(DUE)
    return Schedule.of(changed)


async def delete_schedule(tx: Tx, command: OneSchedule) -> None:
    """Remove a schedule and the record of its runs. What it started goes on.

    Raises:
        NotFound: no such schedule.
    """
    row = await schedule_row(tx, command.schedule_id, locked=True)
    await tx.run(_DELETE_RUNS, p_schedule_id=row.id)
    await tx.run(_DELETE, p_schedule_id=row.id)
    tell(tx, "schedule.deleted", row, {})


async def list_runs(tx: Tx, query: ListRuns) -> Page[Run]:
    """What became of its times, newest first. Kept for 30 days.

    Raises:
        NotFound: no such schedule.
    """
    await schedule_row(tx, query.schedule_id)
    mine = sa.and_(_r.schedule_id == query.schedule_id, access.within_tenant(schedule_run))
    count = await tx.one(sa.select(sa.func.count().label("n")).select_from(schedule_run).where(mine))
    rows: Sequence[Any] = await tx.all(
        sa.select(*_r)
        .where(mine)
        .order_by(_r.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Run.of(row) for row in rows], 0 if count is None else count.n)


def _next(tx: Tx, expression: str | None, start_at: datetime | None, timezone: str) -> datetime | None:
    try:
        cron.zone_of(timezone)
        return start_at if expression is None else cron.check(expression, timezone, tx.now)
    except cron.BadSchedule as error:
        field = "timezone" if "time zone" in str(error) else "cron"
        raise Invalid(str(error), details={"field": field}) from error


def _check_action(action: Mapping[str, Any]) -> None:
    try:
        check_paths(action, ROOTS)
    except ValueError as error:
        raise Invalid(str(error), details={"field": "task" if "task" in action else "workflow"}) from error
