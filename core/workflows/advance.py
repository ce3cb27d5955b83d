"""How a workflow goes on, with no model and no clock: from what has ended to what begins.

Every change that matters leaves a mark in its own transaction (`marks.py`). Whoever finds marks locks the
workflow, takes them away and does what follows, in one transaction: begin what may begin, ask for a gate,
end a stage, end the workflow. A crash leaves the marks; two replicas wait for one another's lock, and the
second finds nothing to do. What is read is the present stage, never the past.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.transitions import FINAL
from core.workflows import fronts
from core.workflows.caps import let_on
from core.workflows.ending import cancel_workflow, complete_workflow, fail_workflow
from core.workflows.gates import request_gate
from core.workflows.marks import mark_workflow
from core.workflows.records import (
    LOCKED,
    P_WORKFLOW,
    change,
    change_stage,
    definition_of,
    stage_rows,
    tell,
)
from core.workflows.standing import OVER, Facts, Look, derived, look
from core.workflows.steps import Filling, begin, counts_of, make, steps_of
from schemas.playbook import Definition, Stage
from schemas.templates import Unfilled
from schemas.vocabulary import GateStatus, Lifecycle, OnTaskFailure, StageStatus, WorkflowState

BATCH: Final = 100
"""Tasks that one transaction makes; what is left comes with the next."""
LOOKS: Final = 500
"""Workflows of one look."""


@dataclass(frozen=True)
class DueWorkflow:
    """A workflow in which something has changed."""

    tenant_id: UUID
    workflow_id: UUID


_d = w.workflow_due.c
_LIMIT: sa.ColumnElement[int] = sa.literal_column(str(LOOKS))
_DUE = Statement(sa.select(_d.tenant_id, _d.workflow_id).distinct().limit(_LIMIT))
_CLEAR = Statement(sa.delete(w.workflow_due).where(_d.workflow_id == P_WORKFLOW))
_P_STAGE = sa.bindparam("p_stage", type_=sa.String())
_OPEN = t.task.c.state.not_in([sa.literal_column(str(int(state))) for state in sorted(FINAL)])
_OTHERS = Statement(
    sa.select(
        sa.func.count().label("n"),
        sa.func.coalesce(sa.func.sum(sa.case((_OPEN, 1), else_=0)), 0).label("open"),
    ).where(
        t.task.c.workflow_id == P_WORKFLOW,
        t.task.c.stage_name == _P_STAGE,
        sa.not_(sa.exists().where(w.workflow_task.c.task_id == t.task.c.id)),
    )
)
_ANY_OPEN = Statement(
    sa.select(t.task.c.id).where(t.task.c.workflow_id == P_WORKFLOW, _OPEN).limit(sa.literal_column("1"))
)
_AWAKE = Statement(
    sa.select(w.activation.c.id)
    .where(
        w.activation.c.workflow_id == P_WORKFLOW,
        w.activation.c.state.in_([sa.literal_column("'queued'"), sa.literal_column("'processing'")]),
    )
    .limit(sa.literal_column("1"))
)
_i = i.work_item.c
_ITEM_OPEN = _i.completed_at.is_(None)
_ITEMS = Statement(
    sa.select(
        _i.stage_name,
        sa.func.count().label("n"),
        sa.func.coalesce(sa.func.sum(sa.case((_ITEM_OPEN, 1), else_=0)), 0).label("open"),
    )
    .where(_i.workflow_id == P_WORKFLOW)
    .group_by(_i.stage_name)
)


async def due_workflows(tx: Tx, _: None) -> Sequence[DueWorkflow]:
    """Workflows in which something has changed, of every tenant."""
    return [DueWorkflow(row.tenant_id, row.workflow_id) for row in await tx.all(_DUE)]


async def advance(tx: Tx, due: DueWorkflow) -> None:
    """Do what follows from the changes in one workflow. When another replica has done it, nothing."""
    row = await tx.one(LOCKED, p_workflow_id=due.workflow_id)
    if not await tx.run(_CLEAR, p_workflow_id=due.workflow_id) or row is None:
        return
    if await fronts.is_abandoned(tx, row):
        await cancel_workflow(tx, row, "the task that it stood behind is over")
        return
    await carry_on(tx, row)


async def carry_on(tx: Tx, workflow: Row) -> None:
    """Bring a workflow as far as it goes now. Its row is locked; one that is over or paused stays."""
    if WorkflowState(workflow.state) in OVER or workflow.paused_at is not None:
        return
    definition = await definition_of(tx, workflow.id)
    await let_on(tx, workflow, definition)
    course = _Course(tx, workflow, definition)
    await course.run()
    if course.stages_moved:
        await fronts.show_stages(tx, workflow)


class _Course:
    """One workflow on its way, within one transaction."""

    def __init__(self, tx: Tx, workflow: Row, definition: Definition) -> None:
        self._tx = tx
        self._workflow = workflow
        self._definition = definition
        self._policy = OnTaskFailure(workflow.failure_policy)
        self._filling = Filling(tx, workflow, definition)
        self._left = BATCH
        self._facts = Facts(Lifecycle(workflow.lifecycle))
        self._items: Mapping[str, Row] = {}
        self.stages_moved = False
        """Whether a stage began, ended or asked for its gate."""

    async def run(self) -> None:
        """Stage by stage, until one has to wait."""
        tx, workflow = self._tx, self._workflow
        rows = await tx.all(_ITEMS, p_workflow_id=workflow.id)
        self._items = {row.stage_name: row for row in rows}
        self._facts = replace(
            self._facts,
            work_items=sum(row.n for row in rows),
            open_work_items=sum(row.open for row in rows),
        )
        ongoing = self._facts.lifecycle is Lifecycle.ONGOING
        for row, declared in zip(await stage_rows(tx, workflow.id), self._definition.stages, strict=True):
            if row.status == StageStatus.COMPLETED:
                continue
            if not await self._through(row, declared) and not ongoing:
                left = any(stage.tasks for stage in self._definition.stages[row.position + 1 :])
                self._facts = replace(self._facts, steps_left=self._facts.steps_left or left)
                return await self._settle(row.name)
            if self._facts.failed:
                return
        if ongoing:
            return await self._settle(None)
        await self._finish()

    async def _finish(self) -> None:
        """Complete the workflow with what it comes to."""
        tx, workflow = self._tx, self._workflow
        try:
            output = await self._filling.fill(self._definition.output)
        except Unfilled as error:
            await fail_workflow(tx, workflow, {"category": "output", "message": f"/output: {error}"})
            return
        await complete_workflow(tx, workflow, output)

    async def _through(self, row: Row, stage: Stage) -> bool:
        """Bring one stage as far as it goes; whether it is completed."""
        tx, workflow = self._tx, self._workflow
        if row.status == StageStatus.PENDING:
            await change_stage(
                tx, workflow.id, row.position, status=StageStatus.ACTIVE.value, started_at=tx.now
            )
            tell(tx, "stage.started", workflow, {"position": row.position}, stage=row.name)
            self.stages_moved = True
        elif row.status in (StageStatus.AWAITING_GATE, StageStatus.BLOCKED):
            waits = row.status == StageStatus.AWAITING_GATE
            self._facts = replace(self._facts, gate_waiting=waits, stands_still=not waits)
            return False
        seen = await self._begin_all(row, stage)
        if self._facts.failed:
            return False
        if seen.open:
            self._facts = replace(self._facts, open_tasks=True)
        if not seen.done:
            self._facts = replace(self._facts, steps_left=True)
        if not seen.done or self._definition.orchestrated or self._facts.lifecycle is Lifecycle.ONGOING:
            return False
        others = await tx.one(_OTHERS, p_workflow_id=workflow.id, p_stage=row.name)
        assert others is not None
        items = self._items.get(row.name)
        if others.open or (items is not None and items.open):
            return False
        if not stage.tasks and not others.n and items is None:
            return False
        if stage.gate is not None and row.gate_status != GateStatus.APPROVED:
            await request_gate(tx, workflow, row, stage.gate.summary or stage.goal, stage.gate.recommendation)
            self._facts = replace(self._facts, gate_waiting=True)
            self.stages_moved = True
            return False
        await end_stage(tx, workflow, row)
        self.stages_moved = True
        return True

    async def _begin_all(self, row: Row, stage: Stage) -> Look:
        """Begin what may begin, make what may be made, and see to what has failed."""
        tx, workflow = self._tx, self._workflow
        if not stage.tasks:
            return Look(done=True)
        steps = dict(await steps_of(tx, workflow.id, row.position))
        counts = await counts_of(tx, workflow.id, row.position)
        while True:
            seen = look(stage, steps, counts, self._policy)
            failing = [
                task
                for task in seen.failed
                if (task.on_failure or self._policy) is OnTaskFailure.FAIL_WORKFLOW
            ]
            if failing:
                self._facts = replace(self._facts, failed=True)
                await fail_workflow(tx, workflow, await _failure(tx, workflow, stage, failing[0].name, steps))
                return seen
            if seen.failed:
                self._facts = replace(self._facts, stands_still=True)
            if not seen.to_begin:
                break
            begun = seen.to_begin
            for task in begun:
                steps[task.name] = await begin(
                    tx, workflow, row.position, task, self._filling, steps.get(task.name)
                )
            if all(steps[task.name].total for task in begun):  # none of them is done already
                seen = replace(seen, to_go_on=[*seen.to_go_on, *begun])
                break
        cap = self._definition.orchestrator.max_active_tasks
        free = self._left if cap is None else min(self._left, cap - seen.open)
        made = 0
        for task in seen.to_go_on:
            step, most = steps[task.name], free - made
            if task.fan_out is not None and task.fan_out.max_parallel is not None:
                running = sum(n for state, n in counts.get(task.name, {}).items() if state not in FINAL)
                most = min(most, task.fan_out.max_parallel - running)
            if most > 0:
                made += await make(tx, workflow, row.name, task, step, self._filling, most)
        self._left -= made
        unmade = sum(steps[task.name].total - steps[task.name].made for task in seen.to_go_on) - made
        if self._left <= 0 or (unmade and not made and not seen.open):
            mark_workflow(tx, workflow.tenant_id, workflow.id)  # the rest is another transaction's
        return replace(seen, open=seen.open + made, done=seen.done and not made)

    async def _settle(self, stage: str | None) -> None:
        """Write where the workflow stands."""
        tx, workflow = self._tx, self._workflow
        if not self._facts.open_tasks:
            found = await tx.one(_ANY_OPEN, p_workflow_id=workflow.id)
            self._facts = replace(self._facts, open_tasks=found is not None)
        if self._definition.orchestrated:  # its task, if there is one, is among the open ones
            awake = await tx.one(_AWAKE, p_workflow_id=workflow.id)
            self._facts = replace(self._facts, live_orchestrator=awake is not None)
        state = derived(self._facts)
        if state is WorkflowState.COMPLETED:
            await self._end_stages()
            return await self._finish()
        sets: dict[str, Any] = {}
        if state != workflow.state:
            sets["state"] = state.value
        if stage != workflow.current_stage:
            sets["current_stage"] = stage
        if workflow.started_at is None and state is not WorkflowState.PENDING:
            sets["started_at"] = tx.now
        if sets:
            await change(tx, workflow.id, **sets)
        if "state" in sets:
            said = {"from_state": workflow.state, "to_state": state.value}
            tell(tx, "workflow.state_changed", workflow, said, stage=stage)

    async def _end_stages(self) -> None:
        """Its work items are all done, and nothing else is to come: so are the stages that were begun."""
        tx, workflow = self._tx, self._workflow
        for row in await stage_rows(tx, workflow.id):
            if row.status == StageStatus.ACTIVE:
                await end_stage(tx, workflow, row)


async def end_stage(tx: Tx, workflow: Row, row: Row, summary: str | None = None) -> None:
    """Complete a stage."""
    sets: dict[str, Any] = {"status": StageStatus.COMPLETED.value, "completed_at": tx.now}
    if summary is not None:
        sets["summary"] = summary
    await change_stage(tx, workflow.id, row.position, **sets)
    tell(tx, "stage.completed", workflow, {"position": row.position, "summary": summary}, stage=row.name)


_k = w.workflow_task.c


async def _failure(tx: Tx, workflow: Row, stage: Stage, name: str, steps: Any) -> dict[str, Any]:
    """What a workflow says that fails of one of its tasks."""
    problem = steps[name].problem
    said: dict[str, Any] = {"task": name, "stage_name": stage.name}
    if problem is not None:
        return {**said, "category": "not_made", "message": f"{name}: {problem}"}
    row = await tx.one(
        sa.select(t.task.c.id, t.task.c.error, t.task.c.state)
        .join(w.workflow_task, _k.task_id == t.task.c.id)
        .where(
            _k.workflow_id == workflow.id,
            _k.step == name,
            _k.iteration == steps[name].iteration,
            t.task.c.state.in_([int(state) for state in sorted(FINAL) if state.wire != "completed"]),
        )
        .order_by(t.task.c.finished_at)
    )
    if row is None:
        return {**said, "category": "failed", "message": f"{name} failed"}
    error = row.error or {"category": "not_done", "message": "it was cancelled or refused"}
    return {**said, "task_id": str(row.id), **error, "message": f"{name}: {error['message']}"}
