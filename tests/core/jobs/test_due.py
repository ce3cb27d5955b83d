"""What falls due is done once, by whichever replica looks first."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from core import agents
from core.caller import Caller
from core.errors import Conflict
from core.jobs import due
from core.jobs.runner import SWEEPS, Clockwork, Sweep
from core.platform import Platform
from core.store import open_store
from core.store.tx import Tx
from core.tasks import claim, lease
from schemas.vocabulary import AgentStatus, TaskState
from tests.core.tasks.stage import SECONDS, Stage
from tests.fakes import FakeClock
from tests.properties import law


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> AsyncIterator[Stage]:
    """A tenant, judged when the test is over."""
    stage = Stage(platform, clock)
    yield stage
    offended = law.offences(await stage.numbered())
    assert not offended, law.verdict(offended)


def sweep_of(name: str) -> Sweep:
    return next(sweep for sweep in SWEEPS if sweep.name == name)


async def status(stage: Stage, agent: Caller) -> AgentStatus:
    query = agents.AgentId(agent.principal_id)
    return (await stage.platform.read(stage.admin, agents.get_agent, query)).status


async def last_seen(stage: Stage, agent: Caller) -> datetime:
    query = agents.AgentId(agent.principal_id)
    return (await stage.platform.read(stage.admin, agents.get_agent, query)).last_seen_at


async def test_replicas_that_look_at_once_act_once(stage: Stage, database_url: str, clock: FakeClock) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves one SQLite file")
    other = Platform(open_store(database_url, clock=clock))
    await other.start()
    try:
        agent = await stage.agent(max_concurrent=20)
        tasks = [await stage.submit() for _ in range(20)]
        await stage.claim(agent, limit=20, start=True)
        clock.advance(60)
        lost = sweep_of("lost leases")
        await asyncio.gather(*(Clockwork(p).sweep(lost) for p in (stage.platform, other, stage.platform)))
        for task in tasks:
            assert await stage.moves(task.id) == ["claim", "start", "retry_later"]
    finally:
        await other.stop()


async def test_a_lease_that_was_renewed_meanwhile_is_left_alone(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    stage.clock.advance(59)
    seen = due.Due(stage.tenant, task.id, lease_id)
    await stage.platform.write(agent, lease.renew, lease.RenewLease(task.id, lease_id))
    stage.clock.advance(1)
    await stage.platform.write(stage.admin, due.expire_lease, seen)
    assert await stage.state(task.id) is TaskState.IN_PROGRESS


async def test_a_lease_that_has_given_way_to_a_newer_one_ends_nothing(stage: Stage) -> None:
    agent, task, old = await stage.started()
    await stage.later(60)
    await stage.later(5)
    await stage.take(agent)
    for step in (due.expire_lease, due.time_out):
        await stage.platform.write(stage.admin, step, due.Due(stage.tenant, task.id, old))
    assert await stage.state(task.id) is TaskState.IN_PROGRESS


async def test_a_step_that_comes_late_does_nothing(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    seen = due.Due(stage.tenant, task.id, lease_id)
    await stage.complete(agent, task.id, lease_id)
    version = (await stage.get(task.id)).version
    for step in (
        due.expire_lease,
        due.time_out,
        due.release_delayed,
        due.open_to_all,
        due.cancel_after_grace,
    ):
        await stage.platform.write(stage.admin, step, seen)
    assert (await stage.get(task.id)).version == version


async def test_more_than_one_look_takes_is_done_by_several(stage: Stage) -> None:
    when = stage.clock.now() + timedelta(seconds=10)
    wanted = due.BATCH + 20
    await asyncio.gather(*(stage.submit(ready_at=when) for _ in range(wanted)))
    stage.clock.advance(10)
    delayed = sweep_of("delayed tasks")
    assert await stage.jobs.sweep(delayed) == due.BATCH
    assert await stage.jobs.sweep(delayed) == 20
    assert await stage.jobs.sweep(delayed) == 0


async def test_a_step_that_is_refused_does_not_keep_the_others_from_theirs(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    done = []

    async def look(tx: Tx, _: None) -> list[due.Due]:
        return [due.Due(stage.tenant, uuid4()) for _ in range(3)]

    async def step(tx: Tx, item: due.Due) -> None:
        done.append(item.task_id)
        if len(done) == 1:
            raise Conflict("not now")

    with caplog.at_level(logging.WARNING, "crossdock.jobs"):
        assert await stage.jobs.sweep(Sweep("odd ones", look, step, 1.0)) == 3
    assert len(set(done)) == 3
    assert "odd ones: not now" in caplog.text


async def test_the_clockwork_runs_by_itself_and_survives_a_step_that_breaks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broke = asyncio.Event()

    async def look(tx: Tx, _: None) -> list[Any]:
        broke.set()
        raise ZeroDivisionError

    async def step(tx: Tx, item: Any) -> None: ...

    quick = [Sweep(s.name, s.look, s.step, 0.01) for s in SWEEPS]
    monkeypatch.setattr("core.jobs.runner.SWEEPS", [Sweep("broken", look, step, 0.2), *quick])
    task = await stage.submit(ready_at=stage.clock.now() + timedelta(seconds=5))
    clockwork = Clockwork(stage.platform)
    agent = await stage.agent()
    with caplog.at_level(logging.ERROR, "crossdock.jobs"):
        await clockwork.start()
        try:
            async with asyncio.timeout(SECONDS):
                await broke.wait()
            stage.clock.advance(5)
            wanted = claim.ClaimTasks(agent.principal_id)
            [held] = (await claim.claim_waiting(stage.platform, agent, wanted, SECONDS)).items
        finally:
            await clockwork.stop()
    assert held.task.id == task.id
    assert "broken failed" in caplog.text


async def test_a_silent_agent_weakens_lapses_and_is_lost(stage: Stage) -> None:
    agent = await stage.agent(heartbeat_interval_seconds=60)
    silence = sweep_of("silence")
    for seconds, expected in (
        (59, AgentStatus.ACTIVE),
        (2, AgentStatus.DEGRADED),
        (60, AgentStatus.INACTIVE),
        (300, AgentStatus.OFFLINE),
    ):
        stage.clock.advance(seconds)
        await stage.jobs.sweep(silence)
        assert await status(stage, agent) is expected
    snapshot = await stage.numbered()
    missed = [e for e in snapshot.rows["event"] if e["kind"] == "agent.heartbeat_missed"]
    assert [e["entity_id"] for e in missed] == [agent.principal_id]


async def test_a_call_is_a_heartbeat(stage: Stage) -> None:
    agent = await stage.agent(heartbeat_interval_seconds=60)
    stage.clock.advance(61)
    await stage.jobs.sweep(sweep_of("silence"))
    assert await status(stage, agent) is AgentStatus.DEGRADED
    stage.jobs.presence.heard(agent.principal_id)
    await stage.jobs.count_presence()
    assert await status(stage, agent) is AgentStatus.ACTIVE


async def test_replay_keys_are_forgotten_after_a_week(stage: Stage) -> None:
    keyed = replace(stage.user, replay_key="k")
    first = await stage.submit(by=keyed)
    stage.clock.advance(due.REPLAY_KEPT.total_seconds() - 1)
    await stage.jobs.forget_old()
    assert (await stage.submit(by=keyed)).id == first.id
    stage.clock.advance(2)
    await stage.jobs.forget_old()
    assert (await stage.submit(by=keyed)).id != first.id


async def test_presence_waits_for_nobody_who_works_with_an_agent(stage: Stage, database_url: str) -> None:
    """It holds many agents at once, and so do claims: were it to wait for them, both could stand still."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer")
    busy, free = await stage.agent(), await stage.agent()
    stage.clock.advance(600)
    before = await last_seen(stage, busy)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM agent WHERE id = $1 FOR UPDATE", busy.principal_id)
            clockwork = Clockwork(stage.platform)
            for agent in (busy, free):
                clockwork.presence.heard(agent.principal_id)
            await asyncio.wait_for(clockwork.count_presence(), SECONDS)
    finally:
        await connection.close()
    assert await last_seen(stage, free) == stage.clock.now()
    assert await last_seen(stage, busy) == before
