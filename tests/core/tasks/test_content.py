"""What is said in a task and what it brings forth."""

from uuid import UUID

import pytest

from core.caller import Caller
from core.errors import Forbidden, InvalidTransition, NotFound
from core.tasks import artifacts, messages, read
from core.tasks.task import Artifact, Message, TaskView
from schemas.vocabulary import Scope
from tests.core.tasks.stage import Stage


async def say(stage: Stage, by: Caller, task_id: UUID, text: str, **more: object) -> Message:
    command = messages.AddMessage(task_id, [{"text": text}], **more)  # type: ignore[arg-type]
    return await stage.platform.write(by, messages.add_message, command)


async def put(stage: Stage, by: Caller, task_id: UUID, text: str, **more: object) -> Artifact:
    command = artifacts.PutArtifact(task_id, [{"text": text}], **more)  # type: ignore[arg-type]
    return await stage.platform.write(by, artifacts.put_artifact, command)


async def view(stage: Stage, task_id: UUID) -> TaskView:
    return await stage.platform.read(stage.user, read.view_task, read.GetTask(task_id))


async def test_messages_of_both_sides_make_one_history(stage: Stage) -> None:
    agent, task, lease = await stage.started(parts=[{"text": "begin"}])
    await say(stage, agent, task.id, "half", lease_id=lease)
    await say(stage, stage.user, task.id, "faster", role="user")
    await say(stage, agent, task.id, "done", lease_id=lease, final=True)
    seen = (await view(stage, task.id)).messages
    assert [(m.role, m.parts[0]["text"]) for m in seen] == [
        ("user", "begin"),
        ("agent", "half"),
        ("user", "faster"),
        ("agent", "done"),
    ]
    assert [m.n for m in seen] == sorted(m.n for m in seen)


async def test_history_is_read_in_pages(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    for n in range(5):
        await say(stage, agent, task.id, str(n), lease_id=lease)
    texts, after = [], 0
    while True:
        query = messages.ListMessages(task.id, after, 2)
        page = await stage.platform.read(stage.user, messages.list_messages, query)
        if not page:
            break
        texts += [m.parts[0]["text"] for m in page]
        after = page[-1].n
    assert texts == ["0", "1", "2", "3", "4"]


async def test_nobody_speaks_for_the_other_side(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    with pytest.raises(Forbidden):
        await say(stage, stage.user, task.id, "I am the agent", lease_id=lease)
    with pytest.raises(Forbidden):
        await say(stage, agent, task.id, "I am the user", role="user")
    with pytest.raises(NotFound):
        await say(stage, stage.caller(Scope.AGENT, "user"), task.id, "hello", role="user")


async def test_a_final_task_takes_no_messages(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.complete(agent, task.id, lease)
    with pytest.raises(InvalidTransition):
        await say(stage, stage.user, task.id, "more", role="user")


async def test_an_artifact_comes_in_chunks(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await put(stage, agent, task.id, "one ", artifact_id="a", name="text", last_chunk=False, lease_id=lease)
    [half] = (await view(stage, task.id)).artifacts
    assert not half.complete
    await put(stage, agent, task.id, "two", artifact_id="a", append=True, lease_id=lease)
    [whole] = (await view(stage, task.id)).artifacts
    assert ("".join(p["text"] for p in whole.parts), whole.complete, whole.size_bytes) == ("one two", True, 7)


async def test_an_artifact_is_replaced_as_a_whole(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await put(stage, agent, task.id, "old", artifact_id="a", lease_id=lease)
    await put(stage, agent, task.id, "more", artifact_id="a", append=True, lease_id=lease)
    await put(stage, agent, task.id, "new", artifact_id="a", lease_id=lease)
    [artifact] = (await view(stage, task.id)).artifacts
    assert (artifact.parts, artifact.size_bytes) == ([{"text": "new"}], 3)


async def test_nothing_is_appended_to_an_artifact_that_is_not_there(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    with pytest.raises(NotFound):
        await put(stage, agent, task.id, "x", artifact_id="a", append=True, lease_id=lease)
    assert (await stage.get(task.id)).version == task.version


async def test_an_artifact_is_deleted_by_its_maker(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await put(stage, agent, task.id, "x", artifact_id="a", lease_id=lease)
    command = artifacts.DeleteArtifact(task.id, "a", lease)
    await stage.platform.write(agent, artifacts.delete_artifact, command)
    assert not (await view(stage, task.id)).artifacts
    with pytest.raises(NotFound):
        await stage.platform.write(agent, artifacts.delete_artifact, command)


async def test_large_parts_are_kept_out_of_the_log_and_in_the_history(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    big = "x" * 100_000
    said = await say(stage, agent, task.id, big, lease_id=lease)
    kind, data = (await stage.told(task.id))[-1]
    assert (kind, data["parts"], data["n"]) == ("task.message_sent", None, said.n)
    assert (await view(stage, task.id)).messages[-1].parts == [{"text": big}]
