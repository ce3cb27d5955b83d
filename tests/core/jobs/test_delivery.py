"""Deliveries: at least once, in order, stubborn but not for ever, and in nobody's way."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from core.caller import SYSTEM
from core.deliveries import (
    KEPT,
    Delivery,
    ListDeliveries,
    Redeliver,
    forget_deliveries,
    list_deliveries,
    redeliver,
)
from core.errors import Conflict, NotFound
from core.jobs.delivery import Pace
from core.platform import Platform
from core.push import OneConfig, PushConfig, delete_config, get_config
from core.store import Store
from core.tasks.task import Task
from schemas.vocabulary import DeliveryState
from tests.conftest import OpenStore
from tests.core.jobs.office import BUSY, GONE, SWIFT, Office, Receivers, until
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock

URL = "https://a.example/x"


async def told_about(office: Office, stage: Stage, url: str = URL) -> tuple[Task, PushConfig]:
    """A task about which somebody is told."""
    task = await stage.submit()
    return task, await office.tell(stage.user, task.id, url)


async def work(stage: Stage, task: Task) -> None:
    """The task is claimed, started and completed: three changes of state, and one assignment."""
    agent = await stage.agent()
    held = await stage.take(agent)
    assert held.task.id == task.id
    await stage.complete(agent, task.id, held.lease_id)


async def is_done(office: Office) -> bool:
    """Whether everything that was to be told is settled, and something was."""
    deliveries = await office.deliveries()
    settled = bool(deliveries) and all(d.settled_at is not None for d in deliveries)
    return settled and await office.queues() == 0


async def test_every_event_after_the_configuration_is_told_in_order(office: Office, stage: Stage) -> None:
    task, config = await told_about(office, stage)
    other = await stage.submit()
    await work(stage, task)
    await stage.cancel(other.id)
    await until(lambda: len(office.receivers.heard) == 3)
    await until(lambda: is_done(office))
    told = await office.deliveries()
    assert office.receivers.of(URL) == [d.pos for d in told] == sorted(d.pos for d in told)
    assert {(d.state, d.target_id, d.entity_id, d.attempt) for d in told} == {
        (DeliveryState.DELIVERED, config.id, task.id, 1)
    }
    assert {d.response_status for d in told} == {200}
    assert await office.queues() == 0


async def test_what_says_nothing_to_the_target_is_not_sent_and_leaves_no_trace(
    office: Office, stage: Stage
) -> None:
    task, _ = await told_about(office, stage)
    office.composer.silent = set(range(1000))
    await work(stage, task)
    await until(lambda: _no_rows(office))
    assert office.receivers.tried == []


async def _no_rows(office: Office) -> bool:
    return office.fanout._reached > 3 and not await office.deliveries() and not await office.queues()


@pytest.mark.requirement("13.2-retries", "4.3.3-at-least-once", on="webhook")
async def test_a_failed_one_is_tried_again_later_and_the_next_waits_for_it(
    office: Office, stage: Stage, clock: FakeClock
) -> None:
    office.receivers.scripts[URL] = [BUSY, BUSY]
    task, _ = await told_about(office, stage)
    await work(stage, task)
    await until(lambda: _states_are(office, ["failed", "pending", "pending"]))
    first = (await office.deliveries())[0]
    assert (first.attempt, first.response_status, first.error) == (1, 503, "status")
    assert first.next_at is not None
    assert (first.next_at - clock.now()).total_seconds() == 5
    clock.advance(4.9)
    await asyncio.sleep(0.05)
    assert len(office.receivers.tried) == 1
    clock.advance(0.2)
    await until(lambda: len(office.receivers.tried) == 2)
    await until(lambda: _attempts_are(office, [2, 0, 0]))
    clock.advance(30.1)
    await until(lambda: is_done(office))
    assert await office.states() == ["delivered"] * 3
    assert office.receivers.of(URL) == sorted(office.receivers.of(URL))


async def _states_are(office: Office, states: list[str]) -> bool:
    return await office.states() == states


async def _attempts_are(office: Office, attempts: list[int]) -> bool:
    return [d.attempt for d in await office.deliveries()] == attempts


@pytest.mark.requirement("4.3.3-timeout", on="webhook")
async def test_a_receiver_that_does_not_answer_is_given_up_for_this_time(
    platform: Platform, stage: Stage
) -> None:
    office = Office(platform, pace=Pace(retries=(5.0,), jitter=0.0, backstop=0.02, lease_seconds=5.05))
    await office.open()
    try:
        office.receivers.close(URL)
        task, _ = await told_about(office, stage)
        await stage.cancel(task.id)
        await until(lambda: _states_are(office, ["failed"]))
        assert [(d.attempt, d.error) for d in await office.deliveries()] == [(1, "timeout")]
    finally:
        await office.shut()


async def test_after_the_last_try_it_is_dead_and_blocks_no_other(
    office: Office, stage: Stage, clock: FakeClock
) -> None:
    office.receivers.scripts[URL] = [BUSY, BUSY, BUSY]
    task, _ = await told_about(office, stage)
    await work(stage, task)
    for n in (1, 2):
        await until(lambda n=n: _attempts_are(office, [n, 0, 0]))  # type: ignore[misc]
        clock.advance(40)
    await until(lambda: is_done(office))
    assert await office.states() == ["dead", "delivered", "delivered"]
    dead = (await office.deliveries())[0]
    assert (dead.attempt, dead.next_at, dead.error) == (3, None, "status")


async def test_a_receiver_that_wants_nothing_more_is_told_nothing_more(office: Office, stage: Stage) -> None:
    office.receivers.scripts[URL] = [GONE]
    task, config = await told_about(office, stage)
    await work(stage, task)
    # An event that was being fanned out in that moment makes a delivery, which is buried without a try.
    await until(lambda: is_done(office))
    await until(lambda: _are_all_dead(office))
    assert len(office.receivers.tried) == 1
    now = await office.platform.read(stage.user, get_config, OneConfig(task.id, config.config_id))
    assert (now.live, now.disabled) == (False, "gone")
    await until(lambda: _no_queues(office))


async def _are_all_dead(office: Office) -> bool:
    return set(await office.states()) == {"dead"}


async def _no_queues(office: Office) -> bool:
    return await office.queues() == 0


async def test_a_configuration_put_again_hears_again(office: Office, stage: Stage) -> None:
    office.receivers.scripts[URL] = [GONE]
    task, config = await told_about(office, stage)
    agent = await stage.agent()
    held = await stage.take(agent)
    await until(lambda: is_done(office))
    again = await office.tell(stage.user, task.id, "https://b.example/y", config_id=config.config_id)
    assert (again.id, again.live, again.disabled) == (config.id, True, None)
    await stage.complete(agent, task.id, held.lease_id)
    await until(lambda: len(office.receivers.of("https://b.example/y")) == 1)


@pytest.mark.requirement("3.1.10-silent", on="webhook")
async def test_a_deleted_configuration_hears_nothing_and_its_record_is_gone(
    office: Office, stage: Stage
) -> None:
    office.receivers.scripts[URL] = [BUSY]
    task, config = await told_about(office, stage)
    await work(stage, task)
    await until(lambda: _states_are(office, ["failed", "pending", "pending"]))
    for _ in range(2):  # deleting it again does nothing
        await office.platform.write(stage.user, delete_config, OneConfig(task.id, config.config_id))
    assert await office.deliveries() == []
    assert await office.queues() == 0
    with pytest.raises(NotFound):
        await office.platform.read(stage.user, get_config, OneConfig(task.id, config.config_id))


async def test_a_fault_of_ours_counts_as_a_failed_try(office: Office, stage: Stage) -> None:
    task, _ = await told_about(office, stage)
    office.composer.broken = set(range(1000))
    await work(stage, task)
    await until(lambda: _states_are(office, ["failed", "pending", "pending"]))
    assert (await office.deliveries())[0].error == "fault"


async def test_an_endpoint_gets_four_requests_at_once_and_a_stuck_one_keeps_nobody_waiting(
    office: Office, stage: Stage
) -> None:
    stuck = [f"https://slow.example/{n}" for n in range(8)]
    gates = [office.receivers.close(url) for url in stuck]
    for url in stuck:
        task, _ = await told_about(office, stage, url)
        await stage.cancel(task.id)
    await until(lambda: office.receivers.now["https://slow.example"] == 4)
    task, _ = await told_about(office, stage)
    await stage.cancel(task.id)
    await until(lambda: len(office.receivers.of(URL)) == 1)
    assert len(office.receivers.tried) == 5
    for gate in gates:
        gate.set()
    await until(lambda: len(office.receivers.heard) == 9)
    assert office.receivers.most["https://slow.example"] == 4


async def test_a_long_queue_lets_others_of_its_endpoint_have_their_turn(
    platform: Platform, stage: Stage, clock: FakeClock
) -> None:
    office = Office(platform, pace=Pace(in_flight=1, in_a_row=2, backstop=0.02))
    gate = office.receivers.close("https://a.example/long")
    await office.open()
    try:
        long, _ = await told_about(office, stage, "https://a.example/long")
        await work(stage, long)
        await until(lambda: office.receivers.now["https://a.example"] == 1)
        short, _ = await told_about(office, stage, "https://a.example/short")
        await stage.cancel(short.id)
        await until(lambda: _count_is(office, 4))
        clock.advance(1)
        gate.set()
        await until(lambda: len(office.receivers.heard) == 4)
        assert [url.rpartition("/")[2] for url, _ in office.receivers.heard] == [
            "long",
            "long",
            "short",
            "long",
        ]
    finally:
        await office.shut()


async def _count_is(office: Office, n: int) -> bool:
    return len(await office.deliveries()) == n


async def test_a_crash_only_repeats(platform: Platform, stage: Stage, clock: FakeClock) -> None:
    crashed = Office(platform)
    gate = crashed.receivers.close(URL)
    await crashed.open()
    task, _ = await told_about(crashed, stage)
    await stage.cancel(task.id)
    await until(lambda: len(crashed.receivers.tried) == 1)
    for running in (*crashed.courier._running, *crashed.courier._serving):
        running.cancel()  # as if the process had died: nothing is given back
    next_one = Office(platform)
    await next_one.open()
    try:
        await asyncio.sleep(0.05)
        assert next_one.receivers.tried == []
        clock.advance(SWIFT.lease_seconds + 0.1)
        await until(lambda: len(next_one.receivers.heard) == 1)
        await until(lambda: is_done(next_one))
    finally:
        gate.set()
        await next_one.shut()
        await crashed.shut()


async def test_a_hub_that_is_alone_on_its_database_waits_for_no_lease_of_a_dead_one(
    platform: Platform, stage: Stage
) -> None:
    crashed = Office(platform)
    crashed.receivers.close(URL)
    await crashed.open()
    task, _ = await told_about(crashed, stage)
    await stage.cancel(task.id)
    await until(lambda: len(crashed.receivers.tried) == 1)
    for running in (*crashed.courier._running, *crashed.courier._serving):
        running.cancel()
    next_one = Office(platform, alone=True)
    await next_one.open()
    try:
        await until(lambda: len(next_one.receivers.heard) == 1)
    finally:
        await next_one.shut()
        await crashed.shut()


async def test_a_stop_gives_back_what_is_not_finished(platform: Platform, stage: Stage) -> None:
    first = Office(platform)
    first.receivers.close(URL)
    await first.open()
    task, _ = await told_about(first, stage)
    await stage.cancel(task.id)
    await until(lambda: len(first.receivers.tried) == 1)
    await first.shut()
    second = Office(platform)
    await second.open()
    try:
        await until(lambda: len(second.receivers.heard) == 1)
    finally:
        await second.shut()


@pytest.fixture
async def replicas(
    request: pytest.FixtureRequest, database_url: str, open_another: OpenStore
) -> AsyncIterator[list[Office]]:
    """Three hubs on one database, whose receivers are the same."""
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves one SQLite file")
    receivers = Receivers()
    offices = []
    for _ in range(3):
        store: Store = await open_another()
        office = Office(Platform(store), receivers)
        await office.open()
        offices.append(office)
    yield offices
    for office in offices:
        await office.shut()


async def test_replicas_never_send_the_same_at_once_and_keep_to_four_together(
    replicas: list[Office], clock: FakeClock
) -> None:
    office = replicas[0]
    stage = Stage(office.platform, clock)
    tasks = [await told_about(office, stage, f"https://a.example/{n}") for n in range(12)]
    for task, _ in tasks:
        await stage.cancel(task.id)
    receivers = office.receivers
    await until(lambda: len(receivers.heard) == 12)
    await until(lambda: is_done(office))
    assert len(receivers.tried) == 12
    assert receivers.twice_at_once == []
    assert receivers.most["https://a.example"] <= 4


async def dead_one(office: Office, stage: Stage, clock: FakeClock) -> tuple[PushConfig, Delivery]:
    """A delivery that was given up, before another that was delivered."""
    office.receivers.scripts[URL] = [BUSY, BUSY, BUSY]
    task, config = await told_about(office, stage)
    agent = await stage.agent()
    held = await stage.take(agent, start=False, lease_seconds=600)
    for n in (1, 2):
        await until(lambda n=n: _attempts_are(office, [n]))  # type: ignore[misc]
        clock.advance(40)
    await until(lambda: is_done(office))
    await stage.refuse(agent, task.id, held.lease_id)
    await until(lambda: _states_are(office, ["dead", "delivered"]))
    return config, (await office.deliveries())[0]


async def test_a_dead_one_is_sent_again_when_somebody_says_so(
    office: Office, stage: Stage, clock: FakeClock
) -> None:
    _, dead = await dead_one(office, stage, clock)
    again = await office.platform.write(stage.user, redeliver, Redeliver(dead.id))
    assert (again.state, again.attempt) == (DeliveryState.PENDING, 0)
    await until(lambda: _states_are(office, ["delivered", "delivered"]))
    assert dead.pos in office.receivers.of(URL)
    with pytest.raises(Conflict):
        await office.platform.write(stage.user, redeliver, Redeliver(dead.id))


async def test_the_record_is_read_by_whoever_may_read_the_task_and_by_nobody_else(
    office: Office, stage: Stage, clock: FakeClock
) -> None:
    config, dead = await dead_one(office, stage, clock)
    query = ListDeliveries(config.id)
    listed: list[Delivery] = []
    for reader in (stage.user, stage.admin):
        listed = await office.platform.read(reader, list_deliveries, query)
        assert [d.state.value for d in listed] == ["delivered", "dead"]
    older = ListDeliveries(config.id, before=listed[0].id)
    assert await office.platform.read(stage.user, list_deliveries, older) == [dead]
    of_state = ListDeliveries(config.id, states=[DeliveryState.DEAD])
    assert await office.platform.read(stage.user, list_deliveries, of_state) == [dead]
    dead_letters = ListDeliveries(entity_id=dead.entity_id, states=[DeliveryState.DEAD])
    assert await office.platform.read(stage.admin, list_deliveries, dead_letters) == [dead]
    foreign = Stage(office.platform, clock)
    for stranger in (foreign.user, foreign.admin, stage.caller(foreign.user.scope, "user")):
        assert await office.platform.read(stranger, list_deliveries, query) == []
        with pytest.raises(NotFound):
            await office.platform.write(stranger, redeliver, Redeliver(dead.id))


async def test_the_record_is_kept_for_a_time(office: Office, stage: Stage, clock: FakeClock) -> None:
    await dead_one(office, stage, clock)
    hub = SYSTEM(UUID(int=0))
    await office.platform.write(hub, forget_deliveries, None)
    assert len(await office.deliveries()) == 2
    clock.advance(KEPT.total_seconds() + 60)
    await office.platform.write(hub, forget_deliveries, None)
    assert await office.deliveries() == []
