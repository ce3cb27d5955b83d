"""Who may see a task: one predicate for all faces."""

from dataclasses import replace
from uuid import uuid4

import pytest

from core.caller import Caller
from core.errors import NotFound
from core.tasks import artifacts, messages, read
from core.tasks.task import Task
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import Stage, on_face

OWN_ONLY = ["a2a", "acp", "mcp"]


async def sees(stage: Stage, caller: Caller, task: Task) -> bool:
    """Whether the caller may know of the task, which every way of reading it must agree on."""
    answers = set()
    listed = await stage.platform.read(caller, read.list_tasks, read.ListTasks(per_page=100))
    answers.add(task.id in {t.id for t in listed.items})
    assert listed.total == len(listed.items)
    for query, argument in (
        (read.get_task, read.GetTask(task.id)),
        (read.view_task, read.GetTask(task.id)),
        (messages.list_messages, messages.ListMessages(task.id)),
        (artifacts.list_artifacts, artifacts.ListArtifacts(task.id)),
    ):
        try:
            await stage.platform.read(caller, query, argument)  # type: ignore[arg-type]
            answers.add(True)
        except NotFound:
            answers.add(False)
    assert len(answers) == 1
    return answers.pop()


async def test_the_submitter_and_operators_see_a_task_and_strangers_do_not(stage: Stage) -> None:
    task = await stage.submit()
    assert await sees(stage, stage.user, task)
    assert await sees(stage, stage.admin, task)
    assert await sees(stage, stage.caller(Scope.SERVICE, "service"), task)
    assert not await sees(stage, stage.caller(Scope.AGENT, "user"), task)
    assert not await sees(stage, stage.caller(Scope.WORKER, "worker"), task)
    assert not await sees(stage, await stage.agent(), task)


async def test_another_tenants_operator_sees_nothing(stage: Stage) -> None:
    task = await stage.submit()
    assert not await sees(stage, Stage(stage.platform, stage.clock).admin, task)


async def test_executors_see_what_they_hold_and_what_they_held(stage: Stage) -> None:
    worker = stage.caller(Scope.WORKER, "worker")
    agent = await stage.agent(by=worker)
    task = await stage.submit()
    await stage.take(agent)
    assert await sees(stage, agent, task)
    assert await sees(stage, worker, task)
    await stage.later(60)
    assert await stage.state(task.id) is TaskState.PENDING
    assert await sees(stage, agent, task)
    assert await sees(stage, worker, task)
    assert not await sees(stage, await stage.agent("other"), task)


@pytest.mark.parametrize("face", OWN_ONLY)
async def test_conversational_faces_show_ones_own_tasks_alone(stage: Stage, face: str) -> None:
    agent, task, _ = await stage.started()
    assert await sees(stage, on_face(stage.user, face), task)
    for other in (stage.admin, agent, stage.caller(Scope.SERVICE, "service")):
        assert not await sees(stage, on_face(other, face), task)


async def test_an_operators_own_list_holds_its_own_tasks_alone(stage: Stage) -> None:
    await stage.submit()
    mine = await stage.submit(by=on_face(stage.admin, "a2a"))
    page = await stage.platform.read(on_face(stage.admin, "a2a"), read.list_own, read.ListOwn())
    assert [view.task.id for view in page.items] == [mine.id]


async def test_a_key_that_is_replaced_sees_what_the_old_one_made(stage: Stage) -> None:
    task = await stage.submit()
    assert await sees(stage, replace(stage.user, key_id=uuid4()), task)
