"""Updates on their way to the hub: together, in order, each once, no more of them than there is room for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.client import Conflict, Invalid, PayloadTooLarge
from hub.worker.acp.updates import POST_BYTES, WAITING_BYTES, Updates
from hub.worker.acp.wire import Update

PATIENCE = 20.0


class Hub:
    """What was posted; `gate` holds posts back, `refuse` says no to some."""

    def __init__(self) -> None:
        self.posts: list[list[Update]] = []
        self.keys: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuse: dict[str, Exception] = {}

    async def post(self, updates: list[Update], *, key: str) -> None:
        """Take a post."""
        await self.gate.wait()
        for update in updates:
            if (refusal := self.refuse.get(str(update.get("n")))) is not None:
                raise refusal
        self.posts.append(updates)
        self.keys.append(key)

    @property
    def told(self) -> list[Any]:
        """What was told, one after the other."""
        return [update.get("n", update) for post in self.posts for update in post]


@asynccontextmanager
async def _running(hub: Hub) -> AsyncIterator[tuple[Updates, "asyncio.Task[None]"]]:
    updates = Updates(hub.post)
    running = asyncio.create_task(updates.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield updates, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_comes_while_a_post_is_under_way_travels_together() -> None:
    hub = Hub()
    hub.gate.clear()
    async with _running(hub) as (updates, _):
        for n in range(1000):
            await updates.add({"n": n}, 10)
            await asyncio.sleep(0)
        hub.gate.set()
        await updates.flush()
    assert hub.told == list(range(1000))
    assert len(hub.posts) < 10
    assert len(set(hub.keys)) == len(hub.posts)


async def test_a_post_has_a_size_and_one_that_is_larger_goes_alone() -> None:
    hub = Hub()
    hub.gate.clear()
    async with _running(hub) as (updates, _):
        for n in range(6):
            await updates.add({"n": n}, POST_BYTES * 2 if n == 3 else POST_BYTES // 2)
        hub.gate.set()
        await updates.flush()
    assert hub.told == list(range(6))
    assert all(len(post) <= 2 for post in hub.posts)
    assert [{"n": 3}] in hub.posts


async def test_who_says_more_than_there_is_room_for_is_not_listened_to() -> None:
    hub = Hub()
    hub.gate.clear()
    async with _running(hub) as (updates, _):
        adding = asyncio.create_task(updates.add({"n": 0}, WAITING_BYTES * 2))
        await asyncio.sleep(0)
        more = asyncio.create_task(updates.add({"n": 1}, WAITING_BYTES * 2))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not more.done()
        hub.gate.set()
        await asyncio.gather(adding, more)
        await updates.flush()
    assert hub.told == [0, 1]


@pytest.mark.parametrize("refusal", [Invalid("not this"), PayloadTooLarge("too large")])
async def test_what_the_hub_refuses_is_said_to_be_missing_where_it_stood(refusal: Exception) -> None:
    hub = Hub()
    hub.refuse["1"] = refusal
    hub.gate.clear()
    async with _running(hub) as (updates, _):
        for n in range(3):
            await updates.add({"n": n}, 10)
        hub.gate.set()
        await updates.flush()
    first, missing, last = hub.told
    assert (first, last) == (0, 2)
    assert missing["update"]["sessionUpdate"] == "notice"


async def test_a_lost_lease_lets_go_of_everything() -> None:
    hub = Hub()
    hub.refuse["0"] = Conflict("gone")
    async with _running(hub) as (updates, running):
        await updates.add({"n": 0}, 10)
        with pytest.raises(Conflict):
            await running
        await updates.add({"n": 1}, WAITING_BYTES * 2)
        await updates.flush()
    assert hub.told == []
