"""What an executor reports: it started, it is done, it failed, it will not."""

from datetime import timedelta
from uuid import uuid4

import pytest

from core.errors import Conflict, Forbidden, InvalidTransition, NotFound
from core.tasks.task import Policy, RetryPolicy
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import EAGER, Stage


async def test_work_begins_and_is_done(stage: Stage) -> None:
    agent, task = await stage.agent(), await stage.submit()
    held = await stage.take(agent, start=False)
    started = await stage.start(agent, task.id, held.lease_id)
    assert (started.state, started.started_at) == (TaskState.IN_PROGRESS, stage.clock.now())
    done = await stage.complete(agent, task.id, held.lease_id, {"answer": 42})
    assert (done.state, done.output, done.finished_at) == (
        TaskState.COMPLETED,
        {"answer": 42},
        stage.clock.now(),
    )
    assert await stage.outcomes(task.id) == ["completed"]
    assert await stage.moves(task.id) == ["claim", "start", "complete"]


async def test_starting_twice_changes_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    stage.clock.advance(1)
    assert await stage.start(agent, task.id, lease) == await stage.get(task.id)
    assert (await stage.get(task.id)).version == task.version


async def test_completing_twice_with_an_equal_output_changes_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    done = await stage.complete(agent, task.id, lease, {"a": [1, 2.5, None]})
    stage.clock.advance(100)
    assert await stage.complete(agent, task.id, lease, {"a": [1, 2.5, None]}) == done
    assert (await stage.moves(task.id)).count("complete") == 1


async def test_completing_twice_with_another_output_is_refused(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    done = await stage.complete(agent, task.id, lease, 1)
    with pytest.raises(Conflict):
        await stage.complete(agent, task.id, lease, 2)
    assert await stage.get(task.id) == done


async def test_a_task_must_be_started_before_it_is_done(stage: Stage) -> None:
    agent, task = await stage.agent(), await stage.submit()
    held = await stage.take(agent, start=False)
    with pytest.raises(InvalidTransition) as refused:
        await stage.complete(agent, task.id, held.lease_id)
    assert refused.value.details == {
        "task_id": str(task.id),
        "current_state": "claimed",
        "requested_state": "completed",
    }


async def test_a_reported_failure_is_final_unless_the_policy_lists_it(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    failed = await stage.fail(agent, task.id, lease)
    assert failed.state is TaskState.FAILED
    assert failed.error == {"category": "broken", "message": "it broke", "recoverable": True}
    assert await stage.outcomes(task.id) == ["failed"]


async def test_a_listed_failure_is_tried_again_after_a_pause(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=EAGER)
    put_back = await stage.fail(agent, task.id, lease, "flaky")
    assert (put_back.state, put_back.retry_count) == (TaskState.PENDING, 1)
    assert put_back.ready_at == stage.clock.now() + timedelta(seconds=5)
    assert [kind for kind, _ in await stage.told(task.id)][-1] == "task.retry_scheduled"
    await stage.later(4)
    assert not (await stage.claim(agent)).items
    await stage.later(1)
    assert (await stage.take(agent)).task.attempt == 2


async def test_a_failure_that_is_not_recoverable_is_final(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=EAGER)
    assert (await stage.fail(agent, task.id, lease, "flaky", recoverable=False)).state is TaskState.FAILED


@pytest.mark.parametrize(
    ("strategy", "pauses"), [("fixed", [2, 2, 2]), ("linear", [2, 4, 6]), ("exponential", [2, 4, 8])]
)
async def test_pauses_grow_as_the_strategy_says(stage: Stage, strategy: str, pauses: list[int]) -> None:
    retry = RetryPolicy(4, strategy, 2.0, ("flaky",))
    agent = await stage.agent()
    task = await stage.submit(policy=Policy(retry=retry))
    for pause in pauses:
        lease = (await stage.take(agent)).lease_id
        put_back = await stage.fail(agent, task.id, lease, "flaky")
        assert put_back.ready_at == stage.clock.now() + timedelta(seconds=pause)
        await stage.later(pause)
    lease = (await stage.take(agent)).lease_id
    assert (await stage.fail(agent, task.id, lease, "flaky")).state is TaskState.FAILED


async def test_reporting_a_final_failure_twice_changes_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    failed = await stage.fail(agent, task.id, lease)
    assert await stage.fail(agent, task.id, lease) == failed
    assert (await stage.moves(task.id)).count("fail") == 1


async def test_reporting_a_retried_failure_twice_changes_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=EAGER)
    put_back = await stage.fail(agent, task.id, lease, "flaky")
    assert await stage.fail(agent, task.id, lease, "flaky") == put_back
    assert (await stage.get(task.id)).retry_count == 1


async def test_a_completed_task_cannot_fail_nor_a_failed_one_complete(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.complete(agent, task.id, lease)
    with pytest.raises(Conflict):
        await stage.fail(agent, task.id, lease)
    _, other, second = await stage.started(agent)
    await stage.fail(agent, other.id, second)
    with pytest.raises(Conflict):
        await stage.complete(agent, other.id, second)
    assert await stage.state(task.id) is TaskState.COMPLETED
    assert await stage.state(other.id) is TaskState.FAILED


async def test_an_executor_may_refuse_for_good(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    refused = await stage.refuse(agent, task.id, lease)
    assert (refused.state, refused.status_message) == (TaskState.REJECTED, [{"text": "not mine"}])
    assert await stage.outcomes(task.id) == ["refused"]


async def test_an_executor_may_hand_a_task_back_and_others_come_first(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    put_back = await stage.refuse(agent, task.id, lease, requeue=True)
    assert (put_back.state, put_back.retry_count) == (TaskState.PENDING, 0)
    other = await stage.submit()
    assert (await stage.take(await stage.agent("bob"))).task.id == other.id
    await stage.later(1)
    assert (await stage.take(agent)).task.id == task.id


async def test_an_operator_fails_a_task_that_somebody_else_holds(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    failed = await stage.fail(stage.admin, task.id, None)
    assert failed.state is TaskState.FAILED
    assert (await stage.moves(task.id))[-1] == "give_up"
    with pytest.raises(Conflict):
        await stage.complete(agent, task.id, lease)


async def test_naming_another_executor_is_refused(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    with pytest.raises(Forbidden):
        await stage.complete(agent, task.id, lease, agent_id=uuid4())
    done = await stage.complete(agent, task.id, lease, agent_id=agent.principal_id)
    assert done.state is TaskState.COMPLETED


async def test_a_missing_and_a_foreign_task_look_alike(stage: Stage) -> None:
    _, task, lease = await stage.started()
    stranger = await stage.agent("stranger")
    texts = []
    for task_id in (task.id, uuid4()):
        with pytest.raises(NotFound) as refused:
            await stage.complete(stranger, task_id, lease)
        texts.append(refused.value.message)
    assert texts[0] == texts[1]


async def test_nothing_of_one_tenant_is_reached_from_another(stage: Stage) -> None:
    _, task, lease = await stage.started()
    elsewhere = Stage(stage.platform, stage.clock)
    for caller in (elsewhere.admin, elsewhere.user, elsewhere.caller(Scope.WORKER, "worker")):
        with pytest.raises(NotFound):
            await stage.complete(caller, task.id, lease)
        with pytest.raises(NotFound):
            await stage.cancel(task.id, by=caller)
        with pytest.raises(NotFound):
            await stage.get(task.id, by=caller)


async def test_a_task_that_takes_too_long_is_ended(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.submit(policy=Policy(timeout_seconds=30))
    held = await stage.take(agent, lease_seconds=600)
    await stage.later(29)
    assert await stage.state(held.task.id) is TaskState.IN_PROGRESS
    await stage.later(1)
    now = await stage.get(held.task.id)
    assert now.state is TaskState.FAILED
    assert now.error is not None
    assert now.error["category"] == "timeout"


async def test_a_timeout_is_tried_again_when_the_policy_lists_it(stage: Stage) -> None:
    retry = RetryPolicy(2, "fixed", 1.0, ("timeout",))
    agent = await stage.agent()
    task = await stage.submit(policy=Policy(retry=retry, timeout_seconds=30))
    await stage.take(agent, lease_seconds=600)
    await stage.later(30)
    assert await stage.state(task.id) is TaskState.PENDING
    await stage.later(1)
    await stage.take(agent, lease_seconds=600)
    await stage.later(29)
    assert await stage.state(task.id) is TaskState.IN_PROGRESS
    await stage.later(1)
    assert await stage.state(task.id) is TaskState.FAILED


async def test_metrics_are_kept_beside_the_output(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    done = await stage.complete(agent, task.id, lease, "x", metrics={"tokens": 7})
    assert done.report == {"metrics": {"tokens": 7}}
