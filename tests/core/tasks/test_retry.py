"""A task is tried again by hand."""

import pytest

from core.errors import InvalidTransition, NotFound
from core.tasks import review
from core.tasks.task import Task
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import EAGER, Stage, on_face


async def retry(stage: Stage, task: Task, **more: object) -> review.Reopened:
    command = review.RetryTask(task.id, **more)  # type: ignore[arg-type]
    return await stage.platform.write(stage.admin, review.retry, command)


async def test_a_failed_task_is_opened_again(stage: Stage) -> None:
    agent, task, lease = await stage.started(input={"a": 1})
    await stage.fail(agent, task.id, lease)
    opened = await retry(stage, task, override_input={"b": 2})
    assert not opened.is_new
    now = opened.task
    assert (now.id, now.state, now.error, now.finished_at) == (task.id, TaskState.READY, None, None)
    assert now.input == {"a": 1, "b": 2}
    assert (await stage.take(agent)).task.attempt == 2


@pytest.mark.parametrize("end", ["complete", "refuse"])
async def test_a_completed_or_rejected_task_is_opened_by_force_only(stage: Stage, end: str) -> None:
    agent, task, lease = await stage.started()
    await (stage.complete if end == "complete" else stage.refuse)(agent, task.id, lease)
    with pytest.raises(InvalidTransition):
        await retry(stage, task)
    assert (await retry(stage, task, force=True)).task.state is TaskState.READY


async def test_a_cancelled_task_stays_cancelled(stage: Stage) -> None:
    task = await stage.submit()
    await stage.cancel(task.id)
    for force in (False, True):
        with pytest.raises(InvalidTransition):
            await retry(stage, task, force=force)


@pytest.mark.parametrize("face", ["a2a", "acp", "mcp"])
async def test_where_final_is_final_a_new_task_follows_the_old_one(stage: Stage, face: str) -> None:
    user = on_face(stage.user, face)
    agent, task, lease = await stage.started(by=user, context_id="chat")
    failed = await stage.fail(agent, task.id, lease)
    opened = await retry(stage, task)
    assert opened.is_new
    assert (opened.task.previous_task_id, opened.task.context_id) == (task.id, "chat")
    assert await stage.get(task.id) == failed


@pytest.mark.parametrize("face", ["a2a", "acp", "mcp"])
async def test_the_task_that_follows_belongs_to_whoever_asked_for_the_old_one(
    stage: Stage, face: str
) -> None:
    user = on_face(stage.user, face)
    agent, task, lease = await stage.started(by=user, context_id="chat")
    await stage.fail(agent, task.id, lease)
    follower = (await retry(stage, task)).task
    assert (await stage.get(follower.id, by=user)).submitter_id == user.principal_id
    assert follower.origin.face == face


async def test_work_under_way_is_not_retried(stage: Stage) -> None:
    _, task, _ = await stage.started()
    for force in (False, True):
        with pytest.raises(InvalidTransition):
            await retry(stage, task, force=force)


async def test_force_shortens_a_pause(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=EAGER)
    await stage.fail(agent, task.id, lease, "flaky")
    assert (await retry(stage, task, force=True)).task.state is TaskState.READY


async def test_force_on_a_ready_task_changes_nothing(stage: Stage) -> None:
    task = await stage.submit()
    assert (await retry(stage, task, force=True)).task == task


async def test_force_does_not_overrule_dependencies(stage: Stage) -> None:
    task = await stage.submit(depends_on=[(await stage.submit()).id])
    assert (await retry(stage, task, force=True)).task.state is TaskState.PENDING


async def test_a_foreign_task_cannot_be_retried(stage: Stage) -> None:
    task = await stage.submit()
    command = review.RetryTask(task.id, force=True)
    with pytest.raises(NotFound):
        await stage.platform.write(stage.caller(Scope.WORKER, "worker"), review.retry, command)
