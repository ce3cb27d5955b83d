"""A playbook as somebody's task: begun, followed, asked, ended and cancelled as any other task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from core import approvals
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.playbooks import ArchivePlaybook, archive_playbook
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.tasks import read
from core.tasks.task import Policy, Task, TaskView
from core.workflows import control
from core.workflows import read as workflows
from core.workflows.arguments import arguments_in, parameters_schema
from core.workflows.fronts import PLAN, Play
from core.workflows.records import Workflow, WorkflowId
from schemas.playbook_reading import read_definition
from schemas.vocabulary import OnDependencyFailure, TaskState, WorkflowState
from tests.core.workflows.theatre import Theatre

REVIEW: Mapping[str, Any] = {
    "parameters": [
        {"slug": "change", "title": "Change", "required": True},
        {"slug": "how", "title": "How", "default": "well"},
    ],
    "stages": [
        {
            "name": "build",
            "tasks": [{"name": "code", "title": "code {{ parameters.change }}", "deliverable": True}],
            "gate": {"summary": "merge?"},
        },
        {"name": "ship", "tasks": [{"name": "ship", "title": "ship {{ parameters.how }}"}]},
    ],
    "output": {"shipped": "{{ tasks.ship.output }}"},
}
QUICK: Mapping[str, Any] = {
    "stages": [{"name": "one", "tasks": [{"name": "do", "title": "do", "input": "{{ inputs.text }}"}]}],
    "output": "{{ tasks.do.output }}",
}


async def play(theatre: Theatre, definition: Mapping[str, Any] = REVIEW, **wish: Any) -> Task:
    """Send something to a playbook."""
    playbook = await theatre.playbook(definition, f"play-{theatre.platform.new_id().hex}")
    place = (await theatre.workspace()).id
    arguments = wish.pop("arguments", None)
    return await theatre.submit("please", play=Play(playbook.slug, place, arguments), **wish)


async def behind(theatre: Theatre, task: Task) -> Workflow:
    """The one workflow that a task stands for."""

    async def query(tx: Tx, _: None) -> list[UUID]:
        rows = await tx.all(sa.select(w.workflow.c.id).where(w.workflow.c.front_task_id == task.id))
        return [row.id for row in rows]

    (found,) = await theatre.platform.read(theatre.admin, query, None)
    return await theatre.platform.read(theatre.admin, workflows.get_workflow, WorkflowId(found))


async def view(theatre: Theatre, task: Task) -> TaskView:
    return await theatre.platform.read(theatre.user, read.view_task, read.GetTask(task.id))


async def approve(theatre: Theatre, task: Task, action: str = "approve") -> None:
    (gate,) = (await view(theatre, task)).approvals
    command = approvals.DecideApproval(gate.id, action=action)
    await theatre.platform.write(replace(theatre.user, face="a2a"), approvals.decide, command)


async def test_a_task_goes_the_way_of_its_workflow(theatre: Theatre) -> None:
    task = await play(theatre, parts=[{"data": {"change": "c1"}}])
    assert task.state is TaskState.IN_PROGRESS
    assert (await behind(theatre, task)).created_by == theatre.user.principal_id
    assert await theatre.perform(lambda held: held.task.title.upper()) == ["code c1"]
    seen = await view(theatre, task)
    (gate,) = seen.approvals
    assert (gate.kind, gate.decider_id, seen.task.state) == ("gate", theatre.user.principal_id, task.state)
    await approve(theatre, task)
    assert await theatre.perform(lambda held: held.task.title.upper()) == ["ship well"]
    seen = await view(theatre, task)
    assert (seen.task.state, seen.task.output) == (TaskState.COMPLETED, {"shipped": "SHIP WELL"})
    assert [(a.artifact_id, a.parts) for a in seen.artifacts] == [
        ("code.0", [{"text": "CODE C1"}]),
        ("output", [{"data": {"shipped": "SHIP WELL"}}]),
    ]
    plans = [m.metadata[PLAN] for m in seen.messages if PLAN in m.metadata]
    assert [stage["status"] for stage in plans[0]] == ["active", "pending"]
    assert [stage["status"] for stage in plans[-1]] == ["completed", "completed"]
    numbers = [data.get("n") for _, data in await theatre.told(task.id)]
    assert len(numbers) == seen.task.version


async def test_whoever_sent_it_decides_and_nobody_else_of_its_rank(theatre: Theatre) -> None:
    task = await play(theatre, parts=[{"text": "c1"}])
    await theatre.perform()
    (gate,) = (await view(theatre, task)).approvals
    assert theatre.doer is not None
    command = approvals.DecideApproval(gate.id, action="approve")
    with pytest.raises((Forbidden, NotFound)):
        await theatre.platform.write(theatre.doer, approvals.decide, command)
    await approve(theatre, task, "reject")
    seen = await view(theatre, task)
    assert seen.task.state is TaskState.FAILED
    assert seen.task.error is not None
    assert "gate of build" in seen.task.error["message"]


async def test_cancelling_the_task_ends_the_workflow_and_what_it_has_begun(theatre: Theatre) -> None:
    task = await play(theatre, parts=[{"text": "c1"}])
    workflow = await behind(theatre, task)
    assert (await theatre.cancel(task.id)).state is TaskState.CANCELLED
    await theatre.sweep()
    assert (await theatre.now(workflow)).state is WorkflowState.CANCELLED
    assert await theatre.perform() == []


async def test_cancelling_with_grace_asks_nobody(theatre: Theatre) -> None:
    task = await play(theatre, parts=[{"text": "c1"}])
    assert (await theatre.cancel(task.id, grace_seconds=10)).state is TaskState.CANCELLED


async def test_a_cancelled_workflow_cancels_the_task_and_a_failed_one_fails_it(theatre: Theatre) -> None:
    task = await play(theatre, parts=[{"text": "c1"}])
    workflow = await behind(theatre, task)
    await theatre.platform.write(theatre.admin, control.cancel, control.Cancel(workflow.id))
    assert await theatre.state(task.id) is TaskState.CANCELLED

    def broken(_: Any) -> Any:
        raise RuntimeError("broken")

    other = await play(theatre, QUICK, parts=[{"text": "x"}])
    await theatre.perform(broken)
    seen = await theatre.get(other.id)
    assert seen.state is TaskState.FAILED
    assert seen.error is not None


async def test_a_text_is_the_input_of_a_playbook_without_parameters(theatre: Theatre) -> None:
    task = await play(theatre, QUICK, parts=[{"text": "hello"}])
    await theatre.perform()
    assert (await theatre.get(task.id)).output == "hello"


async def test_what_the_playbook_does_not_take_makes_no_task(theatre: Theatre) -> None:
    for arguments in ({}, {"change": "c", "colour": "red"}):
        with pytest.raises(Invalid):
            await play(theatre, arguments=arguments)
    missing = Play("nothing", (await theatre.workspace()).id)
    with pytest.raises(Conflict):
        await theatre.submit("please", play=missing)
    tasks = await theatre.platform.read(theatre.admin, read.list_tasks, read.ListTasks())
    assert tasks.total == 0


async def test_a_playbook_waits_for_what_its_task_depends_on(theatre: Theatre) -> None:
    agent, first, lease = await theatre.started()
    policy = Policy(on_dependency_failure=OnDependencyFailure.RUN)
    task = await play(theatre, QUICK, parts=[{"text": "x"}], depends_on=[first.id], policy=policy)
    assert task.state is TaskState.PENDING
    await theatre.fail(agent, first.id, lease)
    assert await theatre.state(task.id) is TaskState.IN_PROGRESS
    assert await theatre.perform() == ["do"]
    assert await theatre.state(task.id) is TaskState.COMPLETED


async def test_what_is_no_longer_in_use_when_its_time_comes_fails_the_task(theatre: Theatre) -> None:
    agent, first, lease = await theatre.started()
    task = await play(theatre, QUICK, parts=[{"text": "x"}], depends_on=[first.id])
    plan = (await theatre.get(task.id)).extras["playbook"]
    gone = ArchivePlaybook(UUID(plan["playbook_id"]), True)
    await theatre.platform.write(theatre.admin, archive_playbook, gone)
    await theatre.complete(agent, first.id, lease)
    seen = await theatre.get(task.id)
    assert (seen.state, (seen.error or {})["category"]) == (TaskState.FAILED, "not_begun")


async def test_time_takes_no_task_from_the_hub(theatre: Theatre) -> None:
    task = await play(theatre, parts=[{"text": "c1"}])
    await theatre.later(30 * 86_400)
    assert await theatre.state(task.id) is TaskState.IN_PROGRESS


async def test_the_same_request_again_runs_nothing_twice(theatre: Theatre) -> None:
    playbook = await theatre.playbook(QUICK)
    asked = Play(playbook.slug, (await theatre.workspace()).id)
    caller = replace(theatre.user, replay_key="once")
    tasks = [await theatre.submit("x", by=caller, play=asked, parts=[{"text": "x"}]) for _ in range(2)]
    assert tasks[0].id == tasks[1].id
    assert await theatre.perform() == ["do"]


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([{"data": {"change": "c", "how": 3}}], {"change": "c", "how": 3}),
        ([{"text": "change=c1 how='very well'"}], {"change": "c1", "how": "very well"}),
        ([{"text": "fix a=b please"}], {"change": "fix a=b please"}),
        ([{"text": "words"}, {"data": {"change": "c"}}], {"change": "c"}),
        ([], {}),
    ],
)
def test_a_message_brings_arguments(parts: Any, found: Any) -> None:
    assert arguments_in(read_definition(REVIEW), parts) == found


def test_parameters_are_a_schema() -> None:
    assert parameters_schema(read_definition(REVIEW)) == {
        "type": "object",
        "properties": {
            "change": {"type": "string", "title": "Change"},
            "how": {"type": "string", "title": "How", "default": "well"},
        },
        "additionalProperties": False,
        "required": ["change"],
    }
