"""Schedules that are due: each time is taken once, over all replicas and crashes.

A step takes one time: under the lock of the schedule it notes the run, starts what is declared and moves the
schedule on, all in one transaction. Who comes second finds the schedule moved on; and the run's key, schedule
and time, is there once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import cron
from core.errors import HubError
from core.fencing import P_NOW
from core.schedule_records import DUE, FREE, INSERT_RUN, P_SCHEDULE, OneSchedule, Run, schedule_row, tell
from core.starting import Started, start
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tables.triggers import schedule, schedule_run
from core.store.tx import Tx
from core.transitions import FINAL
from core.workflows.standing import OVER
from schemas.occasions import MissedRuns, Overlap, RunStatus

BATCH: Final = 200
GRACE: Final = timedelta(seconds=60)
"""A run that is later than this was missed."""
MOST_QUEUED: Final = 100
"""Runs of one schedule that may wait for the one before them."""
KEPT: Final = timedelta(days=30)


@dataclass(frozen=True)
class DueSchedule:
    """A schedule whose time has come, and which time."""

    tenant_id: UUID
    schedule_id: UUID
    at: datetime


@dataclass(frozen=True)
class OneOfTenant:
    """A schedule of some tenant."""

    tenant_id: UUID
    schedule_id: UUID


@dataclass(frozen=True)
class Refused:
    """A step that could not be done, and why."""

    item: Any
    error: HubError


_s, _r = schedule.c, schedule_run.c
_LIMIT: sa.ColumnElement[int] = sa.literal_column(str(BATCH))
_DUE = Statement(
    sa.select(_s.tenant_id, _s.id, _s.next_at)
    .where(_s.is_active, _s.next_at.is_not(None), _s.next_at <= P_NOW)
    .order_by(_s.next_at)
    .limit(_LIMIT)
)
_OLDEST = Statement(
    sa.select(*_r)
    .where(_r.schedule_id == P_SCHEDULE, _r.status == sa.literal_column("'queued'"))
    .order_by(_r.id)
    .limit(sa.literal_column("1"))
)
_HOW_MANY = Statement(
    sa.select(sa.func.count().label("n")).where(
        _r.schedule_id == P_SCHEDULE, _r.status == sa.literal_column("'queued'")
    )
)
_MOVE_ON = Statement(
    sa.update(schedule)
    .where(_s.id == P_SCHEDULE)
    .values(next_at=sa.bindparam("p_next", type_=_s.next_at.type))
)
_OVER = ", ".join(f"'{state.value}'" for state in sorted(OVER))
_FINAL = ", ".join(str(int(state)) for state in sorted(FINAL))


def _goes_on_in(run: sa.FromClause) -> sa.ColumnElement[bool]:
    open_task = sa.literal_column(f"task.state NOT IN ({_FINAL})", sa.Boolean)
    open_workflow = sa.literal_column(f"workflow.state NOT IN ({_OVER})", sa.Boolean)
    return sa.or_(
        sa.exists().where(t.task.c.id == run.c.task_id, open_task),
        sa.exists().where(w.workflow.c.id == run.c.workflow_id, open_workflow),
    )


_before = schedule_run.alias("before")
_QUEUED = Statement(
    sa.select(_r.tenant_id, _r.schedule_id)
    .where(
        _r.status == sa.literal_column("'queued'"),
        ~sa.exists().where(_before.c.schedule_id == _r.schedule_id, _before.c.is_open, _goes_on_in(_before)),
    )
    .group_by(_r.tenant_id, _r.schedule_id)
    .limit(_LIMIT)
)
_SETTLE = Statement(
    sa.update(schedule_run)
    .where(_r.schedule_id == P_SCHEDULE, _r.is_open, sa.not_(_goes_on_in(schedule_run)))
    .values(is_open=sa.false())
)
_OPEN = Statement(
    sa.select(_r.id).where(_r.schedule_id == P_SCHEDULE, _r.is_open).limit(sa.literal_column("1"))
)
_FORGET = Statement(
    sa.delete(schedule_run).where(
        _r.created_at < sa.bindparam("p_before", type_=_r.created_at.type),
        _r.status != sa.literal_column("'queued'"),
        sa.not_(_r.is_open),
    )
)


async def due(tx: Tx, _: None) -> Sequence[DueSchedule]:
    """Schedules of every tenant whose time has come."""
    return [DueSchedule(r.tenant_id, r.id, r.next_at) for r in await tx.all(_DUE, p_now=tx.now)]


async def run_due(tx: Tx, item: DueSchedule) -> None:
    """Take the time that was found due. A schedule that was moved on, paused or removed is left alone.

    Raises:
        HubError: what is declared cannot be started; `note_failed` then takes the time.
    """
    row = await _still_due(tx, item)
    if row is None:
        return
    if tx.now - item.at > GRACE and row.missed != MissedRuns.CATCH_UP:
        upto = _to_make_up_for(row, item.at, tx.now)
        if upto is None or upto != item.at:
            _note(tx, row, item.at, RunStatus.SKIPPED, reason="missed")
            await _move_on(tx, row, upto)
            return
    await _run(tx, row, item.at)
    await _move_on(tx, row, _following(row, item.at))


async def note_failed(tx: Tx, refused: Refused) -> None:
    """Take the time of a run that could not be started, and say why."""
    row = await _still_due(tx, refused.item)
    if row is not None:
        _note(tx, row, refused.item.at, RunStatus.FAILED, error=refused.error)
        await _move_on(tx, row, _following(row, refused.item.at))


async def run_now(tx: Tx, command: OneSchedule) -> Run:
    """Run it now, as its overlap policy allows; its times stay as they are. A paused one runs, too.

    Raises:
        NotFound: no such schedule.
        HubError: what is declared cannot be started.
    """
    row = await schedule_row(tx, command.schedule_id, locked=True)
    return await _run(tx, row, None)


async def queued(tx: Tx, _: None) -> Sequence[OneOfTenant]:
    """Schedules of every tenant with runs that wait for one another."""
    return [OneOfTenant(r.tenant_id, r.schedule_id) for r in await tx.all(_QUEUED)]


async def run_queued(tx: Tx, item: OneOfTenant) -> None:
    """Start the oldest run that waits, once none goes on.

    Raises:
        HubError: what is declared cannot be started; `note_queued_failed` then ends it.
    """
    row = await _found(tx, item.schedule_id)
    if row is None or await _goes_on(tx, row.id):
        return
    waiting = await tx.one(_OLDEST, p_schedule_id=row.id)
    if waiting is None:
        return
    made = await start(
        tx, row.action, _values(row, waiting.id, waiting.due_at or waiting.created_at), row.created_by
    )
    await _begun(tx, row, waiting.id, made)
    tx.wake(DUE)


async def note_queued_failed(tx: Tx, refused: Refused) -> None:
    """End the oldest run that waits, since it cannot be started."""
    row = await _found(tx, refused.item.schedule_id)
    waiting = None if row is None else await tx.one(_OLDEST, p_schedule_id=row.id)
    if row is None or waiting is None:
        return
    error = error_of(refused.error)
    await tx.run(
        sa.update(schedule_run).where(_r.id == waiting.id).values(status=RunStatus.FAILED.value, error=error)
    )
    tell(tx, "schedule.run_failed", row, {"run_id": str(waiting.id), "error": error})


async def forget_runs(tx: Tx, _: None) -> None:
    """Drop the record of runs after 30 days."""
    tx.add(_FORGET, p_before=tx.now - KEPT)


async def _found(tx: Tx, schedule_id: UUID) -> Row | None:
    return await tx.one(FREE, p_schedule_id=schedule_id)


async def _still_due(tx: Tx, item: DueSchedule) -> Row | None:
    row = await _found(tx, item.schedule_id)
    return row if row is not None and row.is_active and row.next_at == item.at else None


def _to_make_up_for(row: Row, at: datetime, now: datetime) -> datetime | None:
    """The time to go on with, when `at` was missed; `at` itself where it is still to be run."""
    if row.cron is None:
        return at if row.missed == MissedRuns.LATEST else None
    if row.missed == MissedRuns.LATEST:
        return max(at, cron.latest(row.cron, row.timezone, now))
    return cron.after(row.cron, row.timezone, now - GRACE)


def _following(row: Row, at: datetime) -> datetime | None:
    return None if row.cron is None else cron.after(row.cron, row.timezone, at)


async def _move_on(tx: Tx, row: Row, upto: datetime | None) -> None:
    await tx.run(_MOVE_ON, p_schedule_id=row.id, p_next=upto)
    if upto is not None and upto <= tx.now:
        tx.wake(DUE)


async def _run(tx: Tx, row: Row, at: datetime | None) -> Run:
    if row.overlap != Overlap.ALLOW and await _goes_on(tx, row.id):
        if row.overlap == Overlap.SKIP:
            return _note(tx, row, at, RunStatus.SKIPPED, reason="overlap")
        many = await tx.one(_HOW_MANY, p_schedule_id=row.id)
        if many is not None and many.n >= MOST_QUEUED:
            return _note(tx, row, at, RunStatus.SKIPPED, reason="queue_full")
        return _note(tx, row, at, RunStatus.QUEUED, reason="overlap")
    run_id = tx.new_id()
    made = await start(tx, row.action, _values(row, run_id, at or tx.now), row.created_by)
    return _note(tx, row, at, RunStatus.STARTED, run_id=run_id, made=made)


async def _goes_on(tx: Tx, schedule_id: UUID) -> bool:
    await tx.run(_SETTLE, p_schedule_id=schedule_id)
    return await tx.one(_OPEN, p_schedule_id=schedule_id) is not None


def _values(row: Row, run_id: UUID, at: datetime) -> Mapping[str, Any]:
    local = at.astimezone(cron.zone_of(row.timezone))
    return {
        "schedule": {"id": str(row.id), "name": row.name},
        "run": {"id": str(run_id), "due_at": local.isoformat(), "date": local.date().isoformat()},
    }


def _note(
    tx: Tx,
    row: Row,
    at: datetime | None,
    status: RunStatus,
    *,
    reason: str | None = None,
    error: HubError | None = None,
    run_id: UUID | None = None,
    made: Started | None = None,
) -> Run:
    made = made or Started()
    begun = status is RunStatus.STARTED
    run = Run(
        id=run_id or tx.new_id(),
        schedule_id=row.id,
        due_at=at,
        status=status,
        reason=reason,
        error=None if error is None else error_of(error),
        task_id=made.task_id,
        workflow_id=made.workflow_id,
        created_at=tx.now,
        started_at=tx.now if begun else None,
    )
    watched = begun and row.overlap != Overlap.ALLOW
    tx.add(INSERT_RUN, **{**vars(run), "status": status.value}, tenant_id=row.tenant_id, is_open=watched)
    said = {
        "run_id": str(run.id),
        "due_at": None if at is None else at.isoformat(),
        "reason": reason,
        "error": run.error,
        "task_id": made.task_id and str(made.task_id),
        "workflow_id": made.workflow_id and str(made.workflow_id),
    }
    tell(tx, f"schedule.run_{status.value}", row, {k: v for k, v in said.items() if v is not None})
    return run


async def _begun(tx: Tx, row: Row, run_id: UUID, made: Started) -> None:
    await tx.run(
        sa.update(schedule_run)
        .where(_r.id == run_id)
        .values(
            status=RunStatus.STARTED.value,
            task_id=made.task_id,
            workflow_id=made.workflow_id,
            started_at=tx.now,
            is_open=row.overlap != Overlap.ALLOW,
        )
    )
    said = {"run_id": str(run_id), "task_id": made.task_id and str(made.task_id)}
    tell(tx, "schedule.run_started", row, said)


def error_of(error: HubError) -> dict[str, Any]:
    """A refusal as it is kept and told."""
    return {"code": error.code.value, "message": error.message, "details": dict(error.details or {})}
