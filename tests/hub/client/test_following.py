"""Following events: in order, each once, across everything that breaks a stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from hub.client import Crossdock, Event, Gone, NotFound, Unauthorized, WaitTimeout
from tests.hub.client.fake_hub import KEY, FakeHub, fake_hub


@pytest.fixture(name="fake")
async def _fake() -> AsyncIterator[FakeHub]:
    async with fake_hub() as hub:
        yield hub


@pytest.fixture(name="hub")
async def _hub(fake: FakeHub) -> AsyncIterator[Crossdock]:
    async with Crossdock(fake.url, KEY) as hub:
        yield hub


async def _all(events: AsyncIterator[Event]) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in events]


async def test_following_a_task_starts_at_its_birth_and_ends_when_it_is_final(
    hub: Crossdock, fake: FakeHub
) -> None:
    task_id = await fake.submit()
    await fake.submit("another")
    following = asyncio.create_task(_all(hub.tasks.follow(task_id)))
    await fake.until(lambda: any(path == "events/stream" for _, path, _ in fake.requests))
    fake.move(task_id, "in_progress")
    fake.move(task_id, "completed")
    await fake.changed()
    events = await following
    assert [event.version for event in events] == [1, 2, 3]
    assert {event.entity_id for event in events} == {task_id}


async def test_a_final_task_is_followed_from_the_log_alone(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    fake.move(task_id, "failed")
    assert [e.type for e in await _all(hub.tasks.follow(task_id))] == ["task.created", "task.state_changed"]
    assert not any(path == "events/stream" for _, path, _ in fake.requests)


async def test_a_reopened_task_is_followed_beyond_its_first_end(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    fake.move(task_id, "failed")
    fake.move(task_id, "ready")
    following = asyncio.create_task(_all(hub.tasks.follow(task_id)))
    await fake.until(lambda: any(path == "events/stream" for _, path, _ in fake.requests))
    fake.move(task_id, "completed")
    await fake.changed()
    assert [event.data.get("to_state") for event in await following] == [None, "failed", "ready", "completed"]


async def test_a_broken_stream_goes_on_after_its_last_whole_event(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    for _ in range(4):
        fake.event(task_id, "task.message_sent")
    fake.move(task_id, "completed")
    fake.tasks[task_id]["state"] = "in_progress"  # the snapshot is older than the log
    fake.faults["frames"] = ["", "cut", "cut", ""]
    fake.faults["stream"] = ["unavailable", "", "deaf"]
    assert [event.version for event in await _all(hub.tasks.follow(task_id))] == [1, 2, 3, 4, 5, 6]


async def test_a_restarted_hub_is_followed_without_gap_or_repeat(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    seen: list[int | None] = []
    async with asyncio.timeout(20), aclosing(hub.tasks.follow(task_id)) as events:
        async for event in events:
            seen.append(event.version)
            if event.version == 1:
                await fake.stop()
                fake.move(task_id, "in_progress")
                fake.move(task_id, "completed")
                await fake.start()
    assert seen == [1, 2, 3]


async def test_a_stream_ends_when_its_reader_leaves(hub: Crossdock, fake: FakeHub) -> None:
    await fake.submit()
    async with aclosing(hub.events.stream(after="0")) as events:
        async for event in events:
            assert event.id == "1"
            break


async def test_a_cursor_that_is_too_old_is_said_to_be(hub: Crossdock, fake: FakeHub) -> None:
    fake.oldest_cursor = 10
    with pytest.raises(Gone) as caught:
        await _all(hub.events.stream(after="3"))
    assert caught.value.details == {"oldest": 10}


async def test_a_stream_without_leave_ends_with_the_reason(fake: FakeHub) -> None:
    async with Crossdock(fake.url, "wrong") as stranger:
        with pytest.raises(Unauthorized):
            await _all(stranger.events.stream())


async def test_waiting_gives_the_final_task(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    waiting = asyncio.create_task(hub.tasks.wait(task_id, timeout=20))
    await fake.until(lambda: any(path == "events/stream" for _, path, _ in fake.requests))
    fake.tasks[task_id]["output"] = "done"
    fake.move(task_id, "completed")
    await fake.changed()
    assert (await waiting).output == "done"


async def test_waiting_ends_with_its_time_and_leaves_the_task(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    with pytest.raises(WaitTimeout, match="goes on"):
        await hub.tasks.wait(task_id, timeout=0.05)
    assert fake.tasks[task_id]["state"] == "ready"


async def test_an_unknown_task_cannot_be_followed(hub: Crossdock) -> None:
    with pytest.raises(NotFound):
        await _all(hub.tasks.follow("unknown"))


async def test_the_whole_log_is_read_page_by_page(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    for _ in range(250):
        fake.event(task_id, "task.message_sent")
    assert [event.id for event in await _all(hub.events.all())] == [str(n) for n in range(1, 252)]
