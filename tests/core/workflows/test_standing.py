"""Where a workflow stands follows from its facts, question by question."""

from dataclasses import replace

import pytest

from core.workflows.standing import Facts, Step, derived, look, state_of
from schemas.playbook import Stage, TaskTemplate
from schemas.vocabulary import Lifecycle, OnTaskFailure, TaskState, WorkflowState

PLANNED, ONGOING = Facts(Lifecycle.PLANNED), Facts(Lifecycle.ONGOING)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (
            replace(PLANNED, cancelled=True, failed=True, paused=True),
            WorkflowState.CANCELLED,
        ),
        (replace(PLANNED, failed=True, paused=True, open_tasks=True), WorkflowState.FAILED),
        (replace(PLANNED, paused=True, open_tasks=True, all_stages_completed=True), WorkflowState.PAUSED),
        (PLANNED, WorkflowState.PENDING),
        (replace(PLANNED, open_tasks=True), WorkflowState.ACTIVE),
        (replace(PLANNED, open_work_items=1, work_items=1), WorkflowState.ACTIVE),
        (replace(PLANNED, gate_waiting=True), WorkflowState.ACTIVE),
        (replace(PLANNED, stands_still=True), WorkflowState.ACTIVE),
        (replace(PLANNED, live_orchestrator=True), WorkflowState.ACTIVE),
        (replace(PLANNED, work_items=2), WorkflowState.COMPLETED),
        (replace(PLANNED, work_items=2, live_orchestrator=True), WorkflowState.ACTIVE),
        (replace(PLANNED, all_stages_completed=True), WorkflowState.COMPLETED),
        (ONGOING, WorkflowState.PENDING),
        (replace(ONGOING, work_items=2), WorkflowState.PENDING),
        (replace(ONGOING, open_work_items=1), WorkflowState.ACTIVE),
        (replace(ONGOING, live_orchestrator=True), WorkflowState.ACTIVE),
        (replace(ONGOING, gate_waiting=True), WorkflowState.ACTIVE),
        (replace(ONGOING, all_stages_completed=True), WorkflowState.PENDING),
    ],
)
def test_the_state_follows_from_the_facts(facts: Facts, state: WorkflowState) -> None:
    assert derived(facts) is state


DONE, OPEN, FAILED = TaskState.COMPLETED, TaskState.IN_PROGRESS, TaskState.FAILED
BEGUN = Step("a", 1, True, 2, 2, False, None)


@pytest.mark.parametrize(
    ("step", "counts", "policy", "state"),
    [
        (None, {}, OnTaskFailure.WAIT, "waiting"),
        (replace(BEGUN, begun=False), {DONE: 2}, OnTaskFailure.WAIT, "waiting"),
        (replace(BEGUN, skipped=True, total=0), {}, OnTaskFailure.WAIT, "skipped"),
        (replace(BEGUN, total=0), {}, OnTaskFailure.WAIT, "completed"),
        (BEGUN, {DONE: 1, OPEN: 1}, OnTaskFailure.WAIT, "running"),
        (BEGUN, {DONE: 2}, OnTaskFailure.WAIT, "completed"),
        (BEGUN, {DONE: 1, FAILED: 1}, OnTaskFailure.WAIT, "failed"),
        (BEGUN, {DONE: 1, TaskState.CANCELLED: 1}, OnTaskFailure.FAIL_WORKFLOW, "failed"),
        (BEGUN, {FAILED: 1, OPEN: 1}, OnTaskFailure.CONTINUE, "running"),
        (BEGUN, {DONE: 1, FAILED: 1}, OnTaskFailure.CONTINUE, "completed"),
        (replace(BEGUN, problem="x"), {}, OnTaskFailure.WAIT, "failed"),
        (replace(BEGUN, problem="x"), {}, OnTaskFailure.CONTINUE, "completed"),
    ],
)
def test_a_step_stands_where_its_tasks_stand(
    step: Step | None, counts: dict[TaskState, int], policy: OnTaskFailure, state: str
) -> None:
    assert state_of(step, counts, policy) == state


def test_a_step_begins_when_all_it_depends_on_is_done_or_skipped() -> None:
    tasks = [
        TaskTemplate(name="a"),
        TaskTemplate(name="b"),
        TaskTemplate(name="c", depends_on=["a", "earlier"]),
        TaskTemplate(name="d", depends_on=["a", "b"]),
    ]
    steps = {"a": replace(BEGUN, total=1, made=1), "b": replace(BEGUN, name="b", total=1, made=1)}
    seen = look(Stage(name="s", tasks=tasks), steps, {"a": {DONE: 1}, "b": {OPEN: 1}}, OnTaskFailure.WAIT)
    assert [task.name for task in seen.to_begin] == ["c"]
    assert (seen.open, seen.done) == (1, False)
