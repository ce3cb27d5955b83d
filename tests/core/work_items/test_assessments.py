"""An assessment's outcome is applied to its subject with its completion, or not at all."""

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.tasks.task import Policy
from core.work_items.handoffs import HandoffsOf, TaskId, handoffs_of, predecessor_handoff
from schemas.item_words import Resolution, WorkItemState
from schemas.vocabulary import TaskState
from tests.core.tasks.stage import reason
from tests.core.work_items.bench import PLAIN, Bench

JUDGED = Policy(output_schema={"type": "string"})
"""Its output waits for a judgement when it is no text."""
ONGOING = {**PLAIN, "lifecycle": "ongoing"}


@pytest.mark.parametrize("policy", [Policy(), JUDGED], ids=["completed", "waits"])
async def test_what_is_approved_is_completed(bench: Bench, policy: Policy) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker", policy=policy)
    await bench.done(subject, 1)
    await bench.judged(item, subject, Resolution.APPROVED)
    assert await bench.state(subject.id) is TaskState.COMPLETED
    assert "task.assessment_resolution_applied" in await bench.kinds(subject)
    seen = await bench.look(item)
    assert (seen.assessment_status, seen.next_expected_action) == ("approved", None)
    assert (await bench.finish(item)).state is WorkItemState.COMPLETED


@pytest.mark.parametrize("policy", [Policy(), JUDGED], ids=["completed", "waits"])
async def test_what_needs_changes_is_done_again_with_the_feedback(bench: Bench, policy: Policy) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker", policy=policy, input={"a": 1})
    await bench.done(subject, 1)
    await bench.judged(item, subject, Resolution.REQUEST_CHANGES)
    again = await bench.get(subject.id)
    assert (again.state, again.rework_count, again.output) == (TaskState.READY, 1, None)
    assert again.input == {"a": 1, "assessment_feedback": "my word"}
    seen = await bench.look(item)
    assert (seen.next_expected_action, seen.next_expected_actor, seen.rework_count) == ("rework", "maker", 1)
    assert (again.retry_count, "task.assessment_rework_applied" in await bench.kinds(subject)) == (0, True)
    await bench.done(again, "done")
    assert (await bench.look(item)).next_expected_action is None


@pytest.mark.parametrize("policy", [Policy(), JUDGED], ids=["completed", "waits"])
async def test_what_is_rejected_fails(bench: Bench, policy: Policy) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker", policy=policy)
    await bench.done(subject, 1)
    await bench.judged(item, subject, Resolution.REJECTED)
    ended = await bench.get(subject.id)
    assert ended.state is TaskState.FAILED
    assert ended.error is not None
    assert (ended.error["category"], ended.error["message"]) == ("assessment_rejected", "my word")
    assert "task.assessment_rejection_applied" in await bench.kinds(subject)


async def test_what_is_blocked_blocks_its_item_until_somebody_unblocks_it(bench: Bench) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker")
    await bench.done(subject)
    await bench.judged(item, subject, Resolution.BLOCKED)
    seen = await bench.look(item)
    assert (seen.state, seen.blocked_reason, seen.column_id) == (WorkItemState.BLOCKED, "my word", "blocked")
    assert await bench.state(subject.id) is TaskState.COMPLETED
    assert "task.assessment_block_applied" in await bench.kinds(subject)


async def test_more_rework_than_is_allowed_fails_the_subject(bench: Bench) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker", policy=Policy(max_rework=0))
    await bench.done(subject)
    await bench.judged(item, subject, Resolution.REQUEST_CHANGES)
    assert await bench.state(subject.id) is TaskState.FAILED
    assert "task.max_rework_exceeded" in await bench.kinds(subject)


async def test_an_outcome_holds_only_for_the_revision_that_was_looked_at(bench: Bench) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker")
    await bench.done(subject)
    late = await bench.assessment(item, subject, subject_revision=7)
    await bench.done(late, {"resolution": "rejected"})
    silent = await bench.assessment(item, subject)
    await bench.done(silent, {"resolution": "splendid"})
    assert await bench.state(subject.id) is TaskState.COMPLETED
    for task in (late, silent):
        assert "task.assessment_resolution_skipped" in await bench.kinds(task)


async def test_an_assessment_can_speak_by_its_output_alone(bench: Bench) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker")
    await bench.done(subject)
    judge = await bench.assessment(item, subject)
    assert (await bench.look(item)).next_expected_action == "assess"
    with pytest.raises(Conflict):
        await bench.finish(item)
    await bench.done(judge, {"resolution": "request_changes", "feedback": "shorter"})
    assert (await bench.get(subject.id)).input == {"assessment_feedback": "shorter"}


async def test_an_assessment_can_end_its_branch_or_ask_for_people(bench: Bench) -> None:
    workflow, item = await bench.begun(ONGOING, branch_key="b")
    twin, other = await bench.item(workflow, branch_key="b"), await bench.item(workflow, branch_key="c")
    subject = await bench.task(item, role="maker")
    await bench.done(subject)
    await bench.judged(item, subject, Resolution.APPROVED, outcome_action_applied="escalate")
    assert (await bench.look(item)).escalation_status == "open"
    assert "task.assessment_escalated" in await bench.kinds(subject)
    await bench.judged(item, subject, Resolution.APPROVED, outcome_action_applied="terminate_branch")
    assert [(await bench.look(i)).state for i in (item, twin, other)] == [
        WorkItemState.CANCELLED,
        WorkItemState.CANCELLED,
        WorkItemState.OPEN,
    ]


async def test_only_who_may_move_a_task_sets_up_an_assessment_of_it(bench: Bench) -> None:
    _, item = await bench.begun(ONGOING)
    subject = await bench.task(item, role="maker")
    extras = {"task_kind": "assessment", "subject_task_id": str(subject.id), "subject_revision": 0}
    with pytest.raises(Forbidden):
        await bench.submit("judge", by=await bench.agent("stranger"), extras=extras)
    for missing in ("subject_task_id", "subject_revision"):
        less = {name: value for name, value in extras.items() if name != missing}
        with pytest.raises(Invalid):
            await bench.submit("judge", by=bench.admin, extras=less)
    elsewhere = await bench.begun(ONGOING)
    with pytest.raises(Invalid):
        await bench.submit("judge", by=bench.admin, extras=extras, work_item_id=elsewhere[1].id)


async def test_a_handoff_is_given_once_for_each_revision_by_whoever_holds_the_task(bench: Bench) -> None:
    workflow, item = await bench.begun(ONGOING)
    task = await bench.task(item)
    agent, stranger = await bench.agent(), await bench.agent("stranger")
    held = await bench.take(agent)
    with pytest.raises(Forbidden):
        await bench.hand_on(stranger, task.id, held.lease_id)
    first = await bench.hand_on(agent, task.id, held.lease_id, content={"changes": ["a"]})
    assert await bench.hand_on(agent, task.id, held.lease_id, content={"changes": ["a"]}) == first
    with pytest.raises(Conflict) as other:
        await bench.hand_on(agent, task.id, held.lease_id, content={"changes": ["b"]})
    assert reason(other.value) == "handoff_exists"
    await bench.complete(agent, task.id, held.lease_id)
    assert (await bench.kinds(task)).count("task.handoff_submitted") == 1
    follower = await bench.task(item, depends_on=[task.id])
    found = await bench.platform.read(bench.admin, predecessor_handoff, TaskId(follower.id))
    assert found == first
    listed = await bench.platform.read(bench.admin, handoffs_of, HandoffsOf(workflow.id, item.id))
    assert listed == [first]
    wrong = HandoffsOf((await bench.workflow(ONGOING)).id, item.id)
    with pytest.raises(NotFound):
        await bench.platform.read(bench.admin, handoffs_of, wrong)
