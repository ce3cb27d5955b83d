"""Tasks skipped, given away, overridden, done again; and escalations, of tasks and of their items."""

from typing import Any

import pytest

from core import roles
from core.errors import Conflict, Forbidden, Invalid, InvalidTransition
from core.roles import CreateRole
from core.tasks import amend, escalate
from core.tasks.task import Policy, Task
from core.work_items import tasks as of_item
from core.work_items.records import WorkItem
from schemas.item_words import WorkItemState
from schemas.vocabulary import Scope, TaskState
from tests.core.tasks.stage import on_face, reason, waits_for
from tests.core.work_items.bench import PLAIN, Bench

ONGOING = {**PLAIN, "lifecycle": "ongoing"}


async def skip(bench: Bench, task: Task) -> Task:
    return await bench.platform.write(bench.admin, amend.skip, amend.SkipTask(task.id, "by hand"))


async def rework(bench: Bench, task: Task, **more: Any) -> Task:
    command = amend.ReworkTask(task.id, "better", **more)
    return (await bench.platform.write(bench.admin, amend.rework, command)).task


async def test_a_skipped_task_counts_as_done_for_those_that_wait_for_it(bench: Bench) -> None:
    first = await bench.submit("a")
    then = await bench.submit("b", **waits_for(first))
    skipped = await skip(bench, first)
    assert (skipped.state, skipped.output) == (TaskState.COMPLETED, {"skipped": True, "reason": "by hand"})
    assert await bench.state(then.id) is TaskState.READY
    with pytest.raises(InvalidTransition):
        await skip(bench, first)


async def test_nobody_skips_what_somebody_works_on_but_what_failed(bench: Bench) -> None:
    agent, task, lease_id = await bench.started()
    with pytest.raises(InvalidTransition):
        await skip(bench, task)
    await bench.fail(agent, task.id, lease_id)
    assert (await skip(bench, task)).error is None


async def test_a_reassigned_task_is_kept_for_whom_it_was_given_to(bench: Bench) -> None:
    old, task, lease_id = await bench.started()
    new = await bench.agent("new")
    command = amend.ReassignTask(task.id, "tired", new.principal_id)
    given = await bench.platform.write(bench.admin, amend.reassign, command)
    assert (given.state, given.preferred_agent_id) == (TaskState.READY, new.principal_id)
    with pytest.raises(Conflict) as late:
        await bench.complete(old, task.id, lease_id)
    assert reason(late.value) == "task_ownership_moved"
    assert (await bench.claim(old)).items == []
    assert (await bench.take(new)).task.id == task.id
    nobody = amend.ReassignTask(task.id, "tired", task.id)
    with pytest.raises(Invalid):
        await bench.platform.write(bench.admin, amend.reassign, nobody)


@pytest.mark.parametrize("state", ["ready", "waiting", "failed", "cancelled"])
async def test_what_nobody_works_on_can_be_given_away_too(bench: Bench, state: str) -> None:
    new = await bench.agent("new")
    if state == "failed":
        agent, task, lease_id = await bench.started()
        await bench.fail(agent, task.id, lease_id)
    else:
        task = await bench.submit(**(waits_for(await bench.submit()) if state == "waiting" else {}))
    if state == "cancelled":
        await bench.cancel(task.id)
    command = amend.ReassignTask(task.id, "yours", new.principal_id)
    given = await bench.platform.write(bench.admin, amend.reassign, command)
    assert given.state is (TaskState.PENDING if state == "waiting" else TaskState.READY)
    assert given.preferred_agent_id == new.principal_id


async def test_an_output_is_replaced_and_the_log_keeps_the_old_one(bench: Bench) -> None:
    agent, task, lease_id = await bench.started()
    command = amend.OverrideOutput(task.id, {"name": "Ada"}, "misspelt")
    with pytest.raises(InvalidTransition):
        await bench.platform.write(bench.admin, amend.override_output, command)
    await bench.complete(agent, task.id, lease_id, {"name": "Eda"})
    changed = await bench.platform.write(bench.admin, amend.override_output, command)
    assert (changed.output, changed.metadata["output_override"]["reason"]) == ({"name": "Ada"}, "misspelt")
    ((_, said),) = [(k, d) for k, d in await bench.told(task.id) if k == "task.output_overridden"]
    assert said["previous_output"] == {"name": "Eda"}


async def test_what_is_over_is_done_again_as_often_as_it_may_be(bench: Bench) -> None:
    agent, task, lease_id = await bench.started(policy=Policy(max_rework=1))
    await bench.complete(agent, task.id, lease_id, 1)
    again = await rework(bench, task, override_input={"n": 2})
    assert (again.state, again.rework_count, again.retry_count) == (TaskState.READY, 1, 0)
    assert again.input == {"n": 2, "assessment_feedback": "better"}
    held = await bench.take(agent)
    with pytest.raises(InvalidTransition):
        await rework(bench, task)
    await bench.fail(agent, task.id, held.lease_id)
    with pytest.raises(Conflict) as often:
        await rework(bench, task)
    assert reason(often.value) == "max_rework_exceeded"
    submitter = amend.ReworkTask(task.id, "better")
    with pytest.raises(Forbidden):
        await bench.platform.write(bench.user, amend.rework, submitter)


async def test_what_was_born_in_a_conversation_is_followed_by_a_new_task(bench: Bench) -> None:
    by = on_face(bench.user, "a2a")
    agent, task, lease_id = await bench.started(by=by)
    await bench.complete(agent, task.id, lease_id, 1)
    again = await rework(bench, task)
    assert (again.previous_task_id, again.context_id) == (task.id, task.context_id)
    assert await bench.state(task.id) is TaskState.COMPLETED
    command = amend.OverrideOutput(task.id, 2, "no")
    with pytest.raises(InvalidTransition):
        await bench.platform.write(bench.admin, amend.override_output, command)


async def test_a_task_at_work_or_completed_is_rejected_by_a_worker_or_operator_only(bench: Bench) -> None:
    agent, task, lease_id = await bench.started()
    command = amend.RejectTask(task.id, "no")
    for stranger in (bench.user, agent):
        with pytest.raises(Forbidden):
            await bench.platform.write(stranger, amend.reject, command)
    await bench.complete(agent, task.id, lease_id)
    worker = bench.caller(Scope.ADMIN, "system")
    rejected = await bench.platform.write(worker, amend.reject, command)
    assert rejected.state is TaskState.FAILED
    assert rejected.error is not None
    assert rejected.error["category"] == "assessment_rejected"


async def escalated(bench: Bench, role: str = "maker") -> tuple[Task, WorkItem]:
    """A task of an item whose executor could not go on."""
    _, item = await bench.begun(ONGOING)
    task = await bench.task(item, role=role)
    agent = await bench.agent(f"a {role}", routing_tags=[f"role:{role}"])
    held = await bench.take(agent)
    command = escalate.EscalateTask(task.id, "too hard", held.lease_id, by_executor=True)
    return await bench.platform.write(agent, escalate.escalate, command), item


@pytest.mark.parametrize("action", ["dismiss", "unblock_subject", "reopen_subject"])
async def test_an_escalation_is_open_in_its_item_until_it_is_decided(bench: Bench, action: str) -> None:
    task, item = await escalated(bench)
    seen = await bench.look(item)
    assert (seen.escalation_status, seen.escalation_task_id) == ("open", task.id)
    with pytest.raises(Conflict):
        await bench.finish(seen)
    command = of_item.ResolveItemEscalation(seen.workflow_id, seen.id, action, "try again")
    decided = await bench.platform.write(bench.admin, of_item.resolve_item_escalation, command)
    assert (decided.escalation_status, decided.state) == (None, WorkItemState.OPEN)
    left = action == "dismiss"
    assert await bench.state(task.id) is (TaskState.ESCALATED if left else TaskState.READY)
    with pytest.raises(Conflict) as again:
        await bench.platform.write(bench.admin, of_item.resolve_item_escalation, command)
    assert reason(again.value) == "no_open_escalation"


async def test_a_role_is_asked_before_people_are_and_its_output_is_the_answer(bench: Bench) -> None:
    for name, target in (("lead", None), ("maker", "lead")):
        await bench.platform.write(
            bench.admin, roles.create_role, CreateRole(name, escalation_target=target, max_escalation_depth=2)
        )
    task, item = await escalated(bench)
    (asked,) = [t for t in await bench.tasks_of(item) if t.role == "lead"]
    assert asked.input["escalated_task_id"] == str(task.id)
    await bench.done(asked, {"instructions": "use the other one"})
    resumed = await bench.get(task.id)
    assert resumed.state is TaskState.READY
    assert resumed.input["escalation_resolution"]["instructions"] == "use the other one"
    assert (await bench.look(item)).escalation_status is None
    assert "task.escalation_task_created" in await bench.kinds(task)


async def test_a_response_is_kept_and_decides_nothing(bench: Bench) -> None:
    task, _ = await escalated(bench)
    command = escalate.RespondToEscalation(task.id, "wait")
    answered = await bench.platform.write(bench.admin, escalate.respond, command)
    assert (answered.state, answered.input["escalation_response"]["instructions"]) == (
        TaskState.ESCALATED,
        "wait",
    )


async def test_an_escalation_of_what_was_handed_on_whole_completes_it(bench: Bench) -> None:
    agent, task, lease_id = await bench.started()
    await bench.hand_on(agent, task.id, lease_id)
    command = escalate.EscalateTask(task.id, "sign it", lease_id, by_executor=True)
    await bench.platform.write(agent, escalate.escalate, command)
    decided = escalate.ResolveEscalation(task.id, "signed")
    ended = await bench.platform.write(bench.admin, escalate.resolve, decided)
    assert ended.state is TaskState.COMPLETED


async def test_retry_and_skip_of_an_item_mean_its_failed_task(bench: Bench) -> None:
    _, item = await bench.begun(ONGOING)
    task = await bench.task(item)
    retry = of_item.RetryWorkItem(item.workflow_id, item.id)
    with pytest.raises(Conflict):
        await bench.platform.write(bench.admin, of_item.retry_work_item, retry)
    agent = await bench.agent()
    held = await bench.take(agent)
    await bench.fail(agent, task.id, held.lease_id)
    await bench.platform.write(bench.admin, of_item.retry_work_item, retry)
    assert await bench.state(task.id) is TaskState.READY
    command = of_item.SkipWorkItem(item.workflow_id, item.id, "by hand")
    await bench.platform.write(bench.admin, of_item.skip_work_item, command)
    assert await bench.state(task.id) is TaskState.COMPLETED
