"""From a task template to tasks: what it fans out over, what is filled in, and each task made once."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.tasks.submit import SubmitTask, submit_within
from core.tasks.task import Policy, RetryPolicy
from core.workflows.records import P_WORKFLOW, tell
from core.workflows.standing import Counts, Step
from schemas.playbook import Definition, TaskTemplate, When
from schemas.strict_json import dump_json
from schemas.templates import Unfilled, fill, references
from schemas.vocabulary import TaskState

MOST_ITEMS: Final = 10_000
"""Items of one fan-out."""
INPUT_MOST: Final = 1024 * 1024
"""Bytes of one task's input, as JSON."""

_P_POSITION = sa.bindparam("p_position", type_=sa.Integer())
_P_STEP = sa.bindparam("p_step", type_=sa.String())
_s, _k = w.workflow_step.c, w.workflow_task.c
_STEPS = Statement(
    sa.select(_s.name, _s.iteration, _s.begun, _s.total, _s.made, _s.skipped, _s.problem).where(
        _s.workflow_id == P_WORKFLOW, _s.position == _P_POSITION
    )
)
_OF_STEP = sa.and_(_k.workflow_id == _s.workflow_id, _k.step == _s.name, _k.iteration == _s.iteration)
_COUNTS = Statement(
    sa.select(_k.step, t.task.c.state, sa.func.count().label("n"))
    .select_from(w.workflow_step)
    .join(w.workflow_task, _OF_STEP)
    .join(t.task, t.task.c.id == _k.task_id)
    .where(_s.workflow_id == P_WORKFLOW, _s.position == _P_POSITION)
    .group_by(_k.step, t.task.c.state)
)
_OUTPUTS = Statement(
    sa.select(_k.item, t.task.c.state, t.task.c.output)
    .select_from(w.workflow_step)
    .join(w.workflow_task, _OF_STEP)
    .join(t.task, t.task.c.id == _k.task_id)
    .where(_s.workflow_id == P_WORKFLOW, _s.name == _P_STEP)
    .order_by(_k.item)
)
_GATE = Statement(
    sa.select(t.approval.c.status, t.approval.c.feedback, t.approval.c.answer)
    .join(w.workflow_stage, w.workflow_stage.c.gate_id == t.approval.c.id)
    .where(w.workflow_stage.c.workflow_id == P_WORKFLOW, w.workflow_stage.c.name == _P_STEP)
)
_STEP = Statement(sa.select(*_s).where(_s.workflow_id == P_WORKFLOW, _s.name == _P_STEP))
_new = insert(w.workflow_step)
_BEGIN = Statement(
    _new.on_conflict_do_update(
        index_elements=["workflow_id", "name"],
        set_={
            name: getattr(_new.excluded, name)
            for name in ("begun", "total", "made", "elements", "skipped", "problem")
        },
    )
)
_MADE = Statement(
    sa.update(w.workflow_step)
    .where(_s.workflow_id == P_WORKFLOW, _s.name == _P_STEP)
    .values(made=sa.bindparam("p_made", type_=sa.Integer()))
)
_INSERT_TASK = Statement(sa.insert(w.workflow_task))
_ITEMS = Statement(sa.select(_s.elements).where(_s.workflow_id == P_WORKFLOW, _s.name == _P_STEP))


async def steps_of(tx: Tx, workflow_id: UUID, position: int) -> Mapping[str, Step]:
    """The steps of a stage that were begun."""
    rows = await tx.all(_STEPS, p_workflow_id=workflow_id, p_position=position)
    return {
        row.name: Step(row.name, row.iteration, row.begun, row.total, row.made, row.skipped, row.problem)
        for row in rows
    }


async def counts_of(tx: Tx, workflow_id: UUID, position: int) -> Mapping[str, Counts]:
    """How many tasks of each step of a stage are in which state."""
    found: dict[str, dict[TaskState, int]] = {}
    for row in await tx.all(_COUNTS, p_workflow_id=workflow_id, p_position=position):
        found.setdefault(row.step, {})[TaskState(row.state)] = row.n
    return found


class Filling:
    """Fills templates of one workflow. What it has read of other tasks it keeps while it lives."""

    def __init__(self, tx: Tx, workflow: Row, definition: Definition) -> None:
        self._tx = tx
        self._workflow = workflow
        self._known: dict[str, Any] = {}
        self._gates: dict[str, Any] = {}
        self._fanned = {task.name for _, task in definition.templates if task.fan_out is not None}
        self._values: dict[str, Any] = {
            "parameters": {p.slug: p.default for p in definition.parameters} | workflow.parameters,
            "inputs": workflow.inputs,
            "workflow": {
                "id": str(workflow.id),
                "name": workflow.name,
                "attempt_number": workflow.attempt_number,
                "workspace_id": str(workflow.workspace_id),
            },
            "tasks": self._known,
            "gates": self._gates,
        }

    async def fill(self, value: Any, local: Mapping[str, Any] | None = None) -> Any:
        """The value, filled in.

        Raises:
            Unfilled: a path leads nowhere.
        """
        for _, reference in references(value):
            if reference.root == "tasks" and reference.steps:
                name = str(reference.steps[0])
                if name not in self._known:
                    self._known[name] = await self._result(name)
            elif reference.root == "gates" and reference.steps:
                stage = str(reference.steps[0])
                if stage not in self._gates:
                    self._gates[stage] = await self._decision(stage)
        return fill(value, {**self._values, **(local or {})})

    async def _decision(self, stage: str) -> Mapping[str, Any]:
        row = await self._tx.one(_GATE, p_workflow_id=self._workflow.id, p_step=stage)
        if row is None:
            return {"status": None, "feedback": None, "answer": None}
        return {"status": row.status, "feedback": row.feedback, "answer": row.answer}

    async def _result(self, name: str) -> Mapping[str, Any]:
        step = await self._tx.one(_STEP, p_workflow_id=self._workflow.id, p_step=name)
        rows = await self._tx.all(_OUTPUTS, p_workflow_id=self._workflow.id, p_step=name)
        done = [row.output if row.state == TaskState.COMPLETED else None for row in rows]
        failed = any(row.state != TaskState.COMPLETED for row in rows) or (step and step.problem)
        skipped = step is None or step.skipped
        state = "skipped" if skipped else "failed" if failed else "completed"
        if name in self._fanned:
            return {"outputs": done, "state": state}
        return {"output": done[0] if done else None, "state": state}


async def begin(
    tx: Tx, workflow: Row, position: int, task: TaskTemplate, filling: Filling, step: Step | None
) -> Step:
    """Say what a template comes to: one task, or several, or none. Makes none yet."""
    items: list[Any] | None = None
    problem: str | None = None
    skipped = False
    try:
        skipped = task.when is not None and not await _holds(task.when, filling)
        if task.fan_out is not None and not skipped:
            items = _list(await filling.fill(task.fan_out.over))
    except Unfilled as error:
        problem = str(error)
    total = 0 if skipped or problem else 1 if items is None else len(items)
    begun = Step(task.name, step.iteration if step else 1, True, total, 0, skipped, problem)
    await tx.run(_BEGIN, workflow_id=workflow.id, position=position, elements=items, **vars(begun))
    if problem is not None:
        tell_problem(tx, workflow, task, problem)
    return begun


async def _holds(when: When, filling: Filling) -> bool:
    value = await filling.fill(when.value)
    if "equals" in when.model_fields_set and value != when.equals:
        return False
    if "not_equals" in when.model_fields_set:
        return bool(value != when.not_equals)
    return "equals" in when.model_fields_set or bool(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfilled(f"it fans out over {type(value).__name__}, which is no list")
    if len(value) > MOST_ITEMS:
        raise Unfilled(f"it fans out over {len(value)} items; at most {MOST_ITEMS} are possible")
    return value


async def make(
    tx: Tx, workflow: Row, stage: str, task: TaskTemplate, step: Step, filling: Filling, most: int
) -> int:
    """Make the next tasks of a step, at most so many; how many it made."""
    upto = min(step.total, step.made + most)
    if upto <= step.made:
        return 0
    items = None
    if task.fan_out is not None:
        row = await tx.one(_ITEMS, p_workflow_id=workflow.id, p_step=task.name)
        items = row.elements if row is not None else None
    for index in range(step.made, upto):
        local = (
            {} if items is None or task.fan_out is None else {task.fan_out.item: items[index], "index": index}
        )
        try:
            command = await _command(workflow, stage, task, filling, local, step, index)
        except Unfilled as error:
            await _spoil(tx, workflow, task, str(error))
            return index - step.made
        made = await submit_within(tx, command, workflow.created_by)
        tx.add(
            _INSERT_TASK,
            workflow_id=workflow.id,
            step=task.name,
            iteration=step.iteration,
            item=index,
            task_id=made.id,
        )
    await tx.run(_MADE, p_workflow_id=workflow.id, p_step=task.name, p_made=upto)
    return upto - step.made


async def _command(
    workflow: Row,
    stage: str,
    task: TaskTemplate,
    filling: Filling,
    local: Mapping[str, Any],
    step: Step,
    index: int,
) -> SubmitTask:
    given = await filling.fill(task.input, local)
    if len(dump_json(given)) > INPUT_MOST:
        raise Unfilled(f"its input is larger than {INPUT_MOST} bytes")
    marks = {"step": task.name, **({"item": index} if local else {}), "iteration": step.iteration}
    retry = task.retry_policy
    return SubmitTask(
        title=str(await filling.fill(task.title or task.name, local))[:500],
        input=given,
        description=None if task.description is None else str(await filling.fill(task.description, local)),
        type=task.type,
        priority=task.priority,
        role=task.role,
        stage_name=stage,
        context_id=str(workflow.id),
        context=await filling.fill(task.context, local),
        metadata={**await filling.fill(task.metadata, local), "workflow_step": marks},
        required_tags=task.required_tags,
        required_tools=task.required_tools,
        policy=Policy(
            retry=RetryPolicy()
            if retry is None
            else RetryPolicy(
                retry.max_attempts,
                retry.backoff_strategy.value,
                retry.initial_backoff_seconds,
                tuple(retry.retryable_categories),
            ),
            requires_approval=task.requires_approval,
            approval=None if task.approval_policy is None else task.approval_policy.model_dump(mode="json"),
            output_schema=task.output_schema,
            timeout_seconds=None if task.timeout_minutes is None else task.timeout_minutes * 60,
            max_rework=task.max_rework,
        ),
        workflow_id=workflow.id,
        workspace_id=workflow.workspace_id,
    )


async def _spoil(tx: Tx, workflow: Row, task: TaskTemplate, problem: str) -> None:
    await tx.run(
        sa.update(w.workflow_step)
        .where(_s.workflow_id == workflow.id, _s.name == task.name)
        .values(problem=problem)
    )
    tell_problem(tx, workflow, task, problem)


def tell_problem(tx: Tx, workflow: Row, task: TaskTemplate, problem: str) -> None:
    """Write into the log why no task can be made of a template."""
    tell(tx, "workflow.task_not_made", workflow, {"task": task.name, "problem": problem})


async def tasks_of(tx: Tx, workflow_id: UUID, names: Sequence[str]) -> list[Row]:
    """The tasks of the present iteration of some steps: their step, and the task's own columns."""
    return await tx.all(
        sa.select(_k.step, _k.item, *t.task.c)
        .select_from(w.workflow_step)
        .join(w.workflow_task, _OF_STEP)
        .join(t.task, t.task.c.id == _k.task_id)
        .where(_s.workflow_id == workflow_id, _s.name.in_(names))
        .order_by(t.task.c.id)
    )
