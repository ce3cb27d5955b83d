"""Work items: made, moved over the board, held, stopped; and where their workflow stands by them."""

import pytest

from core.errors import Conflict, Invalid, InvalidTransition
from core.workflows import control
from schemas.item_words import WorkItemState
from schemas.vocabulary import PauseMode, TaskState, WorkflowState
from tests.core.tasks.stage import reason
from tests.core.work_items.bench import PLAIN, Bench

TWO_STAGES = {"stages": [{"name": "plan"}, {"name": "build"}], "roles": []}


async def test_a_workflow_is_active_while_an_item_is_open_and_completed_when_all_are_done(
    bench: Bench,
) -> None:
    workflow = await bench.workflow(PLAIN)
    assert workflow.state is WorkflowState.PENDING
    first, second = await bench.item(workflow, "first"), await bench.item(workflow, "second")
    assert (first.state, first.column_id, first.stage_name) == (WorkItemState.OPEN, "inbox", "work")
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
    done = await bench.finish(first)
    assert (done.state, done.column_id) == (WorkItemState.COMPLETED, "done")
    assert done.completed_at is not None
    assert await bench.finish(first) == done
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
    await bench.finish(second)
    assert (await bench.now(workflow)).state is WorkflowState.COMPLETED
    with pytest.raises(Conflict) as late:
        await bench.item(workflow)
    assert reason(late.value) == "workflow_over"


async def test_an_ongoing_workflow_never_ends_by_its_items(bench: Bench) -> None:
    workflow, item = await bench.begun({**PLAIN, "lifecycle": "ongoing"})
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
    await bench.finish(item)
    assert (await bench.now(workflow)).state is WorkflowState.PENDING


async def test_items_do_not_end_a_workflow_whose_playbook_has_tasks_left(bench: Bench) -> None:
    stages = [{"name": "a", "tasks": [{"name": "one"}]}, {"name": "b", "tasks": [{"name": "two"}]}]
    workflow, item = await bench.begun({"stages": stages}, stage_name="a")
    await bench.finish(item)
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
    assert await bench.perform() == ["one", "two"]
    assert (await bench.now(workflow)).state is WorkflowState.COMPLETED


async def test_a_stage_with_a_gate_waits_for_its_items_and_then_for_the_decision(bench: Bench) -> None:
    workflow, item = await bench.begun({"stages": [{"name": "work", "gate": {"summary": "ok?"}}]})
    await bench.finish(item)
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
    await bench.decide(workflow, "approve")
    assert (await bench.now(workflow)).state is WorkflowState.COMPLETED


async def test_where_an_item_belongs_must_exist(bench: Bench) -> None:
    workflow = await bench.workflow(TWO_STAGES)
    elsewhere = await bench.item(await bench.workflow(PLAIN))
    for wrong in (
        {},
        {"stage_name": "paln"},
        {"stage_name": "plan", "column_id": "nowhere"},
        {"stage_name": "plan", "column_id": "done"},
        {"stage_name": "plan", "column_id": "blocked"},
        {"stage_name": "plan", "parent_work_item_id": elsewhere.id},
    ):
        with pytest.raises(Invalid):
            await bench.item(workflow, **wrong)
    parent = await bench.item(workflow, stage_name="plan")
    child = await bench.item(workflow, stage_name="build", parent_work_item_id=parent.id)
    with pytest.raises(Invalid):
        await bench.update(parent, parent_work_item_id=child.id)
    assert [c.id for c in (await bench.view(parent)).children] == [child.id]


async def test_the_board_decides_the_state_and_the_state_the_place_on_the_board(bench: Bench) -> None:
    workflow, item = await bench.begun({**PLAIN, "lifecycle": "ongoing"})
    moved = await bench.update(item, column_id="active", notes="soon")
    assert (moved.column_id, moved.state, moved.notes) == ("active", WorkItemState.OPEN, "soon")
    blocked = await bench.update(item, column_id="blocked")
    assert (blocked.state, blocked.blocked_reason) == (WorkItemState.BLOCKED, "moved to the blocked column")
    with pytest.raises(InvalidTransition):
        await bench.update(item, column_id="done")
    again = await bench.update(item, column_id="active")
    assert (again.state, again.blocked_reason) == (WorkItemState.OPEN, None)
    done = await bench.update(item, column_id="done")
    assert (done.state, done.completed_at is not None) == (WorkItemState.COMPLETED, True)
    opened = await bench.update(item, column_id="inbox")
    assert (opened.state, opened.completed_at) == (WorkItemState.OPEN, None)
    stopped = await bench.stop(item, "no")
    assert (stopped.state, stopped.column_id) == (WorkItemState.CANCELLED, "done")
    assert await bench.stop(item) == stopped
    with pytest.raises(InvalidTransition):
        await bench.update(item, column_id="inbox")
    board = await bench.board(workflow)
    assert [view.item.id for view in board.work_items] == [item.id]


async def test_an_item_is_completed_only_when_nothing_of_it_is_open(bench: Bench) -> None:
    _, item = await bench.begun()
    task = await bench.task(item)
    with pytest.raises(Conflict) as early:
        await bench.finish(item)
    assert reason(early.value) == "work_item_tasks_not_ready"
    assert early.value.details["task_ids"] == [str(task.id)]
    await bench.perform()
    await bench.update(item, next_expected_action="assess", next_expected_actor="critic")
    with pytest.raises(Conflict) as waiting:
        await bench.finish(item)
    assert reason(waiting.value) == "work_item_waiting_for_continuation"
    await bench.update(item, next_expected_action=None, next_expected_actor=None)
    assert (await bench.finish(item)).state is WorkItemState.COMPLETED


@pytest.mark.parametrize("mode", list(PauseMode))
async def test_a_pause_of_an_item_holds_its_tasks_and_no_others(bench: Bench, mode: PauseMode) -> None:
    workflow, item = await bench.begun({**PLAIN, "lifecycle": "ongoing"})
    other = await bench.item(workflow, "other")
    doing, waiting, free = [await bench.task(i, n) for i, n in ((item, "a"), (item, "b"), (other, "c"))]
    held = await bench.take(await bench.agent())
    assert held.task.id == doing.id
    assert (await bench.hold(item, mode=mode)).state is WorkItemState.PAUSED
    late = await bench.task(item, "d")
    await bench.later(3600 if mode is PauseMode.INTERRUPT else 1)
    drains = mode is PauseMode.DRAIN
    assert await bench.state(doing.id) is (TaskState.IN_PROGRESS if drains else TaskState.PENDING)
    assert [await bench.state(task.id) for task in (waiting, late, free)] == [
        TaskState.PENDING,
        TaskState.PENDING,
        TaskState.READY,
    ]
    with pytest.raises(InvalidTransition):
        await bench.finish(item)
    assert (await bench.let_go(item)).state is WorkItemState.OPEN
    assert [await bench.state(task.id) for task in (waiting, late)] == [TaskState.READY] * 2
    with pytest.raises(InvalidTransition):
        await bench.let_go(item)


async def test_what_a_paused_workflow_lets_go_a_paused_item_holds(bench: Bench) -> None:
    workflow, item = await bench.begun()
    task = await bench.task(item)
    await bench.platform.write(bench.admin, control.pause, control.Pause(workflow.id))
    await bench.hold(item)
    await bench.platform.write(bench.admin, control.resume, control.Resume(workflow.id))
    assert await bench.state(task.id) is TaskState.PENDING
    await bench.let_go(item)
    assert await bench.state(task.id) is TaskState.READY


async def test_a_blocked_item_is_blocked_again_after_a_pause(bench: Bench) -> None:
    _, item = await bench.begun()
    await bench.update(item, column_id="blocked")
    await bench.hold(item)
    assert (await bench.let_go(item)).state is WorkItemState.BLOCKED


async def test_stopping_an_item_stops_its_tasks(bench: Bench) -> None:
    _, item = await bench.begun()
    ready = await bench.task(item)
    agent = await bench.agent()
    held = await bench.take(agent)
    assert held.task.id == ready.id
    await bench.stop(item, "not needed")
    assert await bench.state(ready.id) is TaskState.CANCELLED
    with pytest.raises(Conflict) as late:
        await bench.complete(agent, ready.id, held.lease_id)
    assert reason(late.value) == "task_already_cancelled"


async def test_changes_that_a_gate_requests_open_the_items_of_its_stage_again(bench: Bench) -> None:
    stages = [{"name": "work", "gate": {"summary": "ok?"}}]
    workflow, item = await bench.begun({"stages": stages}, owner_role="maker")
    await bench.finish(item)
    await bench.decide(workflow, "request_changes", "louder")
    again = await bench.look(item)
    assert (again.state, again.column_id, again.rework_count) == (WorkItemState.OPEN, "active", 1)
    assert (again.next_expected_action, again.next_expected_actor) == ("rework", "maker")
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
    await bench.task(item, role="maker")
    await bench.done((await bench.tasks_of(item))[0])
    await bench.finish(item)
    await bench.decide(workflow, "approve")
    assert (await bench.now(workflow)).state is WorkflowState.COMPLETED


async def test_a_gate_that_blocks_blocks_what_is_open_in_its_stage(bench: Bench) -> None:
    stages = [{"name": "work", "gate": {"summary": "ok?"}}]
    workflow, item = await bench.begun({"stages": stages})
    await bench.finish(item)
    late = await bench.item(workflow, "late")
    await bench.decide(workflow, "block", "not now")
    seen = await bench.look(late)
    assert (seen.state, seen.blocked_reason) == (WorkItemState.BLOCKED, "not now")
    assert (await bench.look(item)).state is WorkItemState.COMPLETED
    assert (await bench.now(workflow)).state is WorkflowState.ACTIVE
