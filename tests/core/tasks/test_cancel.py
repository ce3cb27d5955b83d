"""A task is cancelled, at once or with grace."""

import pytest

from core.errors import Conflict, Forbidden, InvalidTransition, NotFound
from core.tasks.task import Policy
from schemas.vocabulary import InputKind, Scope, TaskState
from tests.core.tasks.stage import EAGER, Stage, on_face, reason


async def test_a_queued_task_is_cancelled_and_never_claimed(stage: Stage) -> None:
    task = await stage.submit()
    cancelled = await stage.cancel(task.id, reason="changed my mind")
    assert (cancelled.state, cancelled.status_message) == (
        TaskState.CANCELLED,
        [{"text": "changed my mind"}],
    )
    assert not (await stage.claim(await stage.agent())).items


async def test_a_running_task_is_cancelled_and_its_executor_told(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.cancel(task.id)
    assert await stage.outcomes(task.id) == ["cancelled"]
    with pytest.raises(Conflict) as refused:
        await stage.complete(agent, task.id, lease)
    assert reason(refused.value) == "task_already_cancelled"


@pytest.mark.parametrize("where", ["pending", "awaiting", "input", "auth"])
async def test_a_waiting_task_is_cancelled(stage: Stage, where: str) -> None:
    if where == "pending":
        task = await stage.submit(depends_on=[(await stage.submit()).id])
    elif where == "awaiting":
        task = await stage.submit(policy=Policy(requires_approval=True))
    else:
        agent, task, lease = await stage.started()
        await stage.ask(agent, task.id, lease, kind=InputKind(where), hold=where == "auth")
    assert (await stage.cancel(task.id)).state is TaskState.CANCELLED


async def test_cancelling_again_changes_nothing(stage: Stage) -> None:
    task = await stage.submit()
    cancelled = await stage.cancel(task.id)
    stage.clock.advance(1)
    assert await stage.cancel(task.id) == cancelled
    assert await stage.moves(task.id) == ["cancel"]


async def test_a_completed_task_stays_completed(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    done = await stage.complete(agent, task.id, lease)
    assert await stage.cancel(task.id) == done


async def test_a_failed_task_of_rest_is_closed(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.fail(agent, task.id, lease)
    assert (await stage.cancel(task.id)).state is TaskState.CANCELLED


async def test_every_final_state_refuses_where_final_is_final(stage: Stage) -> None:
    user = on_face(stage.user, "a2a")
    agent = await stage.agent()
    ended = []
    for end in (stage.complete, stage.fail):
        task = await stage.submit(by=user)
        held = await stage.take(agent)
        await end(agent, task.id, held.lease_id)
        ended.append(task.id)
    ended.append((await stage.submit(by=user)).id)
    await stage.cancel(ended[-1], by=user)
    for task_id in ended:
        before = await stage.get(task_id)
        with pytest.raises(InvalidTransition):
            await stage.cancel(task_id, by=user, strict=True)
        assert await stage.get(task_id) == before


async def test_with_grace_the_executor_is_asked_and_confirms(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await stage.cancel(task.id, grace_seconds=10)
    assert asked.state is TaskState.IN_PROGRESS
    assert asked.cancel_requested_at == stage.clock.now()
    confirmed = await stage.cancel(task.id, by=agent, lease_id=lease)
    assert confirmed.state is TaskState.CANCELLED
    assert await stage.outcomes(task.id) == ["cancelled"]
    assert await stage.cancel(task.id, by=agent, lease_id=lease) == confirmed


async def test_a_result_within_the_grace_wins(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.cancel(task.id, grace_seconds=10)
    await stage.later(9)
    assert (await stage.complete(agent, task.id, lease, "done")).state is TaskState.COMPLETED
    await stage.later(60)
    assert await stage.state(task.id) is TaskState.COMPLETED


async def test_when_the_grace_is_over_the_hub_cancels(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.cancel(task.id, grace_seconds=10)
    await stage.later(10)
    assert await stage.state(task.id) is TaskState.CANCELLED
    with pytest.raises(Conflict) as refused:
        await stage.complete(agent, task.id, lease)
    assert reason(refused.value) == "task_already_cancelled"


async def test_grace_is_for_executors_only(stage: Stage) -> None:
    task = await stage.submit()
    assert (await stage.cancel(task.id, grace_seconds=10)).state is TaskState.CANCELLED


async def test_asking_twice_with_grace_moves_no_deadline(stage: Stage) -> None:
    _, task, _ = await stage.started()
    await stage.cancel(task.id, grace_seconds=10)
    stage.clock.advance(5)
    await stage.cancel(task.id, grace_seconds=10)
    await stage.later(5)
    assert await stage.state(task.id) is TaskState.CANCELLED


async def test_cancelling_at_once_ends_a_grace(stage: Stage) -> None:
    _, task, _ = await stage.started()
    await stage.cancel(task.id, grace_seconds=10)
    assert (await stage.cancel(task.id)).state is TaskState.CANCELLED


async def test_a_task_that_is_retried_within_its_grace_is_cancelled_all_the_same(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=EAGER)
    await stage.cancel(task.id, grace_seconds=30)
    await stage.fail(agent, task.id, lease, "flaky")
    await stage.later(30)
    assert await stage.state(task.id) is TaskState.CANCELLED


async def test_only_submitter_worker_and_operator_cancel(stage: Stage) -> None:
    agent, task, _ = await stage.started()
    with pytest.raises(Forbidden):
        await stage.cancel(task.id, by=agent)
    with pytest.raises(NotFound):
        await stage.cancel(task.id, by=stage.caller(Scope.AGENT, "user"))
    assert (await stage.cancel(task.id, by=stage.admin)).state is TaskState.CANCELLED
