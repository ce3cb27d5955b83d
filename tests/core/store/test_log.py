"""The log: contiguous positions in the order of cause, whoever writes."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa

from core.caller import SYSTEM, Caller
from core.errors import NotFound
from core.platform import Platform
from core.store import EVENTS, Tx
from core.store.tables import event
from tests.conftest import OpenStore
from tests.core.store import ledger
from tests.core.store.ledger import Count, Nothing, Open

SECONDS = 10.0


@dataclass(frozen=True)
class Entry:
    pos: int
    task_id: UUID | None
    version: int | None
    actor_type: str
    entity_id: UUID | None


async def log(tx: Tx, _: Nothing) -> list[Entry]:
    rows = await tx.all(sa.select(event).order_by(event.c.pos))
    return [Entry(row.pos, row.task_id, row.version, row.actor_type, row.entity_id) for row in rows]


async def log_of(platform: Platform, length: int) -> list[Entry]:
    """The log, once it is that long."""
    deadline = time.monotonic() + SECONDS
    while True:
        with platform.hints.listen([EVENTS]) as woken:
            entries = await platform.read(SYSTEM(uuid4()), log, Nothing())
            if len(entries) >= length:
                return entries
            assert time.monotonic() < deadline, f"{len(entries)} of {length} events after {SECONDS} s"
            await woken.wait(0.5)


async def test_an_event_says_who_did_what_to_which(platform: Platform, operator: Caller) -> None:
    task = uuid4()
    await platform.write(operator, ledger.open_one, Open("a", task))
    assert await log_of(platform, 1) == [Entry(1, task, 1, "system", task)]


async def test_positions_are_contiguous_and_versions_ascend_under_many_writers(
    platform: Platform, operator: Caller
) -> None:
    tasks = [uuid4() for _ in range(16)]

    async def writer(n: int) -> None:
        for step in range(25):
            task = tasks[(n + step) % len(tasks)]
            await platform.write(operator, ledger.count_up, Count(str(task), task))

    await asyncio.gather(*(writer(n) for n in range(8)))
    entries = await log_of(platform, 200)
    assert [entry.pos for entry in entries] == list(range(1, 201))
    for task in tasks:
        versions = [entry.version for entry in entries if entry.task_id == task]
        assert versions == list(range(1, len(versions) + 1))


async def test_what_was_rolled_back_leaves_no_gap(platform: Platform, operator: Caller) -> None:
    async def sometimes(tx: Tx, command: Open) -> None:
        await ledger.open_one(tx, command)
        if int(command.name) % 2:
            raise NotFound("no")

    await asyncio.gather(
        *(platform.write(operator, sometimes, Open(str(n))) for n in range(60)), return_exceptions=True
    )
    assert [entry.pos for entry in await log_of(platform, 30)] == list(range(1, 31))


async def test_the_log_goes_on_where_it_ended(
    platform: Platform, operator: Caller, open_another: OpenStore
) -> None:
    await platform.write(operator, ledger.open_one, Open("a"))
    await log_of(platform, 1)
    await platform.stop()
    again = Platform(await open_another())
    await again.write(operator, ledger.open_one, Open("b"))
    assert [entry.pos for entry in await log_of(again, 2)] == [1, 2]


async def test_readers_of_the_log_are_woken_when_it_grows(platform: Platform, operator: Caller) -> None:
    with platform.hints.listen([EVENTS]) as woken:
        await platform.write(operator, ledger.open_one, Open("a"))
        assert await woken.wait(SECONDS)
    assert len(await log_of(platform, 1)) == 1
