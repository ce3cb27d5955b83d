"""An executor asks, somebody answers."""

from uuid import UUID

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from core.tasks import read, review
from core.tasks.task import Policy, TaskView
from schemas.vocabulary import InputKind, Scope, TaskState
from tests.core.tasks.stage import EAGER, Stage, reason


async def view(stage: Stage, task_id: UUID) -> TaskView:
    return await stage.platform.read(stage.user, read.view_task, read.GetTask(task_id))


async def test_a_question_parks_the_task_and_its_answer_queues_it_again(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await stage.ask(agent, task.id, lease)
    assert (asked.task.state, asked.task.held) == (TaskState.INPUT_REQUIRED, False)
    assert await stage.outcomes(task.id) == ["parked"]
    answered = await stage.answer(task.id)
    assert answered.state is TaskState.READY
    assert [m.parts for m in (await view(stage, task.id)).messages] == [
        [{"text": "which?"}],
        [{"text": "this"}],
    ]


async def test_an_answered_task_is_kept_a_while_for_the_agent_that_asked(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease)
    await stage.answer(task.id)
    other = await stage.agent("other")
    assert not (await stage.claim(other)).items
    await stage.later(60)
    assert (await stage.take(other)).task.attempt == 2


async def test_a_held_question_keeps_the_lease_and_goes_on_when_answered(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await stage.ask(agent, task.id, lease, hold=True)
    assert (asked.task.state, asked.task.held) == (TaskState.INPUT_REQUIRED, True)
    answered = await stage.answer(task.id)
    assert (answered.state, answered.held, answered.attempt) == (TaskState.IN_PROGRESS, False, 1)
    assert (await stage.complete(agent, task.id, lease)).state is TaskState.COMPLETED


async def test_a_held_lease_that_runs_out_leaves_the_question_open(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease, hold=True)
    await stage.later(60)
    now = await stage.get(task.id)
    assert (now.state, now.held, now.retry_count) == (TaskState.INPUT_REQUIRED, False, 0)
    assert await stage.outcomes(task.id) == ["expired"]
    assert (await stage.answer(task.id)).state is TaskState.READY


async def test_an_answer_to_a_lease_that_has_just_run_out_queues_the_task(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease, hold=True)
    stage.clock.advance(60)
    answered = await stage.answer(task.id)
    assert (answered.state, answered.retry_count) == (TaskState.READY, 0)
    assert await stage.outcomes(task.id) == ["expired"]


async def test_waiting_for_an_answer_does_not_count_as_taking_too_long(stage: Stage) -> None:
    agent = await stage.agent()
    task = await stage.submit(policy=Policy(timeout_seconds=30))
    held = await stage.take(agent, lease_seconds=600)
    await stage.ask(agent, task.id, held.lease_id, hold=True)
    await stage.later(100)
    assert (await stage.answer(task.id)).state is TaskState.IN_PROGRESS
    await stage.later(29)
    assert await stage.state(task.id) is TaskState.IN_PROGRESS
    await stage.later(1)
    assert await stage.state(task.id) is TaskState.FAILED


async def test_the_wait_ends_with_the_last_of_several_answers(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    first = await stage.ask(agent, task.id, lease, hold=True)
    second = await stage.ask(agent, task.id, lease, hold=True)
    assert [i.id for i in (await view(stage, task.id)).inputs] == [first.input.id, second.input.id]
    assert (await stage.answer(task.id, input_id=second.input.id)).state is TaskState.INPUT_REQUIRED
    assert (await stage.answer(task.id)).state is TaskState.IN_PROGRESS


async def test_an_answer_that_names_nothing_answers_the_oldest(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease, hold=True)
    second = await stage.ask(agent, task.id, lease, hold=True)
    await stage.answer(task.id)
    assert [i.id for i in (await view(stage, task.id)).inputs] == [second.input.id]


async def test_a_question_is_answered_once(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    first = await stage.ask(agent, task.id, lease, hold=True)
    await stage.ask(agent, task.id, lease, hold=True)
    await stage.answer(task.id, input_id=first.input.id)
    with pytest.raises(Conflict) as refused:
        await stage.answer(task.id, input_id=first.input.id)
    assert reason(refused.value) == "already_answered"


async def test_an_unknown_question_is_not_found(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease)
    with pytest.raises(NotFound):
        await stage.answer(task.id, input_id=task.id)


async def test_a_task_that_asks_nothing_takes_no_answer(stage: Stage) -> None:
    _, task, _ = await stage.started()
    with pytest.raises(Conflict) as refused:
        await stage.answer(task.id)
    assert reason(refused.value) == "nothing_asked"


async def test_an_answer_must_fit_what_was_asked(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    schema = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    await stage.ask(agent, task.id, lease, schema=schema)
    before = await stage.get(task.id)
    with pytest.raises(Unprocessable):
        await stage.answer(task.id, data={"size": "big"})
    assert await stage.get(task.id) == before
    assert (await stage.answer(task.id, data={"size": 3})).state is TaskState.READY


async def test_an_empty_answer_is_refused(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease)
    with pytest.raises(Invalid):
        await stage.answer(task.id, parts=None)


async def test_asking_for_a_credential_waits_in_its_own_state(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await stage.ask(agent, task.id, lease, kind=InputKind.AUTH)
    assert asked.task.state is TaskState.AUTH_REQUIRED
    assert (await stage.answer(task.id)).state is TaskState.READY


async def test_only_the_submitter_and_operators_answer(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease)
    with pytest.raises(Forbidden):
        await stage.answer(task.id, by=agent)
    with pytest.raises(NotFound):
        await stage.answer(task.id, by=stage.caller(Scope.AGENT, "user"))
    assert (await stage.answer(task.id, by=stage.admin)).state is TaskState.READY


async def test_open_questions_end_with_the_task(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.ask(agent, task.id, lease)
    await stage.cancel(task.id)
    assert not (await view(stage, task.id)).inputs
    with pytest.raises(Conflict):
        await stage.answer(task.id)


async def test_a_forced_retry_supersedes_what_was_asked(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=EAGER)
    await stage.ask(agent, task.id, lease)
    command = review.RetryTask(task.id, force=True)
    retried = await stage.platform.write(stage.admin, review.retry, command)
    assert retried.task.state is TaskState.READY
    held = await stage.take(agent)
    await stage.complete(agent, task.id, held.lease_id)


async def test_a_schema_that_cannot_be_checked_is_refused(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    with pytest.raises((Invalid, Unprocessable)):
        await stage.ask(agent, task.id, lease, schema={"type": "nonsense"})
    assert await stage.state(task.id) is TaskState.IN_PROGRESS
