"""The fan-out: nothing missed, nothing twice, nothing written for nobody, and one replica that does it."""

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from core.caller import SYSTEM
from core.jobs import fanout
from core.jobs.fanout import FanOut, Fanout, fan_out
from core.platform import Platform
from core.push import Notify, SubmitNotified, submit_notified
from core.store import tables as t
from core.tasks.messages import AddMessage, add_message
from core.tasks.submit import SubmitTask
from tests.conftest import OpenStore
from tests.core.jobs.office import Office, until
from tests.core.tasks.stage import Stage, on_face

HUB = SYSTEM(UUID(int=0))
URL = "https://a.example/x"


@pytest.fixture
async def office(platform: Platform) -> Office:
    """A post office whose machines stand still: the test turns them."""
    office = Office(platform)
    await office.open()
    await office.shut()
    return office


async def cursor(office: Office) -> int:
    """How far the log is fanned out, durably."""
    query = sa.select(t.consumer.c.pos).where(t.consumer.c.name == fanout.CURSOR)
    return int((await office.rows(query))[0].pos)


async def head(office: Office, stage: Stage) -> int:
    """The log's end, once every event has its position."""
    await stage.numbered()
    return int((await office.rows(sa.select(sa.func.max(t.event.c.pos).label("pos"))))[0].pos)


async def step(machine: Fanout) -> None:
    """As many looks as it takes."""
    while await machine.step():
        pass


async def test_while_nobody_listens_nothing_is_written(office: Office, stage: Stage) -> None:
    await stage.cancel((await stage.submit()).id)
    await head(office, stage)
    await step(office.fanout)
    assert await cursor(office) == 0


async def test_what_concerned_nobody_is_skipped_now_and_then(
    office: Office, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "LAG", 3)
    await stage.cancel((await stage.submit()).id)
    await stage.submit()
    end = await head(office, stage)
    await step(office.fanout)
    assert await cursor(office) == end


async def test_the_cursor_stays_near_though_nothing_matches(
    office: Office, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "LAG", 3)
    await office.tell(stage.user, (await stage.submit()).id)
    await stage.cancel((await stage.submit()).id)
    end = await head(office, stage)
    await step(office.fanout)
    assert (await cursor(office), await office.deliveries()) == (end, [])


async def test_a_task_submitted_with_a_receiver_is_told_from_its_first_event(
    office: Office, stage: Stage
) -> None:
    notify = Notify(URL, "https://a.example")
    view = await office.platform.write(
        stage.user, submit_notified, SubmitNotified(SubmitTask("work"), notify)
    )
    await stage.cancel(view.task.id)
    await head(office, stage)
    await step(office.fanout)
    told = await office.deliveries()
    kinds = await office.rows(sa.select(t.event.c.pos, t.event.c.kind).order_by(t.event.c.pos))
    assert [(d.pos, d.entity_id) for d in told] == [(row.pos, view.task.id) for row in kinds]
    assert [row.kind for row in kinds] == ["task.created", "task.state_changed"]


async def test_events_before_the_configuration_are_not_told_however_late_the_fan_out_is(
    office: Office, stage: Stage
) -> None:
    task = await stage.submit()
    agent = await stage.agent()
    held = await stage.take(agent)
    await office.tell(stage.user, task.id)
    await stage.complete(agent, task.id, held.lease_id)
    end = await head(office, stage)
    await step(office.fanout)
    assert [d.pos for d in await office.deliveries()] == [end]


async def test_the_same_events_make_nothing_twice(office: Office, stage: Stage) -> None:
    task = await stage.submit()
    await office.tell(stage.user, task.id)
    await stage.cancel(task.id)
    end = await head(office, stage)
    assert await office.platform.write(HUB, fan_out, FanOut(0, end))
    assert not await office.platform.write(HUB, fan_out, FanOut(0, end))
    await office.platform.write(HUB, _back, None)
    await step(Fanout(office.platform))
    assert len(await office.deliveries()) == 1


async def _back(tx: Any, _: None) -> None:
    await tx.run(sa.update(t.consumer).values(pos=0))


async def test_a_page_is_only_a_page(office: Office, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.fanout.Look.__init__.__defaults__", (2,))
    tasks = [await stage.submit() for _ in range(5)]
    for task in tasks:
        await office.tell(stage.user, task.id)
    for task in tasks:
        await stage.cancel(task.id)
    await head(office, stage)
    await step(office.fanout)
    assert len(await office.deliveries()) == 5


async def test_a_task_that_is_final_for_good_ends_the_listening(office: Office, stage: Stage) -> None:
    notify = Notify(URL, "https://a.example")
    for face, still in (("a2a", False), ("rest", True)):
        user = on_face(stage.user, face)
        view = await office.platform.write(user, submit_notified, SubmitNotified(SubmitTask("x"), notify))
        await stage.cancel(view.task.id, by=user)
        await head(office, stage)
        await step(office.fanout)
        query = sa.select(t.push_config.c.live).where(t.push_config.c.task_id == view.task.id)
        assert [row.live for row in await office.rows(query)] == [still]


async def overtaken(monkeypatch: pytest.MonkeyPatch, late: Fanout, sooner: Fanout) -> None:
    """A step of one in the middle of which, between its look and its work, another does that work."""
    look = late._platform.read

    async def then_wait(*arguments: Any) -> Any:
        seen = await look(*arguments)
        await sooner.step()
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(late._platform, "read", then_wait)
        await late.step()


async def test_of_two_replicas_one_steps_back_and_takes_over_when_the_other_falls_silent(
    office: Office,
    stage: Stage,
    database_url: str,
    open_another: OpenStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves one SQLite file")
    other = Fanout(Platform(await open_another()))
    task = await stage.submit()
    await office.tell(stage.user, task.id)

    agent = await stage.agent()
    held = await stage.take(agent)

    async def happens() -> None:
        said = AddMessage(task.id, [{"text": "still at it"}], lease_id=held.lease_id)
        await stage.platform.write(agent, add_message, said)
        await head(office, stage)

    await happens()
    await overtaken(monkeypatch, other, office.fanout)
    assert office.fanout.leading
    assert not other.leading
    leader, follower = office.fanout, other
    before = len(await office.deliveries())
    assert before > 0
    await happens()
    await follower.step()
    assert len(await office.deliveries()) == before  # it lets the leader work
    await step(leader)
    after = len(await office.deliveries())
    assert after > before
    await follower.step()
    assert not follower.leading
    await happens()
    await follower.step()
    assert len(await office.deliveries()) == after
    await follower.step()
    assert len(await office.deliveries()) > after
    assert follower.leading


async def test_the_machine_is_woken_by_the_first_who_listens(platform: Platform, stage: Stage) -> None:
    office = Office(platform)
    office.fanout = Fanout(platform, backstop=60.0)
    await office.open()
    try:
        await until(lambda: not office.fanout._live)
        task = await stage.submit()
        await office.tell(stage.user, task.id)
        await stage.cancel(task.id)
        await until(lambda: len(office.receivers.heard) == 1)
    finally:
        await office.shut()
