"""What only the PostgreSQL store promises: replicas, races, and a server that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from core.caller import Caller
from core.errors import NotFound, Unavailable
from core.platform import Platform
from core.store import Statement, Store, Tx, open_store
from core.store.batch import Announced, Batch, by_version
from core.store.engine import in_step
from core.store.postgres import PostgresStore
from core.store.relay import payloads
from core.store.tables import consumer
from tests.conftest import OpenStore
from tests.core.store import ledger
from tests.core.store.ledger import Count, Nothing, Open

SECONDS = 10.0


@pytest.fixture
def database_url(empty_postgres: str) -> str:
    """These tests are of PostgreSQL alone."""
    return empty_postgres


@asynccontextmanager
async def admin(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + SECONDS
    while not await holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


async def cut_off(url: str) -> None:
    """End every session of the hub, as a restart of the server does."""
    async with admin(url) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'crossdock' AND datname = current_database()"
        )


def postgres(store: Store) -> PostgresStore:
    assert isinstance(store, PostgresStore)
    return store


async def test_a_query_sees_one_unchanging_view(
    platform: Platform, operator: Caller, database_url: str
) -> None:
    async def look_twice(tx: Tx, _: Nothing) -> tuple[int, int]:
        before = len(await ledger.titles(tx, Nothing()))
        async with admin(database_url) as beside:
            await beside.execute("DELETE FROM conversation")
        return before, len(await ledger.titles(tx, Nothing()))

    await platform.write(operator, ledger.open_one, Open("a"))
    assert await platform.read(operator, look_twice, Nothing()) == (1, 1)
    assert await platform.read(operator, ledger.titles, Nothing()) == []


async def test_a_deadlock_is_tried_again(
    platform: Platform, operator: Caller, open_another: OpenStore
) -> None:
    first_locks = asyncio.Barrier(2)
    rounds: dict[str, int] = {"ab": 0, "ba": 0}
    bump = Statement(
        sa.update(consumer).values(pos=consumer.c.pos + 1).where(consumer.c.name == sa.bindparam("name"))
    )

    async def bump_both(tx: Tx, command: Open) -> None:
        rounds[command.name] += 1
        await tx.run(bump, name=command.name[0])
        if sum(rounds.values()) <= 2:
            await first_locks.wait()
        await tx.run(bump, name=command.name[1])

    for name in "ab":
        await platform.write(operator, ledger.count_up, Count(name))
    replica = Platform(await open_another())
    await asyncio.wait_for(
        asyncio.gather(
            platform.write(operator, bump_both, Open("ab")), replica.write(operator, bump_both, Open("ba"))
        ),
        SECONDS,
    )
    assert sum(rounds.values()) == 3
    assert await platform.write(operator, ledger.count_up, Count("a")) == 4
    assert await platform.write(operator, ledger.count_up, Count("b")) == 4


async def test_calls_go_on_after_the_server_has_dropped_every_session(
    platform: Platform, operator: Caller, database_url: str
) -> None:
    await platform.write(operator, ledger.open_one, Open("before"))
    await cut_off(database_url)

    async def works() -> bool:
        try:
            await platform.write(operator, ledger.count_up, Count("after"))
            return "before" in await platform.read(operator, ledger.titles, Nothing())
        except Unavailable:
            return False

    await eventually(works)


async def test_a_session_that_dies_in_a_call_makes_it_unavailable_and_leaves_nothing(
    platform: Platform, operator: Caller, database_url: str
) -> None:
    async def die(tx: Tx, command: Open) -> None:
        await tx.run(ledger.INSERT, **ledger.row(tx, command.name))
        await cut_off(database_url)
        await tx.run(ledger.INSERT, **ledger.row(tx, command.name + "'"))

    with pytest.raises(Unavailable):
        await platform.write(operator, die, Open("a"))
    assert await platform.read(operator, ledger.titles, Nothing()) == []


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await open_store("postgresql://nobody@127.0.0.1:1/none").start()


async def test_an_argument_that_a_column_cannot_hold_fails_alone(
    platform: Platform, operator: Caller
) -> None:
    names = [f"{n}" if n != 7 else "nul \0" for n in range(20)]
    results = await asyncio.gather(
        *(platform.write(operator, ledger.open_one, Open(name)) for name in names), return_exceptions=True
    )
    failed = [n for n, result in enumerate(results) if isinstance(result, Exception)]
    assert failed == [7]
    assert not isinstance(results[7], Unavailable)


async def test_one_replica_numbers_the_log_and_another_takes_over(
    database_url: str, operator: Caller, open_another: OpenStore
) -> None:
    first, second = postgres(await open_another()), postgres(await open_another())

    async def one_leads() -> bool:
        return first._sequencer.leading != second._sequencer.leading

    await eventually(one_leads)
    leader, follower = (first, second) if first._sequencer.leading else (second, first)
    await Platform(leader).write(operator, ledger.open_one, Open("a"))
    await leader.stop()
    await Platform(follower).write(operator, ledger.open_one, Open("b"))
    async with admin(database_url) as connection:

        async def numbered() -> bool:
            rows = await connection.fetch("SELECT pos FROM event ORDER BY pos")
            return [row["pos"] for row in rows] == [1, 2]

        await eventually(numbered)


async def test_two_leaders_at_once_lose_and_double_nothing(
    platform: Platform, operator: Caller, open_another: OpenStore, database_url: str
) -> None:
    replica = postgres(await open_another())
    ticking = True

    async def usurp() -> None:
        async with admin(database_url) as connection:
            while ticking:
                await replica._sequencer._tick(connection)

    usurper = asyncio.create_task(usurp())
    await asyncio.gather(*(platform.write(operator, ledger.open_one, Open(str(n))) for n in range(300)))
    async with admin(database_url) as connection:

        async def all_numbered() -> bool:
            counted: int = await connection.fetchval("SELECT count(*) FROM event")
            return counted == 300

        await eventually(all_numbered)
        rows = await connection.fetch("SELECT pos, data->>'name' AS name FROM event ORDER BY pos")
    ticking = False
    await asyncio.wait_for(usurper, SECONDS)
    assert [row["pos"] for row in rows] == list(range(1, 301))
    assert {row["name"] for row in rows} == {str(n) for n in range(300)}


async def test_a_commit_wakes_waiters_of_other_replicas(
    platform: Platform, operator: Caller, open_another: OpenStore
) -> None:
    replica = await open_another()
    with replica.hints.listen(["route:1"]) as one, replica.hints.listen(["route:1"]) as two:
        await platform.write(operator, ledger.open_one, Open("a"))
        assert await one.wait(SECONDS)
        assert not await two.wait(0)


async def test_hints_still_travel_after_the_server_has_dropped_every_session(
    platform: Platform, operator: Caller, open_another: OpenStore, database_url: str
) -> None:
    replica = await open_another()
    await cut_off(database_url)

    async def travels() -> bool:
        with replica.hints.listen(["route:1"]) as woken:
            try:
                await platform.write(operator, ledger.count_up, Count("n"))
                platform.store._relay.send({"route:1": 1})  # type: ignore[attr-defined]
            except Unavailable:
                return False
            return await woken.wait(0.2)

    await eventually(travels)


def test_hints_are_cut_into_messages_that_the_server_takes() -> None:
    wakes = {f"route:{n}": n for n in range(2_000)}
    messages = list(payloads("someone", wakes))
    assert len(messages) > 1
    assert all(len(message.encode()) < 8_000 for message in messages)
    assert list(payloads("someone", {})) == []


async def test_time_follows_the_database(database_url: str) -> None:
    class Late:
        """A machine whose clock is an hour behind."""

        def __init__(self, store: PostgresStore) -> None:
            self._clock = store.clock

        def now(self) -> Any:
            return self._clock.now() - timedelta(hours=1)

        def monotonic(self) -> float:
            return self._clock.monotonic()

    store = postgres(open_store(database_url))
    store.clock = Late(store)
    await store.start()
    try:
        async with admin(database_url) as connection:
            there = await connection.fetchval("SELECT clock_timestamp()")
        assert abs(store.now() - there) < timedelta(seconds=1)
    finally:
        await store.stop()


async def test_adds_of_one_command_keep_their_order_among_those_of_others() -> None:
    sent: list[tuple[str, int]] = []

    class Connection:
        async def execute(self, sql: str, *row: Any) -> None:
            sent.append((sql, 1))

        async def executemany(self, sql: str, rows: list[Any]) -> None:
            sent.append((sql, len(rows)))

    batch = Batch()
    for sequence in (
        ["task", "event"],
        ["task", "event"],
        ["conversation", "task"],
        ["conversation", "task"],
    ):
        own, place = Batch(), 0
        for sql in sequence:
            place = own.add(sql, [[]], place)
        batch.absorb(own)
    await batch.flush(Connection())  # type: ignore[arg-type]
    assert sent == [("task", 2), ("event", 2), ("conversation", 2), ("task", 2)]


def test_events_of_one_task_are_written_in_the_order_of_its_versions() -> None:
    one, two = uuid4(), uuid4()
    came = [(one, 3), (two, 1), (None, None), (one, 2), (two, 2), (one, 1)]
    ordered = by_version([Announced(task, version, ()) for task, version in came])
    assert [(event.task_id, event.version) for event in ordered] == [
        (one, 1),
        (two, 1),
        (None, None),
        (one, 2),
        (two, 2),
        (one, 3),
    ]


@in_step
async def count_and_look(tx: Tx, command: Open) -> tuple[int, list[str]]:
    """Count up, add a conversation, see it; refuse and break as the name says."""
    counted = await tx.one(ledger.COUNT_UP, name="shared")
    assert counted is not None
    number: int = counted.pos
    await tx.run(RENAME, name="shared")
    await ledger.open_one(tx, command)
    await tx.flush()
    mine = [title for title in await ledger.titles(tx, Nothing()) if title == command.name]
    if command.name.startswith("break"):
        raise ZeroDivisionError
    return number, mine


@in_step
async def refuse_some(tx: Tx, command: Open) -> str:
    """Refuse, before anything is written, what is called so."""
    await ledger.titles(tx, Nothing())
    tx.event("seen", data={"name": command.name})
    if command.name.startswith("refuse"):
        raise NotFound("no")
    tx.add(ledger.INSERT, **ledger.row(tx, command.name))
    found = await tx.all(sa.select(consumer.c.name).where(consumer.c.name == command.name))
    assert not found
    return command.name


RENAME = Statement(
    sa.update(consumer).values(pos=consumer.c.pos).where(consumer.c.name == sa.bindparam("name"))
)


async def test_commands_in_step_have_the_effects_of_commands_one_by_one(
    platform: Platform, operator: Caller
) -> None:
    names = [f"{n}" for n in range(40)]
    results = await asyncio.gather(*(platform.write(operator, count_and_look, Open(name)) for name in names))
    assert sorted(number for number, _ in results) == list(range(1, 41))
    assert [mine for _, mine in results] == [[name] for name in names]


async def test_a_failure_in_step_is_its_own(platform: Platform, operator: Caller) -> None:
    names = [f"{'break' if n % 9 == 0 else 'fine'} {n}" for n in range(40)]
    results = await asyncio.gather(
        *(platform.write(operator, count_and_look, Open(name)) for name in names), return_exceptions=True
    )
    for name, result in zip(names, results, strict=True):
        assert isinstance(result, ZeroDivisionError) == name.startswith("break")
    fine = {name for name in names if name.startswith("fine")}
    assert set(await platform.read(operator, ledger.titles, Nothing())) == fine


async def test_a_refusal_in_step_drops_what_was_added(platform: Platform, operator: Caller) -> None:
    names = [f"{'refuse' if n % 3 == 0 else 'fine'} {n}" for n in range(40)]
    caller = replace(operator, replay_key="k")
    results = await asyncio.gather(
        *(platform.write(replace(caller, replay_key=name), refuse_some, Open(name)) for name in names),
        return_exceptions=True,
    )
    fine = [name for name in names if name.startswith("fine")]
    assert [result for result in results if isinstance(result, str)] == fine
    assert sorted(await platform.read(operator, ledger.titles, Nothing())) == sorted(fine)
    outcomes = await asyncio.gather(
        *(platform.write_once(replace(caller, replay_key=name), refuse_some, Open(name)) for name in fine)
    )
    assert all(outcome.replayed for outcome in outcomes)
