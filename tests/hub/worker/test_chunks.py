"""Pieces of an artifact on their way: at once when nothing is under way, else together."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hub.client import Conflict
from hub.worker import chunks
from hub.worker.chunks import Chunks


class Told:
    """A hub that answers when it is let."""

    def __init__(self) -> None:
        self.requests: list[list[Mapping[str, Any]]] = []
        self.let = asyncio.Event()
        self.asked = asyncio.Event()
        self.refuses: Exception | None = None

    async def __call__(self, items: Sequence[Mapping[str, Any]], key: str) -> None:
        self.requests.append([dict(item) for item in items])
        self.asked.set()
        await self.let.wait()
        if self.refuses is not None:
            raise self.refuses


def texts(requests: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    return [[item["parts"][0]["text"] for item in items] for items in requests]


async def test_the_first_piece_leaves_at_once_and_the_next_gather_behind_it() -> None:
    told = Told()
    async with asyncio.timeout(10), Chunks(told, "a", "log") as log:
        await log.write("0")
        await told.asked.wait()
        for n in range(1, 5):
            await log.write(str(n))
        told.let.set()
    assert texts(told.requests) == [["0"], ["1", "2", "3", "4"]]
    items = [item for request in told.requests for item in request]
    assert [item["append"] for item in items] == [False, True, True, True, True]
    assert [item["last_chunk"] for item in items] == [False, False, False, False, True]
    assert [item.get("name") for item in items] == ["log", None, None, None, None]


async def test_what_was_told_whole_is_ended_by_an_empty_piece() -> None:
    told = Told()
    told.let.set()
    async with asyncio.timeout(10), Chunks(told) as log:
        await log.write("all")
        await told.asked.wait()
        await asyncio.sleep(0)
    assert texts(told.requests) == [["all"], [""]]
    assert told.requests[-1][0]["last_chunk"]


async def test_a_quick_maker_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_ITEMS", 3)
    told = Told()
    async with asyncio.timeout(10), Chunks(told) as log:
        await log.write("first")
        await told.asked.wait()
        for n in range(3):
            await log.write(str(n))
        more = asyncio.ensure_future(log.write("3"))
        await asyncio.sleep(0)
        assert not more.done()
        told.let.set()
        await more
    assert max(len(request) for request in told.requests) == 3
    assert texts([[item for items in told.requests for item in items]]) == [["first", "0", "1", "2", "3", ""]]


async def test_a_maker_hears_that_the_lease_is_lost() -> None:
    told = Told()
    told.let.set()
    told.refuses = Conflict("the lease is gone", status=409)

    async def make() -> None:
        async with asyncio.timeout(10), Chunks(told) as log:
            while True:
                await log.write("x")
                await asyncio.sleep(0)

    with pytest.raises(Conflict):
        await make()


async def test_leaving_with_an_error_ends_no_artifact() -> None:
    told = Told()

    async def fail() -> None:
        async with asyncio.timeout(10), Chunks(told) as log:
            await log.write("x")
            await told.asked.wait()
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert not any(item["last_chunk"] for request in told.requests for item in request)
