"""A task is put before people, and comes back with what they decided."""

from typing import Any

import pytest

from core.errors import Conflict, InvalidTransition, NotFound
from core.tasks.escalate import EscalateTask, ResolveEscalation, escalate, resolve
from schemas.vocabulary import TaskState
from tests.core.tasks.stage import Stage


async def put(stage: Stage, by: Any, *rest: Any, **more: Any) -> Any:
    return await stage.platform.write(by, escalate, EscalateTask(*rest, **more))


async def test_the_executor_escalates_and_the_task_comes_back_with_the_decision(stage: Stage) -> None:
    agent, task, lease = await stage.started(input={"text": "x"})
    put_up = await put(
        stage, agent, task.id, "not mine to decide", lease, by_executor=True, said={"work_so_far": "w"}
    )
    assert (put_up.state, put_up.agent_id) == (TaskState.ESCALATED, None)
    assert put_up.status_message == [{"text": "not mine to decide"}]
    with pytest.raises(Conflict):
        await stage.complete(agent, task.id, lease)
    command = ResolveEscalation(task.id, "do it", {"by": "ops"})
    back = await stage.platform.write(stage.admin, resolve, command)
    assert back.state is TaskState.READY
    assert back.input == {
        "text": "x",
        "escalation_resolution": {"instructions": "do it", "context": {"by": "ops"}},
    }
    held = await stage.take(agent)
    assert held.task.attempt == 2
    assert await stage.outcomes(task.id) == ["escalated", None]
    kinds = [kind for kind, _ in await stage.told(task.id)]
    assert {"task.agent_escalated", "task.escalation_resolved"} <= {*kinds}


async def test_an_operator_escalates_whatever_is_being_done(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    await put(stage, stage.admin, task.id, "too long")
    assert await stage.state(task.id) is TaskState.ESCALATED
    with pytest.raises(Conflict):
        await stage.complete(agent, task.id, lease)
    with pytest.raises(InvalidTransition):
        await put(stage, stage.admin, task.id, "again")


async def test_nobody_else_escalates_as_the_executor_and_nothing_else_is_resolved(stage: Stage) -> None:
    _, task, lease = await stage.started()
    other = await stage.agent("eve")
    with pytest.raises(NotFound):
        await put(stage, other, task.id, "mine", lease, by_executor=True)
    with pytest.raises(InvalidTransition):
        await stage.platform.write(stage.admin, resolve, ResolveEscalation(task.id, "go"))
