"""What somebody must allow: a start, an output, a permission."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from core import approval_queue, approvals
from core.caller import Caller
from core.errors import Conflict, Forbidden, Invalid, InvalidTransition, NotFound
from core.tasks import review
from core.tasks.task import Policy, Task
from schemas.vocabulary import ApprovalKind, ApprovalStatus, Scope, TaskState
from tests.core.tasks.stage import Stage, reason

STRICT = Policy(output_schema={"type": "object", "required": ["ok"]})


async def pending(stage: Stage, task_id: UUID) -> list[approvals.Approval]:
    query = approval_queue.ListApprovals(status=ApprovalStatus.PENDING, task_id=task_id)
    return list((await stage.platform.read(stage.admin, approval_queue.list_approvals, query)).items)


async def decide(
    stage: Stage, by: Caller, approval_id: UUID, action: str, **more: object
) -> approvals.Approval:
    command = approvals.DecideApproval(approval_id, action=action, **more)  # type: ignore[arg-type]
    return await stage.platform.write(by, approvals.decide, command)


async def judge(stage: Stage, task_id: UUID, action: str, **more: object) -> Task:
    command = review.JudgeTask(task_id, action, **more)  # type: ignore[arg-type]
    return await stage.platform.write(stage.admin, review.judge_task, command)


async def permission(
    stage: Stage, agent: Caller, task_id: UUID, lease: UUID, **more: object
) -> approvals.Approval:
    command = approvals.AskApproval(task_id, lease, "delete the file?", **more)  # type: ignore[arg-type]
    return await stage.platform.write(agent, approvals.ask, command)


async def test_leave_to_start_makes_the_task_ready(stage: Stage) -> None:
    task = await stage.submit(policy=Policy(requires_approval=True))
    [asked] = await pending(stage, task.id)
    assert asked.kind is ApprovalKind.START
    assert (await decide(stage, stage.admin, asked.id, "approve")).status is ApprovalStatus.APPROVED
    assert await stage.moves(task.id) == ["approve", "release"]
    assert await stage.state(task.id) is TaskState.READY


async def test_a_refused_start_fails_the_task(stage: Stage) -> None:
    task = await stage.submit(policy=Policy(requires_approval=True))
    refused = await judge(stage, task.id, "reject", feedback="too dear")
    assert refused.state is TaskState.FAILED
    assert refused.error is not None
    assert (refused.error["category"], refused.error["message"]) == ("assessment_rejected", "too dear")


async def test_leave_once_given_is_not_asked_for_again(stage: Stage) -> None:
    agent = await stage.agent()
    task = await stage.submit(policy=Policy(requires_approval=True))
    await judge(stage, task.id, "approve")
    held = await stage.take(agent)
    await stage.refuse(agent, task.id, held.lease_id, requeue=True)
    await stage.later(1)
    assert await stage.state(task.id) is TaskState.READY


async def test_leave_may_change_the_input(stage: Stage) -> None:
    task = await stage.submit(input={"a": 1}, policy=Policy(requires_approval=True))
    changed = await judge(stage, task.id, "approve", override_input={"b": 2})
    assert changed.input == {"a": 1, "b": 2}


async def test_a_forced_retry_asks_for_leave_anew_and_drops_the_first_question(stage: Stage) -> None:
    task = await stage.submit(policy=Policy(requires_approval=True))
    [first] = await pending(stage, task.id)
    await stage.platform.write(stage.admin, review.retry, review.RetryTask(task.id, force=True))
    [second] = await pending(stage, task.id)
    assert first.id != second.id


async def test_an_output_that_does_not_fit_waits_for_a_judgement(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=STRICT)
    handed = await stage.complete(agent, task.id, lease, {"no": 1})
    assert (handed.state, handed.output) == (TaskState.OUTPUT_PENDING_ASSESSMENT, {"no": 1})
    assert await stage.outcomes(task.id) == ["completed"]
    [asked] = await pending(stage, task.id)
    assert asked.kind is ApprovalKind.OUTPUT
    assert asked.subject["issues"]
    assert await stage.complete(agent, task.id, lease, {"no": 1}) == await stage.get(task.id)


async def test_an_output_that_could_not_be_verified_waits_for_a_judgement(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    handed = await stage.complete(agent, task.id, lease, "x", verification={"passed": False})
    assert handed.state is TaskState.OUTPUT_PENDING_ASSESSMENT


async def test_an_approved_output_stands(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=STRICT)
    await stage.complete(agent, task.id, lease, {"no": 1})
    done = await judge(stage, task.id, "approve")
    assert (done.state, done.output) == (TaskState.COMPLETED, {"no": 1})


async def test_repeating_the_completion_of_an_approved_output_changes_nothing(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=STRICT)
    await stage.complete(agent, task.id, lease, {"no": 1})
    done = await judge(stage, task.id, "approve")
    assert await stage.complete(agent, task.id, lease, {"no": 1}) == done


async def test_a_rejected_output_fails_the_task(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=STRICT)
    await stage.complete(agent, task.id, lease, {"no": 1})
    assert (await judge(stage, task.id, "reject")).state is TaskState.FAILED


async def test_wanted_changes_send_the_task_back_with_the_feedback(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=STRICT, input={"a": 1})
    await stage.complete(agent, task.id, lease, {"no": 1})
    back = await judge(stage, task.id, "request_changes", feedback="say ok")
    assert (back.state, back.rework_count) == (TaskState.READY, 1)
    assert back.input == {"a": 1, "assessment_feedback": "say ok"}
    held = await stage.take(agent)
    assert (await stage.complete(agent, task.id, held.lease_id, {"ok": 1})).state is TaskState.COMPLETED


async def test_too_much_rework_is_a_rejection(stage: Stage) -> None:
    policy = Policy(output_schema=STRICT.output_schema, max_rework=1)
    agent = await stage.agent()
    task = await stage.submit(policy=policy)
    for expected in (TaskState.READY, TaskState.FAILED):
        held = await stage.take(agent)
        await stage.complete(agent, task.id, held.lease_id, "no")
        assert (await judge(stage, task.id, "request_changes")).state is expected
    assert "task.max_rework_exceeded" in [kind for kind, _ in await stage.told(task.id)]


async def test_a_forced_retry_of_an_output_supersedes_its_judgement(stage: Stage) -> None:
    agent, task, lease = await stage.started(policy=STRICT)
    await stage.complete(agent, task.id, lease, "no")
    [asked] = await pending(stage, task.id)
    await stage.platform.write(stage.admin, review.retry, review.RetryTask(task.id, force=True))
    assert not await pending(stage, task.id)
    with pytest.raises(Conflict):
        await decide(stage, stage.admin, asked.id, "approve")
    assert await stage.state(task.id) is TaskState.READY


async def test_whoever_made_the_output_does_not_judge_it(stage: Stage) -> None:
    worker = stage.caller(Scope.SERVICE, "service")
    agent = await stage.agent(by=worker, worker_id=worker.principal_id)
    task = await stage.submit(policy=STRICT)
    held = (await stage.claim(agent, by=worker, start=True)).items[0]
    await stage.complete(worker, task.id, held.lease_id, "no")
    [asked] = await pending(stage, task.id)
    with pytest.raises(Forbidden):
        await decide(stage, worker, asked.id, "approve")
    assert await stage.state(task.id) is TaskState.OUTPUT_PENDING_ASSESSMENT


async def test_a_permission_is_asked_while_the_work_goes_on(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await permission(stage, agent, task.id, lease)
    assert await stage.state(task.id) is TaskState.IN_PROGRESS
    assert (await decide(stage, stage.user, asked.id, "approve")).status is ApprovalStatus.APPROVED
    kinds = [kind for kind, _ in await stage.told(task.id)]
    assert kinds[-2:] == ["approval.requested", "approval.decided"]


async def test_the_first_decision_wins(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await permission(stage, agent, task.id, lease)
    results = await asyncio.gather(
        *(
            decide(stage, who, asked.id, how)
            for who in (stage.user, stage.admin)
            for how in ("approve", "reject")
        ),
        return_exceptions=True,
    )
    refused = [r for r in results if isinstance(r, Conflict)]
    assert len(refused) == 3
    assert {reason(r) for r in refused} == {"already_decided"}


async def test_options_of_ones_own_may_be_offered(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    options = [{"id": "yes", "kind": "allow_once"}, {"id": "no", "kind": "reject_always"}]
    asked = await permission(stage, agent, task.id, lease, options=options)
    command = approvals.DecideApproval(asked.id, option_id="maybe")
    with pytest.raises(Invalid):
        await stage.platform.write(stage.user, approvals.decide, command)
    command = approvals.DecideApproval(asked.id, option_id="no")
    decided = await stage.platform.write(stage.user, approvals.decide, command)
    assert (decided.status, decided.option_id) == (ApprovalStatus.REJECTED, "no")


async def test_an_action_must_belong_to_the_kind(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await permission(stage, agent, task.id, lease)
    with pytest.raises(Invalid):
        await decide(stage, stage.user, asked.id, "block")


async def test_the_executor_never_decides_for_itself(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await permission(stage, agent, task.id, lease)
    with pytest.raises(Forbidden):
        await decide(stage, agent, asked.id, "approve")


async def test_a_stranger_learns_of_no_approval(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await permission(stage, agent, task.id, lease)
    for stranger in (stage.caller(Scope.AGENT, "user"), Stage(stage.platform, stage.clock).admin):
        with pytest.raises(NotFound):
            await decide(stage, stranger, asked.id, "approve")


async def test_a_permission_ends_with_the_attempt_that_asked(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    asked = await permission(stage, agent, task.id, lease)
    await stage.later(60)
    with pytest.raises(Conflict) as refused:
        await decide(stage, stage.user, asked.id, "approve")
    assert reason(refused.value) == "already_decided"


async def test_a_permission_with_a_deadline_expires_and_is_not_rejected(stage: Stage) -> None:
    agent = await stage.agent()
    task = await stage.submit()
    held = await stage.take(agent, lease_seconds=600)
    until = stage.clock.now() + timedelta(seconds=30)
    asked = await permission(stage, agent, task.id, held.lease_id, expires_at=until)
    await stage.later(30)
    query = approval_queue.ListApprovals(task_id=task.id)
    page = await stage.platform.read(stage.admin, approval_queue.list_approvals, query)
    assert [(a.id, a.status) for a in page.items] == [(asked.id, ApprovalStatus.EXPIRED)]
    assert await stage.state(task.id) is TaskState.IN_PROGRESS


async def test_a_task_that_waits_for_no_decision_takes_none(stage: Stage) -> None:
    task = await stage.submit()
    with pytest.raises(InvalidTransition):
        await judge(stage, task.id, "approve")
