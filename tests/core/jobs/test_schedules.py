"""A schedule starts what it declares at each of its times once, whatever happens to the hub."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from core import cron, schedules
from core.errors import Conflict, Invalid, NotFound
from core.jobs.runner import SWEEPS, Clockwork
from core.jobs.schedules import forget_runs, run_now
from core.platform import Platform
from core.schedule_records import OneSchedule, Run, Schedule
from core.store import open_store
from core.store import tables as t
from core.store.tx import Tx
from schemas.occasions import MissedRuns, Overlap, RunStatus
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock

TASK: Mapping[str, Any] = {"task": {"title": "report of {{ run.date }}", "input": {"at": "{{ run.due_at }}"}}}
BERLIN = "Europe/Berlin"


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant; it is noon, on a Wednesday."""
    return Stage(platform, clock)


async def scheduled(stage: Stage, expression: str | None = "*/5 * * * *", **more: Any) -> Schedule:
    command = schedules.CreateSchedule("nightly", more.pop("action", TASK), expression, **more)
    return await stage.platform.write(stage.admin, schedules.create_schedule, command)


async def runs(stage: Stage, schedule: Schedule) -> Sequence[Run]:
    """Oldest first."""
    query = schedules.ListRuns(schedule.id, per_page=100)
    return (await stage.platform.read(stage.admin, schedules.list_runs, query)).items[::-1]


async def change(stage: Stage, schedule: Schedule, **changes: Any) -> Schedule:
    command = schedules.ChangeSchedule(schedule.id, tuple(changes.items()))
    return await stage.platform.write(stage.admin, schedules.change_schedule, command)


async def titles(tx: Tx, _: None) -> list[str]:
    return [row.title for row in await tx.all(sa.select(t.task.c.title).order_by(t.task.c.id))]


def at(hour: int, minute: int = 0, day: int = 25) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


async def test_each_time_starts_a_task_in_its_makers_name(stage: Stage) -> None:
    schedule = await scheduled(stage, timezone=BERLIN)
    assert schedule.next_at == at(12, 5)
    await stage.later(299)
    assert await runs(stage, schedule) == []
    await stage.later(1)
    await stage.later(300)
    first, second = await runs(stage, schedule)
    assert (first.due_at, second.due_at) == (at(12, 5), at(12, 10))
    assert first.task_id is not None
    task = await stage.get(first.task_id)
    assert (task.title, task.input) == ("report of 2026-11-25", {"at": "2026-11-25T13:05:00+01:00"})
    assert task.origin.principal_id == stage.admin.principal_id


async def test_a_delayed_start_happens_once(stage: Stage) -> None:
    schedule = await scheduled(stage, None, delay_seconds=90)
    for _ in range(3):
        await stage.later(60)
    assert [run.status for run in await runs(stage, schedule)] == [RunStatus.STARTED]
    query = OneSchedule(schedule.id)
    assert (await stage.platform.read(stage.admin, schedules.get_schedule, query)).next_at is None


async def test_replicas_that_look_at_once_take_each_time_once(
    stage: Stage, database_url: str, clock: FakeClock
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves one SQLite file")
    other = Platform(open_store(database_url, clock=clock))
    await other.start()
    try:
        made = [await scheduled(stage) for _ in range(10)]
        clock.advance(300)
        sweep = next(sweep for sweep in SWEEPS if sweep.name == "schedules")
        looks = (Clockwork(p).sweep(sweep) for p in (stage.platform, other, stage.platform, other))
        await asyncio.gather(*looks)
        for schedule in made:
            assert len(await runs(stage, schedule)) == 1
        assert len(await stage.platform.read(stage.admin, titles, None)) == 10
    finally:
        await other.stop()


@pytest.mark.parametrize(
    ("missed", "started"),
    [
        (MissedRuns.SKIP, [at(15)]),
        (MissedRuns.LATEST, [at(14), at(15)]),
        (MissedRuns.CATCH_UP, [at(13), at(14), at(15)]),
    ],
)
async def test_times_that_passed_while_no_hub_ran_are_treated_as_declared(
    stage: Stage, missed: MissedRuns, started: list[datetime]
) -> None:
    schedule = await scheduled(stage, "0 * * * *", missed=missed)
    await stage.later(2.5 * 3600)
    await stage.later(1800)
    done = [run for run in await runs(stage, schedule) if run.status is RunStatus.STARTED]
    assert [run.due_at for run in done] == started
    skipped = [run.reason for run in await runs(stage, schedule) if run.status is RunStatus.SKIPPED]
    assert set(skipped) == (set() if missed is MissedRuns.CATCH_UP else {"missed"})


async def test_a_long_absence_costs_no_more_than_a_short_one(stage: Stage) -> None:
    schedule = await scheduled(stage, "* * * * *", missed=MissedRuns.LATEST)
    await stage.later(400 * 86_400)
    assert [run.status for run in await runs(stage, schedule)] == [RunStatus.SKIPPED, RunStatus.STARTED]


async def test_a_start_that_was_to_happen_once_and_was_missed_is_made_up_for_unless_skipped(
    stage: Stage,
) -> None:
    late = await scheduled(stage, None, start_at=at(13))
    never = await scheduled(stage, None, start_at=at(13), missed=MissedRuns.SKIP)
    await stage.later(86_400)
    assert [run.status for run in await runs(stage, late)] == [RunStatus.STARTED]
    assert [run.status for run in await runs(stage, never)] == [RunStatus.SKIPPED]


async def finish_one(stage: Stage, agent: Any) -> None:
    held = await stage.take(agent)
    await stage.complete(agent, held.task.id, held.lease_id)


async def test_an_overlap_is_skipped_where_that_is_declared(stage: Stage) -> None:
    schedule = await scheduled(stage, overlap=Overlap.SKIP)
    await stage.later(300)
    await stage.later(300)
    await finish_one(stage, await stage.agent())
    await stage.later(300)
    found = [(run.status, run.reason) for run in await runs(stage, schedule)]
    assert found == [
        (RunStatus.STARTED, None), (RunStatus.SKIPPED, "overlap"), (RunStatus.STARTED, None)
    ]  # fmt: skip


async def test_an_overlap_waits_its_turn_where_that_is_declared(stage: Stage) -> None:
    schedule = await scheduled(stage, overlap=Overlap.QUEUE)
    for _ in range(3):
        await stage.later(300)
    states = [RunStatus.STARTED, RunStatus.QUEUED, RunStatus.QUEUED]
    assert [run.status for run in await runs(stage, schedule)] == states
    agent = await stage.agent()
    for done in range(2, 4):
        await finish_one(stage, agent)
        await stage.sweep()
        found = [run.status for run in await runs(stage, schedule)]
        assert found.count(RunStatus.STARTED) == done


async def test_a_paused_schedule_is_not_due_and_goes_on_from_when_it_is_resumed(stage: Stage) -> None:
    schedule = await scheduled(stage, missed=MissedRuns.CATCH_UP)
    await change(stage, schedule, is_active=False)
    await stage.later(3600)
    assert await runs(stage, schedule) == []
    asked = await stage.platform.write(stage.admin, run_now, OneSchedule(schedule.id))
    assert (asked.status, asked.due_at) == (RunStatus.STARTED, None)
    assert (await change(stage, schedule, is_active=True)).next_at == at(13, 5)


async def test_what_cannot_be_started_is_told_and_the_next_time_comes(stage: Stage) -> None:
    nowhere = str(stage.platform.new_id())
    action = {"workflow": {"playbook_id": nowhere, "workspace_id": nowhere, "name": "x"}}
    schedule = await scheduled(stage, action=action)
    await stage.later(300)
    await stage.later(300)
    found = await runs(stage, schedule)
    assert [run.status for run in found] == [RunStatus.FAILED, RunStatus.FAILED]
    assert found[0].error is not None
    assert found[0].error["code"] == "NOT_FOUND"


async def test_another_expression_begins_anew(stage: Stage) -> None:
    schedule = await scheduled(stage)
    assert (await change(stage, schedule, cron="0 6 * * *", timezone=BERLIN)).next_at == at(5, day=26)
    with pytest.raises(Invalid):
        await change(stage, schedule, cron=None)


@pytest.mark.parametrize(
    ("expression", "zone"),
    [("* * * *", "UTC"), ("61 * * * *", "UTC"), ("* * * * * *", "UTC"), ("* * * * *", "Mars/Base")],
)
async def test_what_cannot_be_read_is_refused(stage: Stage, expression: str, zone: str) -> None:
    with pytest.raises(Invalid):
        await scheduled(stage, expression, timezone=zone)


async def test_a_template_that_leads_nowhere_is_refused_at_once(stage: Stage) -> None:
    with pytest.raises(Invalid):
        await scheduled(stage, action={"task": {"title": "{{ event.id }}"}})


async def test_a_tenant_has_so_many_and_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MOST", 2)
    for _ in range(2):
        await scheduled(stage)
    with pytest.raises(Conflict):
        await scheduled(stage)


async def test_nobody_elses_schedule_exists(stage: Stage) -> None:
    schedule = await scheduled(stage)
    other = Stage(stage.platform, stage.clock)
    for command in (schedules.get_schedule, schedules.delete_schedule, run_now):
        with pytest.raises(NotFound):
            await stage.platform.write(other.admin, command, OneSchedule(schedule.id))


async def test_its_record_goes_with_it_and_ends_after_thirty_days(stage: Stage) -> None:
    schedule = await scheduled(stage)
    await stage.later(300)
    await change(stage, schedule, is_active=False)
    stage.clock.advance(31 * 86_400)
    await stage.platform.write(stage.admin, forget_runs, None)
    assert await runs(stage, schedule) == []
    await stage.platform.write(stage.admin, schedules.delete_schedule, OneSchedule(schedule.id))
    with pytest.raises(NotFound):
        await runs(stage, schedule)


def test_clocks_that_go_forward_leave_no_day_out_and_back_repeat_none() -> None:
    def following(expression: str, moment: datetime, count: int) -> list[str]:
        found = []
        for _ in range(count):
            moment = cron.after(expression, BERLIN, moment)
            found.append(f"{moment:%d %H:%M}")
        return found

    spring, autumn = datetime(2026, 3, 28, 2, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert following("30 2 * * *", spring, 2) == ["29 01:00", "30 00:30"]
    assert following("30 2 * * *", autumn, 2) == ["25 00:30", "26 01:30"]
    before = autumn + timedelta(hours=12)
    assert following("30 * * * *", before, 3) == ["25 00:30", "25 01:30", "25 02:30"]
