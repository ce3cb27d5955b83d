"""How a workflow stands, and what is to be done next: pure decisions from what was counted.

The order of the questions in `derived` is the contract's. Nothing here reads a database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.transitions import FINAL
from schemas.playbook import Stage, TaskTemplate
from schemas.vocabulary import Lifecycle, OnTaskFailure, TaskState, WorkflowState

Counts = Mapping[TaskState, int]
"""How many tasks of a step are in which state."""
OVER = frozenset({WorkflowState.COMPLETED, WorkflowState.FAILED, WorkflowState.CANCELLED})
"""Never left."""


@dataclass(frozen=True)
class Facts:
    """What decides where a workflow stands."""

    lifecycle: Lifecycle
    cancelled: bool = False
    failed: bool = False
    paused: bool = False
    all_stages_completed: bool = False
    work_items: int = 0
    open_work_items: int = 0
    open_tasks: bool = False
    live_orchestrator: bool = False
    gate_waiting: bool = False
    steps_left: bool = False
    """The playbook says of tasks that are not done yet."""
    stands_still: bool = False
    """A task has failed and is waited for, or a stage is blocked."""


def derived(facts: Facts) -> WorkflowState:
    """The state that follows from the facts."""
    if facts.cancelled:
        return WorkflowState.CANCELLED
    if facts.failed:
        return WorkflowState.FAILED
    if facts.paused:
        return WorkflowState.PAUSED
    if facts.lifecycle is Lifecycle.ONGOING:
        busy = facts.open_work_items or facts.live_orchestrator or facts.gate_waiting or facts.open_tasks
        return WorkflowState.ACTIVE if busy or facts.stands_still else WorkflowState.PENDING
    items_done = facts.work_items > 0 and facts.open_work_items == 0
    waited_for = facts.open_tasks or facts.steps_left or facts.live_orchestrator or facts.gate_waiting
    if facts.all_stages_completed or (items_done and not waited_for and not facts.stands_still):
        return WorkflowState.COMPLETED
    busy = facts.open_work_items or facts.open_tasks or facts.live_orchestrator or facts.gate_waiting
    return WorkflowState.ACTIVE if busy or facts.stands_still else WorkflowState.PENDING


@dataclass(frozen=True)
class Step:
    """A task template that was begun."""

    name: str
    iteration: int
    begun: bool
    total: int
    made: int
    skipped: bool
    problem: str | None


@dataclass(frozen=True)
class Look:
    """What a stage needs next."""

    to_begin: Sequence[TaskTemplate] = ()
    """Everything they depend on is done."""
    to_go_on: Sequence[TaskTemplate] = ()
    """Begun, and not all of their tasks are made."""
    failed: Sequence[TaskTemplate] = ()
    """Failed for good, unless somebody helps."""
    open: int = 0
    """Tasks that are not final."""
    done: bool = False
    """Every step is done."""
    states: Mapping[str, str] = field(default_factory=dict)
    """Each step's state: `waiting`, `running`, `completed`, `failed`, `skipped`."""


def look(
    stage: Stage, steps: Mapping[str, Step], counts: Mapping[str, Counts], policy: OnTaskFailure
) -> Look:
    """What is to be done in a stage whose steps and tasks stand so."""
    states = {
        task.name: state_of(steps.get(task.name), counts.get(task.name, {}), task.on_failure or policy)
        for task in stage.tasks
    }
    done = {name for name, state in states.items() if state in ("completed", "skipped")}
    mine = states.keys()
    to_begin = [
        task
        for task in stage.tasks
        if states[task.name] == "waiting" and all(d in done or d not in mine for d in task.depends_on)
    ]
    to_go_on = [
        task
        for task in stage.tasks
        if states[task.name] == "running" and steps[task.name].made < steps[task.name].total
    ]
    failed = [task for task in stage.tasks if states[task.name] == "failed"]
    open_tasks = sum(n for step in counts.values() for state, n in step.items() if state not in FINAL)
    return Look(to_begin, to_go_on, failed, open_tasks, len(done) == len(states), states)


def state_of(step: Step | None, counts: Counts, policy: OnTaskFailure) -> str:
    """Where one step stands."""
    if step is None or not step.begun:
        return "waiting"
    goes_on = policy is OnTaskFailure.CONTINUE
    if step.problem is not None:
        return "completed" if goes_on else "failed"
    if step.skipped:
        return "skipped"
    failed = sum(n for state, n in counts.items() if state in FINAL and state is not TaskState.COMPLETED)
    if failed and not goes_on:
        return "failed"
    return "completed" if counts.get(TaskState.COMPLETED, 0) + failed == step.total else "running"
