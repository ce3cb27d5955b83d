"""Reading the log and following it: every event once, in order, to whoever may see it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from core import approvals, events, tail
from core.caller import Caller
from core.errors import Gone, HubError, NotFound, Unavailable
from core.events import Event, EventFilter, ReadEvents, SlowReader
from core.platform import Platform
from core.store import tables as t
from core.store.tables.records import event_floor
from core.store.tx import Tx
from core.tasks.task import TaskView
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import SECONDS, Stage, on_face
from tests.fakes import FakeClock


@pytest.fixture
def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant with an operator and a submitter."""
    return Stage(platform, clock)


async def page(stage: Stage, by: Caller, **query: Any) -> events.EventPage:
    await stage.numbered()
    return await stage.platform.read(by, events.read_events, ReadEvents(**query))


async def done(stage: Stage, agent: Caller) -> UUID:
    """One task, from its submit to its completion."""
    task = await stage.submit()
    held = await stage.take(agent)
    await stage.complete(agent, task.id, held.lease_id)
    return task.id


class Follower:
    """Somebody who follows the log in the background."""

    def __init__(self, stage: Stage, by: Caller, after: int | None = None, **wanted: Any) -> None:
        self.seen: list[Event] = []
        self.reached = 0
        self._more = asyncio.Event()
        feed = events.follow(stage.platform, by, EventFilter(**wanted), after, idle_seconds=0.2)
        self.task = asyncio.create_task(self._run(feed))

    async def _run(self, feed: AsyncIterator[tuple[int, Sequence[Event]]]) -> None:
        async with aclosing(feed) as pairs:  # type: ignore[type-var]
            async for reached, batch in pairs:
                assert reached >= self.reached
                self.reached = reached
                self.seen += batch
                self._more.set()

    async def reach(self, position: int) -> list[int]:
        """The positions seen, once it has read so far."""
        async with asyncio.timeout(SECONDS):
            while self.reached < position:
                self._more.clear()
                await self._more.wait()
        return [event.pos for event in self.seen]

    async def begun(self) -> None:
        """It listens."""
        async with asyncio.timeout(SECONDS):
            await self._more.wait()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_the_log_reads_forward_in_pages_without_a_gap(stage: Stage) -> None:
    agent = await stage.agent()
    for _ in range(3):
        await done(stage, agent)
    whole = [e.pos for e in (await page(stage, stage.admin, after=0, limit=1000)).items]
    read, after, more = [], 0, True
    while more:
        part = await page(stage, stage.admin, after=after, limit=4)
        read += [e.pos for e in part.items]
        assert part.next_after is not None
        after, more = part.next_after, part.has_more
    assert read == whole
    assert whole == list(range(whole[0], whole[0] + len(whole)))


async def test_the_log_reads_backward_from_its_end(stage: Stage) -> None:
    await done(stage, await stage.agent())
    newest = await page(stage, stage.admin, limit=2)
    older = await page(stage, stage.admin, before=newest.next_before, limit=2)
    positions = [e.pos for e in (*newest.items, *older.items)]
    assert positions == sorted(positions, reverse=True)
    assert len(set(positions)) == 4


async def test_filters_join_by_and(stage: Stage) -> None:
    agent = await stage.agent()
    first, second = await done(stage, agent), await done(stage, agent)
    kinds = frozenset({"task.created", "task.assigned"})
    found = await page(stage, stage.admin, after=0, filter=EventFilter(kinds=kinds, task_id=second))
    assert [(e.kind, e.task_id) for e in found.items] == [("task.created", second), ("task.assigned", second)]
    moved = EventFilter(task_id=first, data=(("move", "complete"),))
    found = await page(stage, stage.admin, after=0, filter=moved, limit=50)
    assert [e.data["move"] for e in found.items] == ["complete"]


async def test_whoever_may_see_a_task_sees_its_events(stage: Stage) -> None:
    agent, other = await stage.agent(), await stage.agent("other")
    task_id = await done(stage, agent)

    async def sees(caller: Caller) -> bool:
        found = await page(stage, caller, after=0, filter=EventFilter(task_id=task_id), limit=50)
        return bool(found.items)

    assert await sees(stage.user)
    assert await sees(stage.admin)
    assert await sees(agent)
    assert await sees(on_face(stage.user, "a2a"))
    for stranger in (
        other,
        stage.caller(Scope.AGENT, "user"),
        stage.caller(Scope.WORKER, "worker"),
        on_face(stage.admin, "a2a"),
        Stage(stage.platform, stage.clock).admin,
    ):
        assert not await sees(stranger)


async def test_a_cursor_that_retention_has_passed_is_gone(stage: Stage) -> None:
    await done(stage, await stage.agent())
    first = (await page(stage, stage.admin, after=0)).items[0].pos

    async def forget(tx: Tx, below: int) -> None:
        await tx.run(sa.delete(t.event).where(t.event.c.pos < below))
        await tx.run(sa.insert(event_floor).values(tenant_id=tx.caller.tenant_id, pos=below - 1))

    await stage.platform.write(stage.admin, forget, first + 3)
    with pytest.raises(Gone) as refused:
        await page(stage, stage.admin, after=first)
    assert refused.value.details == {"oldest": str(first + 2)}
    assert (await page(stage, stage.admin, after=first + 2)).items[0].pos == first + 3


async def test_a_follower_sees_everything_once_while_others_write(stage: Stage) -> None:
    agents = [await stage.agent(f"a{n}") for n in range(4)]
    start = (await page(stage, stage.admin)).items[0].pos
    followers = [Follower(stage, stage.admin, after=start) for _ in range(3)]

    async def work(agent: Caller) -> None:
        for _ in range(8):
            task = await stage.submit()
            for held in (await stage.claim(agent, start=True)).items:
                await stage.complete(agent, held.task.id, held.lease_id)
            del task

    await asyncio.gather(*(work(agent) for agent in agents))
    late = Follower(stage, stage.admin, after=start)
    log = [e["pos"] for e in (await stage.numbered()).rows["event"] if e["pos"] > start]
    for follower in (*followers, late):
        assert await follower.reach(log[-1]) == log
        await follower.stop()


async def test_a_follower_comes_back_with_its_cursor(stage: Stage) -> None:
    agent = await stage.agent()
    start = (await page(stage, stage.admin)).items[0].pos
    seen: list[int] = []
    for _ in range(4):
        follower = Follower(stage, stage.admin, after=seen[-1] if seen else start)
        await done(stage, agent)
        end = (await page(stage, stage.admin, limit=1)).items[0].pos
        seen += await follower.reach(end)
        await follower.stop()
        await done(stage, agent)
    missed = await page(stage, stage.admin, after=seen[-1], limit=100)
    assert missed.items
    assert seen == list(range(start + 1, start + 1 + len(seen)))


async def test_a_filtered_follower_advances_though_nothing_is_for_it(stage: Stage) -> None:
    follower = Follower(stage, stage.admin, after=0, kinds=frozenset({"nothing"}))
    await done(stage, await stage.agent())
    end = (await page(stage, stage.admin, limit=1)).items[0].pos
    assert await follower.reach(end) == []
    await follower.stop()


async def test_a_follower_without_a_cursor_begins_now(stage: Stage) -> None:
    agent = await stage.agent()
    await done(stage, agent)
    before = (await page(stage, stage.admin, limit=1)).items[0].pos
    follower = Follower(stage, stage.admin)
    await follower.begun()
    await done(stage, agent)
    end = (await page(stage, stage.admin, limit=1)).items[0].pos
    assert await follower.reach(end) == list(range(before + 1, end + 1))
    await follower.stop()


async def test_an_agent_begins_to_see_a_task_when_it_is_given_to_it(stage: Stage) -> None:
    agent = await stage.agent()
    follower = Follower(stage, agent, after=0)
    await follower.begun()
    task_id = await done(stage, agent)
    end = (await page(stage, stage.admin, limit=1)).items[0].pos
    await follower.reach(end)
    await follower.stop()
    kinds = [event.kind for event in follower.seen if event.task_id == task_id]
    assert "task.assigned" in kinds
    assert kinds[-1] == "task.state_changed"


async def test_a_reader_that_falls_behind_is_told_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "BUFFERED", 2)
    feed = events.follow(stage.platform, stage.admin, EventFilter())
    async with aclosing(feed) as pairs:  # type: ignore[type-var]
        await anext(pairs)
        agent = await stage.agent()
        with pytest.raises(SlowReader):
            await _read_too_slowly(stage, agent, pairs)


async def _read_too_slowly(stage: Stage, agent: Caller, pairs: AsyncIterator[object]) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            for _ in range(20):
                await done(stage, agent)
            await stage.numbered()
            await anext(pairs)


async def test_followers_hear_that_the_hub_stops(stage: Stage) -> None:
    follower = Follower(stage, stage.admin, after=0)
    await follower.begun()
    await stage.platform.tail.stop(Unavailable("The hub is stopping."))
    with pytest.raises(Unavailable):
        async with asyncio.timeout(SECONDS):
            await follower.task


async def test_following_a_task_begins_with_its_view_and_ends_with_its_end(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    feed = events.follow_task(stage.platform, stage.user, task.id)
    async with aclosing(feed) as steps:  # type: ignore[type-var]
        view = await anext(steps)
        assert isinstance(view, TaskView)
        await stage.ask(agent, task.id, lease, hold=True)
        await stage.answer(task.id)
        await stage.complete(agent, task.id, lease)
        versions = []
        async with asyncio.timeout(SECONDS):
            async for batch in steps:
                assert not isinstance(batch, TaskView)
                versions += [event.version for event in batch]
    final = await stage.get(task.id)
    assert versions == list(range(view.task.version + 1, final.version + 1))


async def test_following_a_final_task_ends_at_once(stage: Stage) -> None:
    task_id = await done(stage, await stage.agent())
    feed = events.follow_task(stage.platform, stage.user, task_id)
    async with asyncio.timeout(SECONDS):
        steps = [step async for step in feed]
    assert len(steps) == 1


async def test_nobody_follows_a_task_that_is_not_theirs(stage: Stage) -> None:
    task = await stage.submit()
    for stranger in (stage.caller(Scope.AGENT, "user"), on_face(stage.admin, "a2a")):
        with pytest.raises(NotFound):
            await anext(events.follow_task(stage.platform, stranger, task.id))
    with pytest.raises(NotFound):
        await events.await_settled(stage.platform, stage.user, uuid4(), 1)
    assert stage.platform.tail.subscribers == 0


@pytest.mark.parametrize("how", ["complete", "fail", "refuse", "cancel", "ask"])
async def test_a_settled_task_is_awaited(stage: Stage, how: str) -> None:
    agent, task, lease = await stage.started()
    waiter = asyncio.create_task(events.await_settled(stage.platform, stage.user, task.id, SECONDS))
    async with asyncio.timeout(SECONDS):
        while not stage.platform.tail.subscribers:  # noqa: ASYNC110 - nobody tells who listens
            await asyncio.sleep(0)
    match how:
        case "complete":
            await stage.complete(agent, task.id, lease)
        case "fail":
            await stage.fail(agent, task.id, lease)
        case "refuse":
            await stage.refuse(agent, task.id, lease)
        case "cancel":
            await stage.cancel(task.id)
        case "ask":
            await stage.ask(agent, task.id, lease)
    assert (await waiter).task.state not in (TaskState.CLAIMED, TaskState.IN_PROGRESS)
    assert stage.platform.tail.subscribers == 0


async def test_a_permission_settles_for_whoever_may_give_it(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    command = approvals.AskApproval(task.id, lease, "may I?")
    await stage.platform.write(agent, approvals.ask, command)
    view = await events.await_settled(stage.platform, stage.user, task.id, SECONDS)
    assert [a.title for a in view.approvals] == ["may I?"]
    unsettled = await events.await_settled(stage.platform, agent, task.id, 0.05)
    assert unsettled.task.state is TaskState.IN_PROGRESS


async def test_waiting_in_vain_gives_the_task_as_it_is(stage: Stage) -> None:
    task = await stage.submit()
    view = await events.await_settled(stage.platform, stage.user, task.id, 0.05)
    assert view.task.state is TaskState.READY


async def test_many_who_wait_at_once_are_each_answered(stage: Stage) -> None:
    agent = await stage.agent(max_concurrent=50)
    tasks = [await stage.submit() for _ in range(30)]
    waiters = [
        asyncio.create_task(events.await_settled(stage.platform, stage.user, task.id, SECONDS))
        for task in tasks
    ]
    for held in (await stage.claim(agent, limit=30, start=True)).items:
        await stage.complete(agent, held.task.id, held.lease_id)
    views = await asyncio.gather(*waiters)
    assert {view.task.id for view in views} == {task.id for task in tasks}
    assert all(view.task.state is TaskState.COMPLETED for view in views)
    with pytest.raises(HubError):
        await stage.cancel(tasks[0].id, strict=True)
