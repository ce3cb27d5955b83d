"""Replay keys: of equal calls one has an effect, and all get its result."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from core.caller import Caller
from core.errors import Conflict, NotFound
from core.platform import Platform
from core.store import Tx
from core.store.replay import Codec, codec_of, digest, target_of
from core.store.tables import idem
from schemas.vocabulary import TaskState
from tests.conftest import OpenStore
from tests.core.store import ledger
from tests.core.store.ledger import Nothing, Open


@pytest.fixture
def repeater(operator: Caller) -> Caller:
    """A caller that brings a key."""
    return replace(operator, replay_key="once")


async def remembered(tx: Tx, _: Nothing) -> list[Any]:
    return [row.answer for row in await tx.all(sa.select(idem.c.answer))]


async def test_an_equal_repeat_gets_the_first_result(platform: Platform, repeater: Caller) -> None:
    first = await platform.write_once(repeater, ledger.open_one, Open("a"))
    second = await platform.write_once(repeater, ledger.open_one, Open("a"))
    assert (first.replayed, second.replayed) == (False, True)
    assert second.result == first.result
    assert await platform.read(repeater, ledger.titles, Nothing()) == ["a"]


async def test_twenty_sends_at_once_make_one(platform: Platform, repeater: Caller) -> None:
    outcomes = await asyncio.gather(
        *(platform.write_once(repeater, ledger.open_one, Open("a")) for _ in range(20))
    )
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert len({outcome.result for outcome in outcomes}) == 1
    assert await platform.read(repeater, ledger.titles, Nothing()) == ["a"]


async def test_sends_to_two_replicas_at_once_make_one(
    platform: Platform, repeater: Caller, open_another: OpenStore, database_url: str
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves a SQLite file")
    replica = Platform(await open_another())
    for n in range(10):
        caller = replace(repeater, replay_key=f"key {n}")
        outcomes = await asyncio.gather(
            *(
                side.write_once(caller, ledger.count_up, ledger.Count(f"counter {n}"))
                for side in [platform, replica] * 5
            )
        )
        assert {outcome.result for outcome in outcomes} == {1}
        assert sum(not outcome.replayed for outcome in outcomes) == 1


async def test_a_replay_wakes_nobody(platform: Platform, repeater: Caller) -> None:
    await platform.write(repeater, ledger.open_one, Open("a"))
    with platform.hints.listen(["route:1"]) as woken:
        await platform.write(repeater, ledger.open_one, Open("a"))
        assert not await woken.wait(0)


async def test_another_request_under_the_same_key_is_a_conflict(platform: Platform, repeater: Caller) -> None:
    await platform.write(repeater, ledger.open_one, Open("a"))
    with pytest.raises(Conflict) as caught:
        await platform.write(repeater, ledger.open_one, Open("b"))
    assert caught.value.details["reason_code"] == "request_id_reused"


async def test_a_key_belongs_to_its_principal_command_and_target(
    platform: Platform, repeater: Caller
) -> None:
    await platform.write(repeater, ledger.open_one, Open("a"))
    other = replace(repeater, principal_id=uuid4())
    assert not (await platform.write_once(other, ledger.open_one, Open("a"))).replayed
    assert not (await platform.write_once(repeater, ledger.count_up, ledger.Count("a"))).replayed
    assert not (await platform.write_once(repeater, ledger.open_one, Open("b", task_id=uuid4()))).replayed


async def test_a_failure_may_be_tried_again(platform: Platform, repeater: Caller) -> None:
    patience = 1

    async def open_at_last(tx: Tx, command: Open) -> ledger.Opened:
        nonlocal patience
        patience -= 1
        if patience >= 0:
            return await ledger.open_and_refuse(tx, command)
        return await ledger.open_one(tx, command)

    with pytest.raises(NotFound):
        await platform.write(repeater, open_at_last, Open("a"))
    assert await platform.read(repeater, remembered, Nothing()) == []
    assert not (await platform.write_once(repeater, open_at_last, Open("a"))).replayed


async def test_a_secret_is_given_once_and_not_kept(platform: Platform, repeater: Caller) -> None:
    first = await platform.write(repeater, ledger.open_one, Open("a", secretly=True))
    second = await platform.write(repeater, ledger.open_one, Open("a", secretly=True))
    assert (first.token, second.token) == ("hush", None)
    assert "hush" not in json.dumps(await platform.read(repeater, remembered, Nothing()))


async def test_a_batch_of_different_keys_is_recalled_as_a_whole(platform: Platform, repeater: Caller) -> None:
    callers = [replace(repeater, replay_key=str(n)) for n in range(30)]
    first = await asyncio.gather(
        *(platform.write_once(c, ledger.open_one, Open(f"{n}")) for n, c in enumerate(callers[:20]))
    )
    second = await asyncio.gather(
        *(platform.write_once(c, ledger.open_one, Open(f"{n}")) for n, c in enumerate(callers))
    )
    assert [outcome.replayed for outcome in second] == [True] * 20 + [False] * 10
    assert [outcome.result for outcome in second[:20]] == [outcome.result for outcome in first]


@dataclass(frozen=True)
class Inner:
    key: str | None = field(metadata={"secret": True})
    at: datetime


@dataclass(frozen=True)
class Outer:
    id: UUID
    state: TaskState
    parts: Sequence[Inner]
    maybe: Inner | None
    body: dict[str, Any]


async def give_outer(tx: Tx, _: Nothing) -> Outer:
    raise NotImplementedError  # never run: only its annotations are read


def test_results_survive_being_kept_but_for_their_secrets() -> None:
    codec = codec_of(give_outer)
    inner = Inner("hush", datetime(2026, 1, 1, tzinfo=UTC))
    outer = Outer(uuid4(), TaskState.READY, [inner], inner, {"a": [1, "2", None]})
    kept = codec.dump(outer)
    assert "hush" not in kept.decode()
    bare = replace(inner, key=None)
    assert codec.load(json.loads(kept)) == replace(outer, parts=[bare], maybe=bare)


def test_a_secret_that_cannot_be_left_out_is_refused_early() -> None:
    @dataclass(frozen=True)
    class Careless:
        key: str = field(metadata={"secret": True})

    with pytest.raises(TypeError, match="must allow None"):
        Codec(Careless)


def test_arguments_that_say_the_same_have_one_digest() -> None:
    task = uuid4()
    assert digest(Open("a", task)) == digest(Open("a", task))
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    assert digest(Open("a")) != digest(Open("b"))


def test_a_command_is_about_its_task_or_else_its_first_id() -> None:
    @dataclass(frozen=True)
    class Both:
        agent_id: UUID
        task_id: UUID

    @dataclass(frozen=True)
    class Agent:
        name: str
        agent_id: UUID

    one, two = uuid4(), uuid4()
    assert target_of(Both(one, two)) == str(two)
    assert target_of(Agent("a", one)) == str(one)
    assert target_of(Open("a")) == ""
    assert target_of(Nothing()) == ""
