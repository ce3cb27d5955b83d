"""What one transaction promises, on both databases."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
import sqlalchemy as sa

from core.caller import SYSTEM, Caller
from core.errors import Conflict, HubError, NotFound, Unavailable
from core.platform import Platform
from core.store import Statement, Tx
from core.store.tables import conversation, event
from tests.conftest import OpenStore
from tests.core.store import ledger
from tests.core.store.ledger import Count, Nothing, Open
from tests.fakes import FakeClock

SECONDS = 5.0


async def kinds(tx: Tx, _: Nothing) -> list[tuple[int, str, str | None]]:
    rows = await tx.all(
        sa.select(event.c.pos, event.c.kind, event.c.data)
        .where(event.c.tenant_id == sa.bindparam("caller_tenant"))
        .order_by(event.c.pos)
    )
    return [(row.pos, row.kind, row.data.get("name")) for row in rows]


async def test_a_command_commits_what_it_added_wrote_and_announced(
    platform: Platform, operator: Caller
) -> None:
    with platform.hints.listen(["route:1"]) as woken:
        opened = await platform.write(operator, ledger.open_one, Open("a"))
        assert opened.name == "a"
        assert await woken.wait(SECONDS)
    assert await platform.read(operator, ledger.titles, Nothing()) == ["a"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (ledger.open_and_refuse, NotFound),
        (ledger.write_and_refuse, Conflict),
        (ledger.write_and_break, ZeroDivisionError),
    ],
)
async def test_a_failed_command_leaves_nothing_and_wakes_nobody(
    platform: Platform, operator: Caller, command: "object", error: type[Exception]
) -> None:
    assert callable(command)
    with platform.hints.listen(["route:1"]) as woken:
        with pytest.raises(error):
            await platform.write(operator, command, Open("a"))
        assert not await woken.wait(0)
    assert await platform.read(operator, ledger.titles, Nothing()) == []
    assert await platform.read(operator, kinds, Nothing()) == []


async def test_calls_that_fail_do_not_harm_those_beside_them(platform: Platform, operator: Caller) -> None:
    moods = ["fine", "refuse", "fine", "write-refuse", "fine", "break", "twice", "fine"]
    names = [f"{mood}:{n}" for n, mood in enumerate(moods * 8)]
    results = await asyncio.gather(
        *(platform.write(operator, ledger.moody, Open(name)) for name in names), return_exceptions=True
    )
    expected = {
        "refuse": NotFound,
        "write-refuse": Conflict,
        "break": ZeroDivisionError,
        "twice": Conflict,
        "fine": ledger.Opened,
    }
    for name, result in zip(names, results, strict=True):
        assert type(result) is expected[name.partition(":")[0]], name
    fine = {name for name in names if name.startswith("fine")}
    assert set(await platform.read(operator, ledger.titles, Nothing())) == fine


async def test_a_broken_uniqueness_rule_is_a_conflict(platform: Platform, operator: Caller) -> None:
    await platform.write(operator, ledger.open_one, Open("a"))
    with pytest.raises(Conflict) as caught:
        await platform.write(operator, ledger.open_one, Open("a"))
    assert caught.value.details == {"reason_code": "already_exists", "resource": "conversation"}


async def test_after_commit_is_called_once_and_never_after_a_failure(
    platform: Platform, operator: Caller
) -> None:
    called: list[str] = []

    async def note(tx: Tx, command: Open) -> None:
        tx.after_commit(lambda: called.append(command.name))
        if command.name == "bad":
            raise NotFound("no")

    await platform.write(operator, note, Open("good"))
    with pytest.raises(NotFound):
        await platform.write(operator, note, Open("bad"))
    assert called == ["good"]


async def test_what_was_added_is_seen_after_a_flush(platform: Platform, operator: Caller) -> None:
    async def add_and_look(tx: Tx, command: Open) -> list[str]:
        tx.add(ledger.INSERT, **ledger.row(tx, command.name))
        await tx.flush()
        return await ledger.titles(tx, Nothing())

    assert await platform.write(operator, add_and_look, Open("a")) == ["a"]


async def test_a_refusal_after_a_flush_leaves_nothing(platform: Platform, operator: Caller) -> None:
    async def flush_and_refuse(tx: Tx, command: Open) -> None:
        if command.name.startswith("bad"):
            tx.add(ledger.INSERT, **ledger.row(tx, command.name))
            await tx.flush()
            raise NotFound("no")
        tx.add(ledger.INSERT, **ledger.row(tx, command.name))

    names = [f"{'bad' if n % 3 == 0 else 'good'}{n}" for n in range(12)]
    await asyncio.gather(
        *(platform.write(operator, flush_and_refuse, Open(name)) for name in names), return_exceptions=True
    )
    titles = await platform.read(operator, ledger.titles, Nothing())
    assert set(titles) == {name for name in names if name.startswith("good")}


async def test_run_counts_rows(platform: Platform, operator: Caller) -> None:
    of_tenant = conversation.c.tenant_id == sa.bindparam("caller_tenant")
    named = sa.select(conversation.c.context_id).where(of_tenant).cte("named")
    plain = Statement(sa.update(conversation).values(title="x").where(of_tenant))
    returning = Statement(
        sa.update(conversation).values(title="x").where(of_tenant).returning(conversation.c.title)
    )
    with_cte = Statement(
        sa.update(conversation)
        .values(title="x")
        .where(of_tenant, conversation.c.context_id.in_(sa.select(named)))
    )

    async def count(tx: Tx, _: Nothing) -> Sequence[int]:
        return [await tx.run(statement) for statement in (plain, returning, with_cte)]

    assert await platform.write(operator, count, Nothing()) == [0, 0, 0]
    for name in "abc":
        await platform.write(operator, ledger.open_one, Open(name))
    assert await platform.write(operator, count, Nothing()) == [3, 3, 3]


async def test_a_transaction_has_one_time_and_growing_ids(
    platform: Platform, operator: Caller, clock: FakeClock
) -> None:
    async def look(tx: Tx, _: Nothing) -> None:
        before = tx.now
        clock.advance(60)
        assert tx.now == before
        assert tx.new_id() < tx.new_id()

    started = clock.now()
    await platform.write(operator, look, Nothing())
    assert (platform.now() - started).total_seconds() == 60


async def test_statements_see_only_what_the_caller_binds(platform: Platform, operator: Caller) -> None:
    other = SYSTEM(uuid4())
    await platform.write(operator, ledger.open_one, Open("mine"))
    await platform.write(other, ledger.open_one, Open("theirs"))
    assert await platform.read(operator, ledger.titles, Nothing()) == ["mine"]
    assert await platform.read(other, ledger.titles, Nothing()) == ["theirs"]


async def test_calls_about_one_thing_keep_their_order(platform: Platform, operator: Caller) -> None:
    task = uuid4()
    counted = await asyncio.gather(
        *(platform.write(operator, ledger.count_up, Count("n", task)) for _ in range(40))
    )
    assert counted == list(range(1, 41))


async def test_a_query_may_not_write(platform: Platform, operator: Caller) -> None:
    with pytest.raises(Exception, match="read-only"):
        await platform.read(operator, ledger.count_up, Count("n"))


async def test_a_query_that_fails_does_not_harm_those_beside_it(platform: Platform, operator: Caller) -> None:
    async def look(tx: Tx, command: Open) -> str:
        if command.name == "refuse":
            raise NotFound("no")
        if command.name == "break":
            await tx.all(sa.select(sa.literal_column("nonsense").label("n")))
        return command.name

    names = ["a", "refuse", "b", "break", "c"] * 4
    results = await asyncio.gather(
        *(platform.read(operator, look, Open(name)) for name in names), return_exceptions=True
    )
    for name, result in zip(names, results, strict=True):
        assert result == name or isinstance(result, Exception) == (name in ("refuse", "break"))


async def test_a_cancelled_awaiter_does_not_stop_its_command(platform: Platform, operator: Caller) -> None:
    waiting = [
        asyncio.create_task(platform.write(operator, ledger.open_one, Open(str(n)))) for n in range(20)
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await platform.stop()
    await platform.start()
    assert len(await platform.read(operator, ledger.titles, Nothing())) == 20


async def test_stopping_finishes_what_was_handed_over_and_refuses_the_rest(
    open_another: OpenStore, operator: Caller
) -> None:
    platform = Platform(await open_another())
    waiting = [
        asyncio.create_task(platform.write(operator, ledger.open_one, Open(str(n)))) for n in range(50)
    ]
    await asyncio.sleep(0)
    await platform.store.stop()
    opened = await asyncio.wait_for(asyncio.gather(*waiting), SECONDS)
    assert len(opened) == 50
    with pytest.raises(Unavailable):
        await platform.write(operator, ledger.open_one, Open("late"))
    with pytest.raises(Unavailable):
        await platform.read(operator, ledger.titles, Nothing())


async def test_errors_of_one_family_are_told_as_they_were_raised(
    platform: Platform, operator: Caller
) -> None:
    refusal = Conflict("taken", details={"a": 1}, hint="try another")

    async def refuse(tx: Tx, _: Nothing) -> None:
        raise refusal

    with pytest.raises(HubError) as caught:
        await platform.write(replace(operator, replay_key="k"), refuse, Nothing())
    assert caught.value is refusal
