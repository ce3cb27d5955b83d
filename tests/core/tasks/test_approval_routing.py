"""Who decides is declared: named deciders, a quorum, a deadline that decides, a form, duties kept apart."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from core import approval_queue, approvals
from core.approval_records import Approval
from core.caller import Caller
from core.errors import Conflict, Forbidden, NotFound, Unprocessable
from core.tasks.task import Policy
from schemas.vocabulary import ApprovalStatus, Scope, TaskState
from tests.core.tasks.stage import Stage

FORM = {"type": "object", "properties": {"budget": {"type": "integer"}}, "required": ["budget"]}


def decided_by(**policy: Any) -> Policy:
    """A task that may start only with leave, given as the policy says."""
    return Policy(requires_approval=True, approval=policy)


async def open_approval(stage: Stage, task_id: UUID) -> Approval:
    query = approval_queue.ListApprovals(status=ApprovalStatus.PENDING, task_id=task_id)
    (found,) = (await stage.platform.read(stage.admin, approval_queue.list_approvals, query)).items
    return found


async def say(stage: Stage, by: Caller, approval_id: UUID, action: str = "approve", **more: Any) -> Approval:
    command = approvals.DecideApproval(approval_id, action=action, **more)
    return await stage.platform.write(by, approvals.decide, command)


async def read(stage: Stage, by: Caller, approval_id: UUID) -> Approval:
    query = approval_queue.GetApproval(approval_id)
    return await stage.platform.read(by, approval_queue.get_approval, query)


async def test_only_who_is_named_decides_and_sees(stage: Stage) -> None:
    boss = stage.caller(Scope.AGENT, "user")
    policy = decided_by(deciders={"principals": [str(boss.principal_id)]})
    asked = await open_approval(stage, (task := await stage.submit(policy=policy)).id)
    with pytest.raises(Forbidden):
        await say(stage, stage.admin, asked.id)
    with pytest.raises(Forbidden):
        await say(stage, stage.user, asked.id)
    with pytest.raises(NotFound):
        await say(stage, stage.caller(Scope.AGENT, "user"), asked.id)
    assert (await read(stage, boss, asked.id)).id == asked.id
    assert (await say(stage, boss, asked.id)).status is ApprovalStatus.APPROVED
    assert await stage.state(task.id) is TaskState.READY


async def test_a_role_is_whoever_offers_it_when_it_is_decided(stage: Stage) -> None:
    policy = decided_by(deciders={"roles": ["reviewer"]})
    asked = await open_approval(stage, (await stage.submit(policy=policy)).id)
    near = await stage.agent("near", routing_tags=["role:reviewer2"])
    with pytest.raises(NotFound):
        await say(stage, near, asked.id)
    later = await stage.agent("later", routing_tags=["role:reviewer", "x"])
    assert (await read(stage, later, asked.id)).id == asked.id
    assert (await say(stage, later, asked.id)).status is ApprovalStatus.APPROVED


async def test_a_scope_is_every_key_of_it_and_above(stage: Stage) -> None:
    policy = decided_by(deciders={"scopes": ["worker"]})
    for decider in (stage.caller(Scope.WORKER, "worker"), stage.caller(Scope.SERVICE, "user")):
        asked = await open_approval(stage, (await stage.submit(policy=policy)).id)
        with pytest.raises(Forbidden):
            await say(stage, stage.user, asked.id)
        assert (await say(stage, decider, asked.id)).status is ApprovalStatus.APPROVED


async def test_a_quorum_decides_with_its_last_vote_and_shows_every_vote(stage: Stage) -> None:
    three = [stage.caller(Scope.AGENT, "user") for _ in range(3)]
    names = [str(one.principal_id) for one in three]
    policy = decided_by(deciders={"principals": names}, quorum=2)
    task = await stage.submit(policy=policy)
    asked = await open_approval(stage, task.id)
    assert (await say(stage, three[0], asked.id)).status is ApprovalStatus.PENDING
    assert (await say(stage, three[0], asked.id)).votes == (await read(stage, stage.admin, asked.id)).votes
    with pytest.raises(Conflict):
        await say(stage, three[0], asked.id, "reject")
    await say(stage, three[1], asked.id, "reject", feedback="no")
    assert await stage.state(task.id) is TaskState.AWAITING_APPROVAL
    decided = await say(stage, three[2], asked.id)
    assert decided.status is ApprovalStatus.APPROVED
    assert [vote["status"] for vote in decided.votes] == ["approved", "rejected", "approved"]
    assert [vote["principal_id"] for vote in (await read(stage, three[1], asked.id)).votes] == names
    assert await stage.state(task.id) is TaskState.READY
    kinds = [kind for kind, _ in await stage.told(task.id) if kind.startswith("approval.")]
    assert kinds == ["approval.voted", "approval.voted", "approval.decided"]


async def test_concurrent_votes_are_all_counted_and_decide_once(stage: Stage) -> None:
    voters = [stage.caller(Scope.ADMIN, "user") for _ in range(8)]
    task = await stage.submit(policy=decided_by(quorum=3))
    asked = await open_approval(stage, task.id)
    results = await asyncio.gather(*(say(stage, voter, asked.id) for voter in voters), return_exceptions=True)
    decided = [r for r in results if isinstance(r, Approval)]
    assert sorted(one.status for one in decided) == ["approved", "pending", "pending"]
    assert all(isinstance(r, Conflict) for r in results if not isinstance(r, Approval))
    assert len((await read(stage, stage.admin, asked.id)).votes) == 3
    assert await stage.moves(task.id) == ["approve", "release"]


async def test_what_no_quorum_can_reach_any_more_is_rejected(stage: Stage) -> None:
    two = [stage.caller(Scope.AGENT, "user") for _ in range(2)]
    names = [str(one.principal_id) for one in two]
    policy = decided_by(deciders={"principals": names}, quorum=2)
    asked = await open_approval(stage, (task := await stage.submit(policy=policy)).id)
    await say(stage, two[0], asked.id)
    assert (await say(stage, two[1], asked.id, "reject")).status is ApprovalStatus.REJECTED
    assert await stage.state(task.id) is TaskState.FAILED


@pytest.mark.parametrize(("default", "state"), [("approve", TaskState.READY), ("reject", TaskState.FAILED)])
async def test_at_the_deadline_the_default_decides_once(stage: Stage, default: str, state: TaskState) -> None:
    task = await stage.submit(policy=decided_by(deadline_seconds=60, default=default))
    asked = await open_approval(stage, task.id)
    await stage.later(59)
    assert await stage.state(task.id) is TaskState.AWAITING_APPROVAL
    await stage.later(1)
    assert await stage.state(task.id) is state
    decided = await read(stage, stage.admin, asked.id)
    assert decided.decided_via == "deadline"
    with pytest.raises(Conflict):
        await say(stage, stage.admin, asked.id)


async def test_the_option_that_was_named_decides_at_the_deadline(stage: Stage) -> None:
    policy = Policy(approval={"deadline_seconds": 10, "default": "always"})
    agent, task, lease = await stage.started(policy=policy)
    options = [{"id": "no", "kind": "reject_once"}, {"id": "always", "kind": "allow_always"}]
    command = approvals.AskApproval(task.id, lease, "may I?", options=options)
    asked = await stage.platform.write(agent, approvals.ask, command)
    await stage.later(10)
    decided = await read(stage, stage.user, asked.id)
    assert (decided.status, decided.option_id) == (ApprovalStatus.APPROVED, "always")


async def test_an_answer_fits_the_form_and_goes_to_whoever_does_the_task(stage: Stage) -> None:
    task = await stage.submit(input={"a": 1}, policy=decided_by(form=FORM))
    asked = await open_approval(stage, task.id)
    for wrong in (None, {"budget": "much"}):
        with pytest.raises(Unprocessable):
            await say(stage, stage.admin, asked.id, data=wrong)
    await say(stage, stage.admin, asked.id, data={"budget": 7})
    held = await stage.take(await stage.agent())
    assert held.task.input == {"a": 1, "approval_answer": {"budget": 7}}


async def test_a_rejection_needs_no_form(stage: Stage) -> None:
    task = await stage.submit(policy=decided_by(form=FORM))
    asked = await open_approval(stage, task.id)
    assert (await say(stage, stage.admin, asked.id, "reject")).status is ApprovalStatus.REJECTED


async def test_an_executor_asks_with_a_form_and_reads_the_answer(stage: Stage) -> None:
    agent, task, lease = await stage.started()
    command = approvals.AskApproval(task.id, lease, "how much?", form=FORM)
    asked = await stage.platform.write(agent, approvals.ask, command)
    await say(stage, stage.user, asked.id, data={"budget": 3})
    assert (await read(stage, agent, asked.id)).answer == {"budget": 3}


async def test_whoever_submitted_or_asked_does_not_decide_where_duties_are_kept_apart(stage: Stage) -> None:
    policy = Policy(requires_approval=True, approval={"separation_of_duties": True})
    asked = await open_approval(stage, (await stage.submit(by=stage.admin, policy=policy)).id)
    with pytest.raises(Forbidden) as refused:
        await say(stage, stage.admin, asked.id)
    assert refused.value.details["reason_code"] == "separation_of_duties"
    other = stage.caller(Scope.ADMIN, "user")
    assert (await say(stage, other, asked.id)).status is ApprovalStatus.APPROVED


async def test_a_stranger_of_another_tenant_is_told_of_nothing(stage: Stage) -> None:
    stranger = Caller(uuid4(), uuid4(), Scope.ADMIN, "user", "x")
    policy = decided_by(deciders={"principals": [str(stranger.principal_id)], "scopes": ["agent"]})
    asked = await open_approval(stage, (await stage.submit(policy=policy)).id)
    with pytest.raises(NotFound):
        await say(stage, stranger, asked.id)
