"""A task is born."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.tasks import messages, submit
from core.tasks.task import Policy
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import Stage, on_face, reason


async def test_a_task_that_nothing_holds_back_is_born_ready(stage: Stage) -> None:
    task = await stage.submit("write a poem", input={"about": "rain"})
    assert (task.state, task.version, task.attempt) == (TaskState.READY, 1, 0)
    assert task.input == {"about": "rain"}
    assert [kind for kind, _ in await stage.told(task.id)] == ["task.created"]


async def test_the_first_message_becomes_the_input_and_the_history(stage: Stage) -> None:
    parts = [{"text": "two"}, {"text": "lines"}]
    view = await stage.platform.write(stage.user, submit.submit_view, submit.SubmitTask("x", parts=parts))
    assert view.task.input == {"text": "two\nlines", "parts": parts}
    [message] = view.messages
    assert (message.n, message.role, list(message.parts)) == (1, "user", parts)
    assert message.message_id


async def test_the_answer_names_the_first_message_as_it_is_stored(stage: Stage) -> None:
    view = await stage.platform.write(
        stage.user, submit.submit_view, submit.SubmitTask("x", parts=[{"text": "hi"}])
    )
    query = messages.ListMessages(view.task.id)
    stored = await stage.platform.read(stage.user, messages.list_messages, query)
    assert [m.message_id for m in stored] == [m.message_id for m in view.messages]


async def test_a_task_with_a_future_time_waits_for_it(stage: Stage) -> None:
    task = await stage.submit(ready_at=stage.clock.now() + timedelta(seconds=30))
    assert task.state is TaskState.PENDING
    await stage.later(29)
    assert await stage.state(task.id) is TaskState.PENDING
    await stage.later(1)
    assert await stage.state(task.id) is TaskState.READY


async def test_a_task_that_needs_leave_awaits_it_and_is_not_claimed(stage: Stage) -> None:
    task = await stage.submit(policy=Policy(requires_approval=True))
    assert task.state is TaskState.AWAITING_APPROVAL
    assert not (await stage.claim(await stage.agent())).items


async def test_the_same_replay_key_makes_one_task(stage: Stage) -> None:
    keyed = replace(stage.user, replay_key="k1")
    first = await stage.submit("once", by=keyed)
    again = await stage.submit("once", by=keyed)
    assert again == first
    with pytest.raises(Conflict) as refused:
        await stage.submit("other", by=keyed)
    assert reason(refused.value) == "request_id_reused"
    other = await stage.submit("once", by=replace(stage.caller(Scope.AGENT, "user"), replay_key="k1"))
    assert other.id != first.id


async def test_a_dependency_must_exist_for_the_caller(stage: Stage) -> None:
    foreign = await stage.submit()
    stranger = stage.caller(Scope.AGENT, "user")
    for unknown in (uuid4(), foreign.id):
        with pytest.raises(Invalid):
            await stage.submit(by=stranger, depends_on=[unknown])
    assert (await stage.get(foreign.id)).version == 1


async def test_a_preferred_agent_must_exist(stage: Stage) -> None:
    with pytest.raises(Invalid):
        await stage.submit(preferred_agent_id=uuid4())


async def test_sub_tasks_are_made_by_whoever_holds_the_parent(stage: Stage) -> None:
    agent, parent, _ = await stage.started()
    child = await stage.submit("child", by=agent, parent_id=parent.id)
    assert child.parent_id == parent.id
    with pytest.raises(Forbidden):
        await stage.submit("child", parent_id=parent.id)
    with pytest.raises(NotFound):
        await stage.submit("child", by=stage.caller(Scope.AGENT, "user"), parent_id=parent.id)


async def test_sub_tasks_nest_three_deep_and_no_deeper(stage: Stage) -> None:
    parent = await stage.submit()
    for _ in range(submit.DEEPEST):
        parent = await stage.submit(by=stage.admin, parent_id=parent.id)
    with pytest.raises(Conflict):
        await stage.submit(by=stage.admin, parent_id=parent.id)


async def test_a_task_has_a_bounded_number_of_sub_tasks(stage: Stage) -> None:
    parent = await stage.submit()
    for _ in range(submit.MOST_CHILDREN):
        await stage.submit(by=stage.admin, parent_id=parent.id)
    with pytest.raises(Conflict):
        await stage.submit(by=stage.admin, parent_id=parent.id)


@pytest.mark.parametrize("face", ["rest", "a2a", "acp", "mcp"])
async def test_a_task_remembers_through_which_face_it_came(stage: Stage, face: str) -> None:
    assert (await stage.submit(by=on_face(stage.user, face))).origin.face == face


async def test_tasks_of_one_conversation_share_its_context(stage: Stage) -> None:
    first = await stage.submit(context_id="chat-1")
    second = await stage.submit(context_id="chat-1")
    assert first.context_id == second.context_id == "chat-1"
    assert (await stage.submit()).context_id not in ("", "chat-1")
