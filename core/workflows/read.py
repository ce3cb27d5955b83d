"""Reading workflows: one, one with all that belongs to it, many, their board, what they made and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.metering import metered_of
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.tasks.read import COUNTED, Page
from core.tasks.task import Task
from core.transitions import FINAL
from core.work_items.read import ItemSummary, ListWorkItems, WorkItemView, items_of, summaries
from core.workflows.activations import Activation, activations_of
from core.workflows.records import (
    COLUMNS,
    P_WORKFLOW,
    StageRecord,
    Workflow,
    WorkflowId,
    definition_of,
    stage_rows,
    workflow_row,
)
from core.workflows.standing import state_of
from core.workflows.steps import counts_of, steps_of
from schemas.playbook import Definition
from schemas.vocabulary import OnTaskFailure, StageStatus, TaskState, WorkflowState

MOST_TASKS: Final = 1000
"""Tasks that a workflow's detail shows, the newest."""


@dataclass(frozen=True)
class ListWorkflows:
    """Filters are joined by AND; None means any. Newest first; `before` is the last of a page."""

    workspace_id: UUID | None = None
    state: WorkflowState | None = None
    playbook_id: UUID | None = None
    parent_workflow_id: UUID | None = None
    before: UUID | None = None
    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class StepView:
    """A task template of the playbook, and where it stands in this workflow."""

    name: str
    stage_name: str
    title: str
    role: str | None
    depends_on: Sequence[str]
    state: str
    """`waiting`, `running`, `completed`, `failed` or `skipped`."""
    iteration: int
    total: int
    """How many tasks it comes to; before it is begun, 1."""
    counts: Mapping[str, int]
    """Its tasks by state."""
    problem: str | None


@dataclass(frozen=True)
class Detail:
    """A workflow and what belongs to it, as of one moment."""

    workflow: Workflow
    stages: Sequence[StageRecord]
    tasks: Sequence[Task]
    task_counts: Mapping[str, int]
    activations: Sequence[Activation]
    waiting_gates: int
    work_items: Sequence[WorkItemView]
    item_summaries: Mapping[str, ItemSummary]
    """The work items of each stage in numbers."""


@dataclass(frozen=True)
class BoardView:
    """A workflow as columns, stages and steps."""

    workflow: Workflow
    definition: Definition
    stages: Sequence[StageRecord]
    steps: Sequence[StepView]
    work_items: Sequence[WorkItemView]
    item_summaries: Mapping[str, ItemSummary]


@dataclass(frozen=True)
class StagesView:
    """The stages of a workflow, and the work items of each in numbers."""

    stages: Sequence[StageRecord]
    item_summaries: Mapping[str, ItemSummary]


@dataclass(frozen=True)
class Deliverable:
    """A result of a workflow."""

    descriptor_id: str
    task_id: UUID
    step: str
    title: str
    stage_name: str | None
    state: str
    final: bool
    output: Any
    at: datetime


@dataclass(frozen=True)
class Usage:
    """What a workflow has used, by what its executors reported."""

    workflow: Workflow
    tokens: int
    cost_usd: float
    minutes: float


_c = w.workflow.c
_TASKS = Statement(
    sa.select(*t.task.c)
    .where(t.task.c.workflow_id == P_WORKFLOW)
    .order_by(t.task.c.id.desc())
    .limit(sa.literal_column(str(MOST_TASKS)))
)
_COUNTS = Statement(
    sa.select(t.task.c.state, sa.func.count().label("n"))
    .where(t.task.c.workflow_id == P_WORKFLOW)
    .group_by(t.task.c.state)
)
_k, _s = w.workflow_task.c, w.workflow_step.c
_MADE = Statement(
    sa.select(_k.step, _k.item, _k.iteration, _s.iteration.label("present"), _s.begun, *t.task.c)
    .select_from(w.workflow_task)
    .join(w.workflow_step, sa.and_(_s.workflow_id == _k.workflow_id, _s.name == _k.step))
    .join(t.task, t.task.c.id == _k.task_id)
    .where(_k.workflow_id == P_WORKFLOW, _k.step == sa.bindparam("p_step", type_=sa.String()))
    .order_by(_k.iteration, _k.item)
)
_REPORTS = Statement(
    sa.select(t.task.c.id, t.task.c.report).where(
        t.task.c.workflow_id == P_WORKFLOW, t.task.c.report.is_not(None)
    )
)


async def get_workflow(tx: Tx, query: WorkflowId) -> Workflow:
    """One workflow of the tenant.

    Raises:
        NotFound: no such workflow.
    """
    return Workflow.of(await workflow_row(tx, query.workflow_id))


async def list_workflows(tx: Tx, query: ListWorkflows) -> Page[Workflow]:
    """A page of the tenant's workflows. The total is counted up to `COUNTED`."""
    wanted = [access.within_tenant(w.workflow)]
    equal = {
        "workspace_id": query.workspace_id,
        "state": None if query.state is None else query.state.value,
        "playbook_id": query.playbook_id,
        "parent_workflow_id": query.parent_workflow_id,
    }
    wanted += [_c[name] == value for name, value in equal.items() if value is not None]
    some = sa.select(_c.id).where(*wanted).limit(COUNTED).subquery()
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(some))
    if query.before is not None:
        wanted.append(_c.id < query.before)
    rows = await tx.all(
        sa.select(*COLUMNS)
        .where(*wanted)
        .order_by(_c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([Workflow.of(row) for row in rows], 0 if total is None else total.n)


async def list_stages(tx: Tx, query: WorkflowId) -> StagesView:
    """The stages of a workflow, in order.

    Raises:
        NotFound: no such workflow.
    """
    await workflow_row(tx, query.workflow_id)
    return StagesView(await _stages(tx, query.workflow_id), await summaries(tx, query.workflow_id))


async def view_workflow(tx: Tx, query: WorkflowId) -> Detail:
    """A workflow with its stages, its newest tasks and its activations.

    Raises:
        NotFound: no such workflow.
    """
    row = await workflow_row(tx, query.workflow_id)
    stages = await _stages(tx, row.id)
    counts = await tx.all(_COUNTS, p_workflow_id=row.id)
    return Detail(
        Workflow.of(row),
        stages,
        [Task.of(task) for task in await tx.all(_TASKS, p_workflow_id=row.id)],
        {TaskState(count.state).wire: count.n for count in counts},
        await activations_of(tx, row.id, 100),
        sum(stage.status is StageStatus.AWAITING_GATE for stage in stages),
        await items_of(tx, ListWorkItems(row.id)),
        await summaries(tx, row.id),
    )


async def view_board(tx: Tx, query: WorkflowId) -> BoardView:
    """A workflow's stages and steps, and where each stands.

    Raises:
        NotFound: no such workflow.
    """
    row = await workflow_row(tx, query.workflow_id)
    definition = await definition_of(tx, row.id)
    stages = await _stages(tx, row.id)
    steps = [step for stage in stages for step in await _steps(tx, row, definition, stage)]
    items = await items_of(tx, ListWorkItems(row.id))
    return BoardView(Workflow.of(row), definition, stages, steps, items, await summaries(tx, row.id))


async def _stages(tx: Tx, workflow_id: UUID) -> list[StageRecord]:
    definition = await definition_of(tx, workflow_id)
    rows = await stage_rows(tx, workflow_id)
    return [StageRecord.of(row, declared) for row, declared in zip(rows, definition.stages, strict=True)]


async def _steps(tx: Tx, row: Row, definition: Definition, stage: StageRecord) -> list[StepView]:
    declared = definition.stages[stage.position]
    if not declared.tasks:
        return []
    steps = await steps_of(tx, row.id, stage.position)
    counts = await counts_of(tx, row.id, stage.position)
    found = []
    for task in declared.tasks:
        step, mine = steps.get(task.name), counts.get(task.name, {})
        state = state_of(step, mine, task.on_failure or OnTaskFailure(row.failure_policy))
        found.append(
            StepView(
                name=task.name,
                stage_name=stage.name,
                title=task.title or task.name,
                role=task.role,
                depends_on=task.depends_on,
                state=state,
                iteration=step.iteration if step is not None else 1,
                total=step.total if step is not None and step.begun else 1,
                counts={task_state.wire: n for task_state, n in mine.items()},
                problem=step.problem if step is not None and step.begun else None,
            )
        )
    return found


async def list_deliverables(tx: Tx, query: WorkflowId) -> Sequence[Deliverable]:
    """What the tasks that the playbook calls deliverables have made, with what was made before it.

    Raises:
        NotFound: no such workflow.
    """
    row = await workflow_row(tx, query.workflow_id)
    definition = await definition_of(tx, row.id)
    stages = {stage.name: stage for stage in await _stages(tx, row.id)}
    found: list[Deliverable] = []
    for stage, template in definition.templates:
        if not template.deliverable:
            continue
        for made in await tx.all(_MADE, p_workflow_id=row.id, p_step=template.name):
            past = made.iteration != made.present or not made.begun
            state = _deliverable_state(row, stages[stage.name], TaskState(made.state), past)
            found.append(
                Deliverable(
                    f"{template.name}.{made.iteration}.{made.item}",
                    made.id,
                    template.name,
                    made.title,
                    stage.name,
                    state,
                    state in ("approved", "final"),
                    made.output,
                    made.updated_at,
                )
            )
    return found


def _deliverable_state(row: Row, stage: StageRecord, state: TaskState, past: bool) -> str:
    if past:
        return "superseded"
    if state is not TaskState.COMPLETED:
        return "draft"
    if row.state == WorkflowState.COMPLETED:
        return "final"
    if stage.status is StageStatus.COMPLETED:
        return "approved"
    return "under_review" if stage.status is StageStatus.AWAITING_GATE else "draft"


async def get_usage(tx: Tx, query: WorkflowId) -> Usage:
    """What a workflow has used. Of a task that was metered the measurements count, else what it reported.

    Raises:
        NotFound: no such workflow.
    """
    row = await workflow_row(tx, query.workflow_id)
    metered = await metered_of(tx, row.id)
    tokens, cost = sum(used for _, used, _ in metered), sum(paid for _, _, paid in metered)
    counted = {task_id for task_id, _, _ in metered}
    for found in await tx.all(_REPORTS, p_workflow_id=row.id):
        if found.id in counted:
            continue
        metrics = (found.report or {}).get("metrics") or {}
        tokens += sum(
            int(_number(metrics, name)) for name in ("tokens_input", "tokens_output", "total_tokens")
        )
        cost += _number(metrics, "cost_usd")
    end = row.completed_at or tx.now
    minutes = 0.0 if row.started_at is None else max(0.0, (end - row.started_at).total_seconds() / 60)
    return Usage(Workflow.of(row), tokens, cost, minutes)


def _number(metrics: Mapping[str, Any], name: str) -> float:
    value = metrics.get(name, 0)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def open_count(counts: Mapping[str, int]) -> int:
    """How many of these tasks, counted by state, are not final."""
    final = {state.wire for state in FINAL}
    return sum(n for state, n in counts.items() if state not in final)
