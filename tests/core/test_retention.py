"""What is over is cleared away by policy, in small steps, by one replica, and never what is held."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from core import events, governance, retention
from core.caller import SYSTEM
from core.errors import Gone
from core.events import ReadEvents
from core.governance import ChangePolicy, SetHold
from core.logs import Ingest, LogLine, ingest
from core.platform import Platform
from core.retention import Retention
from core.store import EVENTS
from core.store import tables as t
from core.store.tables import operations, records
from core.store.tx import Tx
from core.tasks import submit
from tests.conftest import OpenStore
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock

DAY = 86_400.0
LINE = {
    "trace_id": "t", "span_id": "s", "source": "runtime", "category": "tool", "level": "info",
    "operation": "o", "status": "completed",
}  # fmt: skip


async def _count(tx: Tx, table: sa.Table) -> int:
    row = await tx.one(sa.select(sa.func.count().label("n")).select_from(table))
    assert row is not None
    return int(row.n)


async def count(platform: Platform, table: sa.Table) -> int:
    return await platform.read(SYSTEM(UUID(int=0)), _count, table)


async def _add_tenant(tx: Tx, tenant_id: UUID) -> None:
    await tx.run(
        sa.insert(t.tenant).values(
            id=tenant_id, slug=str(tenant_id), name="t", is_active=True, created_at=tx.now
        )
    )


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant that is known as one, with people in it."""
    stage = Stage(platform, clock)
    await platform.write(SYSTEM(stage.tenant), _add_tenant, stage.tenant)
    return stage


async def done(stage: Stage, count: int = 1) -> Sequence[UUID]:
    """Tasks that are completed."""
    agent = await stage.agent()
    ids = []
    for _ in range(count):
        _, task, lease = await stage.started(agent)
        await stage.complete(agent, task.id, lease)
        ids.append(task.id)
    return ids


async def logged(platform: Platform, at_least: int) -> int:
    """How many events the log has, once it has so many."""
    while True:
        with platform.hints.listen([EVENTS]) as woken:
            found = await count(platform, t.event)
            if found >= at_least:
                return found
            await woken.wait(1.0)


async def has(stage: Stage, task_id: UUID) -> bool:
    found = await stage.platform.read(SYSTEM(stage.tenant), _has, task_id)
    return bool(found)


async def _has(tx: Tx, task_id: UUID) -> bool:
    return await tx.one(sa.select(t.task.c.id).where(t.task.c.id == task_id)) is not None


async def test_a_finished_task_goes_with_all_that_belongs_to_it(stage: Stage, clock: FakeClock) -> None:
    (old,) = await done(stage)
    clock.advance(29 * DAY)
    (young,) = await done(stage, 1)
    open_one = await stage.submit()
    clock.advance(2 * DAY)
    assert await Retention(stage.platform).round()
    assert [await has(stage, one) for one in (old, open_one.id, young)] == [False, True, True]
    assert await count(stage.platform, t.attempt) == 1


async def test_the_tenants_policy_decides(stage: Stage, clock: FakeClock) -> None:
    (old,) = await done(stage)
    await stage.platform.write(stage.admin, governance.change_policy, ChangePolicy(task_prune_after_days=90))
    clock.advance(31 * DAY)
    await Retention(stage.platform).round()
    assert await has(stage, old)
    await stage.platform.write(stage.admin, governance.change_policy, ChangePolicy(task_prune_after_days=30))
    clock.advance(2 * 3600)
    await Retention(stage.platform).round()
    assert not await has(stage, old)


async def test_what_is_held_stays_until_it_is_let_go(stage: Stage, clock: FakeClock) -> None:
    (held, free) = await done(stage, 2)
    hold = SetHold("task", held, True)
    for _ in range(2):
        assert (await stage.platform.write(stage.admin, governance.set_hold, hold)).legal_hold
    line = LogLine({**LINE, "task_id": held})
    await stage.platform.write(stage.admin, ingest, Ingest([line, LogLine({**LINE, "task_id": free})]))
    clock.advance(31 * DAY)
    await Retention(stage.platform).round()
    assert [await has(stage, one) for one in (held, free)] == [True, False]
    assert await count(stage.platform, records.execution_log) == 1
    await stage.platform.write(stage.admin, governance.set_hold, SetHold("task", held, False))
    clock.advance(2 * 3600)
    await Retention(stage.platform).round()
    assert not await has(stage, held)
    assert await count(stage.platform, records.execution_log) == 0


async def test_a_task_that_another_waits_for_stays(stage: Stage, clock: FakeClock) -> None:
    (first,) = await done(stage)
    await stage.platform.write(stage.user, submit.submit, submit.SubmitTask("later", depends_on=[first]))
    clock.advance(31 * DAY)
    await Retention(stage.platform).round()
    assert await has(stage, first)


async def test_more_than_one_step_takes_goes_in_one_round(stage: Stage, clock: FakeClock) -> None:
    await done(stage, retention.SOME + 5)
    lines = [LogLine(LINE)] * (retention.MANY + 1)
    await stage.platform.write(stage.admin, ingest, Ingest(lines))
    clock.advance(31 * DAY)
    await Retention(stage.platform).round()
    assert await count(stage.platform, t.task) == 0
    assert await count(stage.platform, records.execution_log) == 0


async def test_one_replica_clears_away_and_the_next_round_comes_an_hour_later(
    stage: Stage, clock: FakeClock, open_another: OpenStore
) -> None:
    first, second = Retention(stage.platform), Retention(stage.platform)
    assert await first.round()
    assert not await second.round()
    clock.advance(retention.EVERY.total_seconds() + 1)
    assert await second.round()
    assert not await first.round()


async def test_another_goes_on_where_one_died_in_the_middle(stage: Stage, clock: FakeClock) -> None:
    dead = uuid4()
    assert await stage.platform.write(SYSTEM(UUID(int=0)), retention.take_turn, dead)
    assert not await Retention(stage.platform).round()
    clock.advance(retention.TURN.total_seconds() + 1)
    assert await Retention(stage.platform).round()


async def test_events_go_after_their_task_and_an_old_cursor_is_told_where_to_begin(
    stage: Stage, clock: FakeClock
) -> None:
    platform = stage.platform
    await done(stage)
    before = await logged(platform, 4)
    kept = await stage.submit()
    await logged(platform, before + 1)
    clock.advance(31 * DAY)
    await Retention(platform).round()
    with pytest.raises(Gone) as refused:
        await platform.read(stage.admin, events.read_events, ReadEvents(after=0))
    oldest = int(refused.value.details["oldest"])
    page = await platform.read(stage.admin, events.read_events, ReadEvents(after=oldest, limit=100))
    assert {event.task_id for event in page.items} == {kept.id}


async def test_a_tenant_of_whom_nothing_went_reads_on_from_anywhere(stage: Stage, clock: FakeClock) -> None:
    other = Stage(stage.platform, clock)
    await done(stage)
    await logged(stage.platform, 4)
    mine = await other.submit()
    clock.advance(31 * DAY)
    await Retention(stage.platform).round()
    page = await stage.platform.read(other.user, events.read_events, ReadEvents(after=0))
    assert [event.task_id for event in page.items] == [mine.id]


async def test_files_of_artifacts_go_thirty_days_after_their_task(stage: Stage, clock: FakeClock) -> None:
    platform = stage.platform
    (task_id,) = await done(stage)
    await platform.write(stage.admin, governance.change_policy, ChangePolicy(task_prune_after_days=365))
    await platform.write(SYSTEM(stage.tenant), _file, task_id)
    clock.advance(29 * DAY)
    await Retention(platform).round()
    assert await count(platform, t.artifact) == 1
    clock.advance(2 * DAY)
    await Retention(platform).round()
    assert await count(platform, t.artifact) == 0
    assert await platform.read(SYSTEM(stage.tenant), _due, None) == 1
    assert await has(stage, task_id)


async def _file(tx: Tx, task_id: UUID) -> None:
    file_id = tx.new_id()
    common: dict[str, Any] = {"tenant_id": tx.caller.tenant_id, "created_at": tx.now, "sha256": b"x"}
    await tx.run(sa.insert(operations.stored_file).values(id=file_id, size_bytes=1, remove_at=None, **common))
    await tx.run(
        sa.insert(t.artifact).values(
            task_id=task_id, artifact_id="a", size_bytes=1, chunks=1, complete=True, attributes={},
            file_id=file_id, created_n=1, updated_at=tx.now, **common,
        )
    )  # fmt: skip


async def _due(tx: Tx, _: None) -> int:
    found = await tx.all(
        sa.select(operations.stored_file.c.id).where(operations.stored_file.c.remove_at.is_not(None))
    )
    return len(found)
