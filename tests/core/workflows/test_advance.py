"""A playbook runs by itself: in order, fanned out, filled in, held by gates, and to an end."""

from typing import Any

import pytest

from core.errors import Conflict, Forbidden, HubError, Invalid
from core.workflows import control, create, gates, read
from core.workflows.records import WorkflowId
from schemas.vocabulary import (
    ApprovalStatus,
    OnTaskFailure,
    PauseMode,
    Scope,
    StageStatus,
    TaskState,
    WorkflowState,
)
from tests.core.workflows.theatre import Theatre

CHAIN = {
    "parameters": [{"slug": "subject", "title": "Subject", "required": True}],
    "stages": [
        {
            "name": "plan",
            "tasks": [{"name": "plan", "title": "plan {{ parameters.subject }}"}],
        },
        {
            "name": "work",
            "tasks": [
                {
                    "name": "search",
                    "fan_out": {"over": "{{ tasks.plan.output.topics }}", "item": "topic"},
                    "title": "search {{ topic }}",
                    "input": {"topic": "{{ topic }}", "n": "{{ index }}"},
                },
                {"name": "join", "depends_on": ["search"], "input": {"all": "{{ tasks.search.outputs }}"}},
            ],
        },
    ],
    "output": {"report": "{{ tasks.join.output.all }}"},
}


def does(held: Any) -> Any:
    if held.task.title.startswith("plan"):
        return {"topics": ["a", "b", "c"]}
    return held.task.input


async def test_a_playbook_runs_from_its_first_task_to_its_output(theatre: Theatre) -> None:
    workflow = await theatre.workflow(CHAIN, parameters={"subject": "bees"})
    assert (workflow.state, workflow.current_stage) == (WorkflowState.ACTIVE, "plan")
    done = await theatre.perform(does)
    assert done == ["plan bees", "search a", "search b", "search c", "join"]
    ended = await theatre.now(workflow)
    assert ended.state is WorkflowState.COMPLETED
    assert ended.output == {"report": [{"topic": t, "n": n} for n, t in enumerate("abc")]}
    assert ended.completed_at is not None
    assert await theatre.steps(workflow) == {"plan": "completed", "search": "completed", "join": "completed"}


async def test_a_task_begins_only_when_all_that_it_depends_on_is_done(theatre: Theatre) -> None:
    names = ["a", "b", "c", "d"]
    tasks = [{"name": n, "depends_on": names[:i]} for i, n in enumerate(names)]
    workflow = await theatre.workflow({"stages": [{"name": "work", "tasks": tasks}]})
    assert await theatre.perform() == names
    assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED


async def test_a_condition_that_does_not_hold_skips_the_task_and_not_what_follows(theatre: Theatre) -> None:
    tasks: list[dict[str, Any]] = [
        {"name": "ask"},
        {"name": "fix", "depends_on": ["ask"], "when": {"value": "{{ tasks.ask.output }}", "equals": "bad"}},
        {"name": "ship", "depends_on": ["fix", "ask"], "input": "{{ tasks.fix.state }}"},
    ]
    workflow = await theatre.workflow({"stages": [{"name": "work", "tasks": tasks}]})
    assert await theatre.perform(lambda held: "good") == ["ask", "ship"]
    assert (await theatre.steps(workflow))["fix"] == "skipped"
    assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED


async def test_a_fan_out_over_nothing_is_done_at_once(theatre: Theatre) -> None:
    tasks = [
        {"name": "many", "fan_out": {"over": []}},
        {"name": "end", "depends_on": ["many"], "input": "{{ tasks.many.outputs }}"},
    ]
    workflow = await theatre.workflow(
        {"stages": [{"name": "w", "tasks": tasks}], "output": "{{ tasks.end.output }}"}
    )
    assert await theatre.perform() == ["end"]
    assert (await theatre.now(workflow)).output == []


@pytest.mark.parametrize("where", ["max_parallel", "max_active_tasks"])
async def test_no_more_tasks_are_open_than_may_be(theatre: Theatre, where: str) -> None:
    fan: dict[str, Any] = {"over": list(range(7))}
    definition: dict[str, Any] = {"stages": [{"name": "w", "tasks": [{"name": "many", "fan_out": fan}]}]}
    if where == "max_parallel":
        fan["max_parallel"] = 2
    else:
        definition["orchestrator"] = {"max_active_tasks": 2}
    workflow = await theatre.workflow(definition)
    while (await theatre.now(workflow)).state is WorkflowState.ACTIVE:
        detail = await theatre.platform.read(theatre.admin, read.view_workflow, WorkflowId(workflow.id))
        assert 1 <= read.open_count(detail.task_counts) <= 2
        await theatre.perform(most=1)
    assert (
        len((await theatre.platform.read(theatre.admin, read.view_workflow, WorkflowId(workflow.id))).tasks)
        == 7
    )


async def test_a_large_fan_out_is_made_in_several_transactions(theatre: Theatre) -> None:
    tasks = [{"name": "many", "fan_out": {"over": list(range(250))}}]
    workflow = await theatre.workflow({"stages": [{"name": "w", "tasks": tasks}]})
    await theatre.sweep()
    (step,) = (await theatre.board(workflow)).steps
    assert (step.total, step.counts) == (250, {"ready": 250})


GATED = {
    "stages": [
        {
            "name": "build",
            "tasks": [
                {"name": "code"},
                {"name": "test", "depends_on": ["code"], "input": "{{ tasks.code.output }}"},
            ],
            "gate": {"summary": "ship it?", "rework": ["code"]},
        },
        {"name": "ship", "tasks": [{"name": "ship"}]},
    ]
}


async def test_a_gate_holds_its_stage_until_it_is_approved(theatre: Theatre) -> None:
    workflow = await theatre.workflow(GATED)
    assert await theatre.perform() == ["code", "test"]
    waiting = await theatre.board(workflow)
    assert waiting.stages[0].status is StageStatus.AWAITING_GATE
    assert waiting.workflow.state is WorkflowState.ACTIVE
    assert await theatre.perform() == []
    await theatre.decide(workflow, "approve")
    assert await theatre.perform() == ["ship"]
    assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED


async def test_requested_changes_are_made_by_the_same_task_and_all_after_it_is_done_anew(
    theatre: Theatre,
) -> None:
    workflow = await theatre.workflow(GATED)
    said: list[Any] = []

    def code(held: Any) -> Any:
        if held.task.title == "code":
            said.append(held.task.input)
            return {"version": len(said)}
        return held.task.input

    await theatre.perform(code)
    await theatre.decide(workflow, "request_changes", "more tests")
    assert await theatre.perform(code) == ["code", "test"]
    assert said[1]["assessment_feedback"] == "more tests"
    board = await theatre.board(workflow)
    assert (board.stages[0].status, board.stages[0].iteration_count) == (StageStatus.AWAITING_GATE, 1)
    assert {step.name: step.iteration for step in board.steps} == {"code": 1, "test": 2, "ship": 1}
    await theatre.decide(workflow, "approve")
    assert await theatre.perform(code) == ["ship"]
    assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED


async def test_a_rejected_gate_ends_the_workflow_and_a_blocked_one_holds_it(theatre: Theatre) -> None:
    for action, state in (("reject", WorkflowState.FAILED), ("block", WorkflowState.ACTIVE)):
        workflow = await theatre.workflow(GATED)
        await theatre.perform()
        with pytest.raises(Invalid):
            await theatre.decide(workflow, action)
        await theatre.decide(workflow, action, "no")
        assert await theatre.perform() == []
        board = await theatre.board(workflow)
        assert (board.workflow.state, board.stages[0].status) == (state, StageStatus.BLOCKED)


async def test_a_gate_is_decided_once(theatre: Theatre) -> None:
    workflow = await theatre.workflow(GATED)
    await theatre.perform()
    gate = await theatre.gate(workflow)
    from core.approvals import DecideApproval, decide

    await theatre.platform.write(theatre.admin, decide, DecideApproval(gate, action="approve"))
    with pytest.raises(Conflict):
        await theatre.platform.write(theatre.admin, decide, DecideApproval(gate, action="approve"))
    assert await theatre.perform() == ["ship"]


async def test_a_failed_task_means_what_the_playbook_says(theatre: Theatre) -> None:
    def fails(held: Any) -> Any:
        if held.task.title == "a":
            raise RuntimeError("broken")
        return held.task.input

    tasks = [{"name": "a"}, {"name": "b"}, {"name": "c", "depends_on": ["a"], "input": "{{ tasks.a.state }}"}]
    for policy in OnTaskFailure:
        workflow = await theatre.workflow(
            {"on_task_failure": policy.value, "stages": [{"name": "w", "tasks": tasks}]}
        )
        done = await theatre.perform(fails)
        ended = await theatre.now(workflow)
        match policy:
            case OnTaskFailure.FAIL_WORKFLOW:
                assert ended.state is WorkflowState.FAILED
                assert ended.failure is not None
                assert (ended.failure["task"], ended.failure["category"]) == ("a", "broken")
                assert await theatre.take_any() is None
            case OnTaskFailure.WAIT:
                assert (ended.state, done) == (WorkflowState.ACTIVE, ["a", "b"])
                from core.tasks import review

                detail = await theatre.platform.read(
                    theatre.admin, read.view_workflow, WorkflowId(workflow.id)
                )
                (failed,) = [task for task in detail.tasks if task.state is TaskState.FAILED]
                await theatre.platform.write(theatre.admin, review.retry, review.RetryTask(failed.id))
                assert await theatre.perform() == ["a", "c"]
                assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED
            case OnTaskFailure.CONTINUE:
                assert (ended.state, done) == (WorkflowState.COMPLETED, ["a", "b", "c"])


async def test_a_path_that_leads_nowhere_is_told_and_counts_as_a_failure(theatre: Theatre) -> None:
    tasks = [{"name": "a"}, {"name": "b", "depends_on": ["a"], "input": "{{ tasks.a.output.missing }}"}]
    workflow = await theatre.workflow({"stages": [{"name": "w", "tasks": tasks}]})
    await theatre.perform()
    ended = await theatre.now(workflow)
    assert ended.state is WorkflowState.FAILED
    assert ended.failure is not None
    assert ended.failure["message"] == "b: tasks.a.output.missing: tasks.a.output has no missing"


async def test_a_drained_workflow_finishes_what_it_began_and_an_interrupted_one_takes_it_back(
    theatre: Theatre,
) -> None:
    for mode in PauseMode:
        workflow = await theatre.workflow(
            {
                "stages": [
                    {"name": "w", "tasks": [{"name": "a"}, {"name": "b"}, {"name": "c", "depends_on": ["a"]}]}
                ]
            }
        )
        held = await theatre.take_any()
        assert held is not None
        assert theatre.doer is not None
        paused = await theatre.platform.write(theatre.admin, control.pause, control.Pause(workflow.id, mode))
        assert paused.state is WorkflowState.PAUSED
        if mode is PauseMode.DRAIN:
            await theatre.complete(theatre.doer, held.task.id, held.lease_id)
            assert await theatre.state(held.task.id) is TaskState.COMPLETED
        else:
            with pytest.raises(Conflict):
                await theatre.complete(theatre.doer, held.task.id, held.lease_id)
        await theatre.later(5)
        assert await theatre.perform() == []
        assert (await theatre.now(workflow)).state is WorkflowState.PAUSED
        await theatre.platform.write(theatre.admin, control.resume, control.Resume(workflow.id))
        done = await theatre.perform()
        assert sorted(done) == (["b", "c"] if mode is PauseMode.DRAIN else ["a", "b", "c"])
        assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED


async def test_cancelling_ends_everything_and_a_redrive_goes_on_from_what_was_done(theatre: Theatre) -> None:
    workflow = await theatre.workflow(CHAIN, parameters={"subject": "bees"})
    await theatre.perform(does, most=2)
    cancelled = await theatre.platform.write(theatre.admin, control.cancel, control.Cancel(workflow.id))
    assert cancelled.state is WorkflowState.CANCELLED
    assert await theatre.perform() == []
    for inherit, first in ((True, "search a"), (False, "plan bees")):
        again = await theatre.platform.write(
            theatre.admin, create.redrive, create.Redrive(workflow.id, inherit=inherit)
        )
        assert again.previous_attempt_workflow_id == workflow.id
        done = await theatre.perform(does)
        assert done[0] == first
        ended = await theatre.now(again)
        assert (ended.state, len(ended.output["report"])) == (WorkflowState.COMPLETED, 3)


async def test_a_workflow_that_is_over_takes_no_task_and_no_move(theatre: Theatre) -> None:
    workflow = await theatre.workflow({"stages": [{"name": "w", "tasks": [{"name": "a"}]}]})
    await theatre.perform()
    refused: list[HubError] = []
    for command, argument in (
        (control.pause, control.Pause(workflow.id)),
        (control.resume, control.Resume(workflow.id)),
        (control.cancel, control.Cancel(workflow.id)),
    ):
        with pytest.raises(Conflict) as error:
            await theatre.platform.write(theatre.admin, command, argument)  # type: ignore[arg-type]
        refused.append(error.value)
    assert {error.details["current_state"] for error in refused} == {"completed"}
    with pytest.raises(Conflict):
        await theatre.submit(workflow_id=workflow.id)


async def test_a_stage_without_templates_is_done_when_what_was_posted_to_it_is(theatre: Theatre) -> None:
    workflow = await theatre.workflow({"stages": [{"name": "one"}, {"name": "two"}]})
    assert workflow.state is WorkflowState.PENDING
    await theatre.submit("by hand", workflow_id=workflow.id, stage_name="one", by=theatre.admin)
    await theatre.sweep()
    assert (await theatre.now(workflow)).state is WorkflowState.ACTIVE
    await theatre.perform()
    assert (await theatre.now(workflow)).current_stage == "two"
    with pytest.raises(Invalid):
        await theatre.submit("by hand", workflow_id=workflow.id, stage_name="three")


ROUTED_GATE = {
    "stages": [
        {
            "name": "draft",
            "tasks": [{"name": "write"}],
            "gate": {
                "approval_policy": {
                    "quorum": 2,
                    "deadline_seconds": 3600,
                    "default": "reject",
                    "separation_of_duties": True,
                    "form": {"type": "object", "required": ["title"]},
                }
            },
        },
        {"name": "print", "tasks": [{"name": "ship", "input": "{{ gates.draft.answer.title }}"}]},
    ]
}


async def test_a_gate_that_wants_two_is_opened_by_two_and_hands_their_answer_on(theatre: Theatre) -> None:
    workflow = await theatre.workflow(ROUTED_GATE)
    await theatre.perform()
    gate = await theatre.gate(workflow)
    said = gates.DecideGate(workflow.id, gate, "approve", data={"title": "On Hubs"})
    with pytest.raises(Forbidden):  # whoever made the workflow
        await theatre.platform.write(theatre.admin, gates.decide_gate, said)
    for status in (ApprovalStatus.PENDING, ApprovalStatus.APPROVED):
        decider = theatre.caller(Scope.ADMIN, "user")
        assert (await theatre.platform.write(decider, gates.decide_gate, said)).status is status
    given: list[Any] = []
    assert await theatre.perform(lambda held: given.append(held.task.input)) == ["ship"]
    assert given == ["On Hubs"]


async def test_a_gate_that_nobody_decides_in_time_is_decided_as_declared(theatre: Theatre) -> None:
    workflow = await theatre.workflow(ROUTED_GATE)
    await theatre.perform()
    await theatre.later(3600)
    assert (await theatre.now(workflow)).state is WorkflowState.FAILED
