"""Much at once: one transaction, one event for each thing told."""

from uuid import UUID

import pytest

from core.caller import Caller
from core.errors import Forbidden, InvalidTransition, NotFound
from core.tasks import artifacts, messages, progress, read
from tests.core.tasks.stage import Stage


def chunk(task: UUID, text: str, id: str = "a", *, append: bool = True, last: bool = False) -> progress.Item:
    return artifacts.PutArtifact(task, [{"text": text}], artifact_id=id, append=append, last_chunk=last)


def _begun(task: UUID) -> progress.Item:
    return chunk(task, "x", append=False)


async def report(
    stage: Stage, by: Caller, lease: UUID, task: UUID, *items: progress.Item
) -> progress.Reported:
    return await stage.platform.write(
        by, progress.report_progress, progress.ReportProgress(task, lease, items)
    )


async def test_each_thing_is_an_event_of_its_own_in_order(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    before = len(await stage.told(task.id))
    told = await report(
        stage,
        agent,
        lease,
        task.id,
        chunk(task.id, "one ", append=False),
        chunk(task.id, "two "),
        chunk(task.id, "three", last=True),
        messages.AddMessage(task.id, [{"text": "half"}], message_id="m"),
        chunk(task.id, "other", "b", append=False, last=True),
        chunk(task.id, "new", "a", append=False, last=True),
    )
    assert (list(told.ids), told.version) == (["a", "a", "a", "m", "b", "a"], task.version + 6)
    events = (await stage.told(task.id))[before:]
    assert [data["parts"][0]["text"] for _, data in events] == [
        "one ", "two ", "three", "half", "other", "new"
    ]  # fmt: skip
    assert [data["n"] for _, data in events] == list(range(task.version + 1, task.version + 7))
    view = await stage.platform.read(stage.user, read.view_task, read.GetTask(task.id))
    assert view.task.version == told.version
    assert {item.artifact_id: item.parts for item in view.artifacts} == {
        "a": [{"text": "new"}],
        "b": [{"text": "other"}],
    }
    assert view.messages[-1].n == task.version + 4


async def test_chunks_that_come_together_lengthen_as_if_they_had_come_one_by_one(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await report(stage, agent, lease, task.id, chunk(task.id, "0", append=False))
    await report(stage, agent, lease, task.id, *(chunk(task.id, str(n), last=n == 9) for n in range(1, 10)))
    query = artifacts.GetArtifact(task.id, "a")
    made = await stage.platform.read(stage.user, artifacts.get_artifact, query)
    assert "".join(part["text"] for part in made.parts) == "0123456789"
    assert (made.size_bytes, made.complete) == (10, True)


async def test_all_of_it_is_told_or_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    with pytest.raises(NotFound):
        await report(
            stage, agent, lease, task.id, chunk(task.id, "x", append=False), chunk(task.id, "y", "b")
        )
    assert (await stage.get(task.id)).version == task.version
    view = await stage.platform.read(stage.user, read.view_task, read.GetTask(task.id))
    assert not view.artifacts


async def test_whoever_has_lost_the_lease_tells_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await stage.complete(agent, task.id, lease)
    with pytest.raises(InvalidTransition):
        await report(stage, agent, lease, task.id, _begun(task.id))
    with pytest.raises(Forbidden):
        await report(stage, agent, UUID(int=7), task.id, _begun(task.id))
