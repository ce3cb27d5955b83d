"""Whoever holds a task keeps it by writing about it."""

import pytest

from core.errors import Conflict
from core.logs import Ingest, LogLine, ingest
from core.platform import Platform
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock

LINE = {
    "trace_id": "t", "span_id": "s", "source": "runtime", "category": "tool", "level": "info",
    "operation": "o", "status": "completed",
}  # fmt: skip


@pytest.fixture
def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant with an operator and a submitter."""
    return Stage(platform, clock)


async def test_writing_about_a_task_renews_the_lease_of_its_holder(stage: Stage, clock: FakeClock) -> None:
    agent, task, lease = await stage.started()
    for _ in range(3):
        clock.advance(50)
        kept = await stage.platform.write(agent, ingest, Ingest([LogLine({**LINE, "task_id": task.id})]))
        assert kept.accepted == 1
    assert (await stage.complete(agent, task.id, lease)).id == task.id


async def test_writing_of_others_renews_nothing(stage: Stage, clock: FakeClock) -> None:
    agent, task, lease = await stage.started()
    clock.advance(50)
    await stage.platform.write(stage.admin, ingest, Ingest([LogLine({**LINE, "task_id": task.id})]))
    clock.advance(11)
    with pytest.raises(Conflict):
        await stage.complete(agent, task.id, lease)


async def test_a_lease_that_was_asked_for_longer_is_not_shortened(stage: Stage, clock: FakeClock) -> None:
    agent = await stage.agent()
    task = await stage.submit()
    held = await stage.take(agent, lease_seconds=600)
    clock.advance(550)
    await stage.platform.write(agent, ingest, Ingest([LogLine({**LINE, "task_id": task.id})]))
    clock.advance(590)
    await stage.complete(agent, task.id, held.lease_id)
