"""A lease is renewed, runs out, and fences everybody else off."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from core.caller import Caller
from core.errors import Conflict, Forbidden, NotFound
from core.tasks import artifacts, lease, messages
from core.tasks.task import LeaseState, Policy, RetryPolicy
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import SECONDS, Stage, reason


async def renew(
    stage: Stage, caller: Caller, task_id: UUID, lease_id: UUID, seconds: int | None = None
) -> LeaseState:
    command = lease.RenewLease(task_id, lease_id, seconds)
    return await stage.platform.write(caller, lease.renew, command)


async def test_a_renewed_lease_lives_on(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    await stage.later(50)
    state = await renew(stage, agent, task.id, lease_id)
    assert state.lease_expires_at == stage.clock.now() + timedelta(seconds=60)
    await stage.later(50)
    assert await stage.state(task.id) is TaskState.IN_PROGRESS
    assert (await stage.get(task.id)).version == task.version


@pytest.mark.parametrize("end", ["complete", "fail", "refuse"])
async def test_a_lease_that_its_holder_has_ended_is_not_renewed(stage: Stage, end: str) -> None:
    agent, task, lease_id = await stage.started()
    ends = {"complete": stage.complete, "fail": stage.fail, "refuse": stage.refuse}
    await ends[end](agent, task.id, lease_id)
    with pytest.raises(Conflict) as refused:
        await renew(stage, agent, task.id, lease_id)
    assert reason(refused.value) == "lease_expired"


async def test_a_renewal_may_ask_for_another_length(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    state = await renew(stage, agent, task.id, lease_id, 600)
    assert state.lease_expires_at == stage.clock.now() + timedelta(seconds=600)


async def test_a_task_that_was_never_started_goes_back_for_free(stage: Stage) -> None:
    agent, task = await stage.agent(), await stage.submit()
    await stage.take(agent, start=False)
    await stage.later(60)
    now = await stage.get(task.id)
    assert (now.state, now.retry_count, now.agent_id) == (TaskState.READY, 0, None)
    assert await stage.outcomes(task.id) == ["expired"]
    assert await stage.moves(task.id) == ["claim", "expire", "release"]


async def test_a_lost_executor_is_replaced_after_a_pause(stage: Stage) -> None:
    _, task, _ = await stage.started()
    await stage.later(60)
    now = await stage.get(task.id)
    assert (now.state, now.retry_count) == (TaskState.PENDING, 1)
    assert now.error is not None
    assert now.error["category"] == "infrastructure"
    assert await stage.outcomes(task.id) == ["expired"]
    await stage.later(5)
    assert await stage.state(task.id) is TaskState.READY
    assert (await stage.take(await stage.agent("bob"))).task.attempt == 2


async def test_a_task_whose_executors_are_lost_too_often_fails(stage: Stage) -> None:
    agent = await stage.agent()
    task = await stage.submit()
    for _ in range(3):
        await stage.take(agent)
        await stage.later(60)
        await stage.later(60)
    now = await stage.get(task.id)
    assert (now.state, now.retry_count) == (TaskState.FAILED, 2)
    assert await stage.outcomes(task.id) == ["expired", "expired", "expired"]
    assert (await stage.moves(task.id))[-1] == "give_up"


async def test_a_task_without_retries_is_given_up_with_its_executor(stage: Stage) -> None:
    policy = Policy(retry=RetryPolicy(max_attempts=1))
    _, task, _ = await stage.started(policy=policy)
    await stage.later(60)
    assert await stage.state(task.id) is TaskState.FAILED


async def _write(stage: Stage, write: str, agent: Caller, task_id: UUID, lease_id: UUID) -> object:
    parts = [{"text": "late"}]
    match write:
        case "complete":
            return await stage.complete(agent, task_id, lease_id)
        case "fail":
            return await stage.fail(agent, task_id, lease_id)
        case "renew":
            return await renew(stage, agent, task_id, lease_id)
        case "ask":
            return await stage.ask(agent, task_id, lease_id)
        case "refuse":
            return await stage.refuse(agent, task_id, lease_id)
        case "say":
            said = messages.AddMessage(task_id, parts, lease_id=lease_id)
            return await stage.platform.write(agent, messages.add_message, said)
    put = artifacts.PutArtifact(task_id, parts, lease_id=lease_id)
    return await stage.platform.write(agent, artifacts.put_artifact, put)


@pytest.mark.parametrize("swept", [True, False])
@pytest.mark.parametrize("write", ["complete", "fail", "renew", "say", "put", "ask", "refuse"])
async def test_no_write_with_an_expired_lease_changes_anything(stage: Stage, write: str, swept: bool) -> None:
    agent, task, lease_id = await stage.started()
    stage.clock.advance(60)
    if swept:
        await stage.sweep()
    before = await stage.get(task.id)
    with pytest.raises(Conflict) as refused:
        await _write(stage, write, agent, task.id, lease_id)
    assert reason(refused.value) == "lease_expired"
    assert await stage.get(task.id) == before


async def test_a_former_holder_learns_that_somebody_else_has_the_task(stage: Stage) -> None:
    slow, task, old = await stage.started()
    await stage.later(60)
    await stage.later(5)
    quick = await stage.agent("quick")
    held = await stage.take(quick)
    before = await stage.get(task.id)
    for attempted in (stage.complete(slow, task.id, old, "late"), stage.fail(slow, task.id, old)):
        with pytest.raises(Conflict) as refused:
            await attempted
        assert reason(refused.value) == "task_ownership_moved"
    assert await stage.get(task.id) == before
    assert (await stage.complete(quick, task.id, held.lease_id, "in time")).output == "in time"
    with pytest.raises(Conflict) as refused:
        await stage.complete(slow, task.id, old, "late")
    assert reason(refused.value) == "task_ownership_moved"


async def test_a_lease_id_is_no_bearer_token(stage: Stage) -> None:
    _, task, lease_id = await stage.started()
    thief = await stage.agent("thief")
    with pytest.raises(NotFound):
        await stage.complete(thief, task.id, lease_id)
    with pytest.raises(Forbidden):
        await stage.complete(stage.user, task.id, lease_id)
    with pytest.raises(Forbidden):
        await renew(stage, stage.user, task.id, lease_id)
    assert await stage.state(task.id) is TaskState.IN_PROGRESS


async def test_an_unknown_lease_is_refused(stage: Stage) -> None:
    agent, task, _ = await stage.started()
    with pytest.raises((Conflict, Forbidden)):
        await stage.complete(agent, task.id, uuid4())
    with pytest.raises((Conflict, Forbidden)):
        await stage.complete(stage.admin, task.id, uuid4())
    assert await stage.state(task.id) is TaskState.IN_PROGRESS


async def test_the_sole_holder_may_leave_the_lease_out(stage: Stage) -> None:
    agent, task, _ = await stage.started()
    assert (await stage.complete(agent, task.id, None)).state is TaskState.COMPLETED


async def test_leaving_the_lease_out_does_not_outlive_it(stage: Stage) -> None:
    agent, task, _ = await stage.started()
    stage.clock.advance(60)
    with pytest.raises(Conflict) as refused:
        await stage.complete(agent, task.id, None)
    assert reason(refused.value) == "lease_expired"


async def test_the_worker_of_an_agent_acts_for_it(stage: Stage) -> None:
    worker = stage.caller(Scope.WORKER, "worker")
    agent = await stage.agent(by=worker)
    task = await stage.submit()
    held = (await stage.claim(agent, by=worker, start=True)).items[0]
    assert (await stage.complete(worker, task.id, held.lease_id)).state is TaskState.COMPLETED


async def test_a_waiting_renewal_hears_a_wish_to_cancel_at_once(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    command = lease.RenewLease(task.id, lease_id)
    waiter = asyncio.create_task(lease.renew_waiting(stage.platform, agent, command, SECONDS))
    await stage.waiters(f"task:{task.id}")
    await stage.cancel(task.id, grace_seconds=10)
    assert (await waiter).cancel_requested


async def test_a_waiting_renewal_ends_with_the_lease(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    command = lease.RenewLease(task.id, lease_id)
    waiter = asyncio.create_task(lease.renew_waiting(stage.platform, agent, command, SECONDS))
    await stage.waiters(f"task:{task.id}")
    await stage.cancel(task.id)
    with pytest.raises(Conflict) as refused:
        await waiter
    assert reason(refused.value) == "task_already_cancelled"


async def test_a_waiting_renewal_hears_an_answer_at_once(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    await stage.ask(agent, task.id, lease_id, hold=True)
    command = lease.RenewLease(task.id, lease_id)
    waiter = asyncio.create_task(lease.renew_waiting(stage.platform, agent, command, SECONDS))
    await stage.waiters(f"task:{task.id}")
    await stage.answer(task.id)
    assert (await waiter).state is TaskState.IN_PROGRESS


async def test_a_renewal_that_waits_in_vain_has_renewed(stage: Stage) -> None:
    agent, task, lease_id = await stage.started()
    command = lease.RenewLease(task.id, lease_id)
    state = await lease.renew_waiting(stage.platform, agent, command, 0.05)
    assert not state.cancel_requested
    assert state.lease_expires_at == stage.clock.now() + timedelta(seconds=60)
