"""Reading work items: one, those of a workflow, and what is counted of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.tasks.task import Task
from core.work_items.records import P_ITEM, WorkItem, WorkItemId, item_row
from core.work_items.transitions import ITEM_OVER
from core.workflows.records import P_WORKFLOW, workflow_row
from schemas.item_words import WorkItemState
from schemas.vocabulary import TaskState

MOST_TASKS: Final = 1_000
"""Tasks that a list of an item's tasks has at most, the newest."""


@dataclass(frozen=True)
class ListWorkItems:
    """Which items of a workflow; None means any."""

    workflow_id: UUID
    parent_work_item_id: UUID | None = None
    stage_name: str | None = None
    column_id: str | None = None


@dataclass(frozen=True)
class ItemTasks:
    """The tasks of a work item, so many of the newest."""

    workflow_id: UUID
    work_item_id: UUID
    limit: int = MOST_TASKS


@dataclass(frozen=True)
class WorkItemView:
    """A work item and what is counted of it."""

    item: WorkItem
    task_counts: Mapping[str, int] = field(default_factory=dict)
    """Its tasks by state."""
    children: Sequence[WorkItem] = ()
    gate_status: str = "not_requested"
    """Of its stage."""

    @property
    def task_count(self) -> int:
        """How many tasks it has."""
        return sum(self.task_counts.values())


@dataclass(frozen=True)
class ItemSummary:
    """The work items of a workflow in numbers."""

    total: int = 0
    open: int = 0
    """Neither completed nor cancelled."""
    blocked: int = 0
    completed: int = 0


_c, _t = i.work_item.c, t.task.c
_OF_WORKFLOW = sa.select(*_c).where(_c.workflow_id == P_WORKFLOW, access.within_tenant(i.work_item))
_TASK_COUNTS = Statement(
    sa.select(_t.work_item_id, _t.state, sa.func.count().label("n"))
    .where(
        _t.work_item_id.is_not(None),
        _t.work_item_id.in_(sa.select(_c.id).where(_c.workflow_id == P_WORKFLOW)),
    )
    .group_by(_t.work_item_id, _t.state)
)
_TASK_COUNTS_OF_ONE = Statement(
    sa.select(_t.work_item_id, _t.state, sa.func.count().label("n"))
    .where(_t.work_item_id == P_ITEM)
    .group_by(_t.work_item_id, _t.state)
)
_CHILDREN = Statement(sa.select(*_c).where(_c.parent_work_item_id == P_ITEM).order_by(_c.id))
_GATES = Statement(
    sa.select(w.workflow_stage.c.name, w.workflow_stage.c.gate_status).where(
        w.workflow_stage.c.workflow_id == P_WORKFLOW
    )
)
_TASKS = Statement(
    sa.select(*_t)
    .where(_t.work_item_id == P_ITEM, access.readable())
    .order_by(_t.id.desc())
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_BY_STATE = Statement(
    sa.select(_c.stage_name, _c.state, sa.func.count().label("n"))
    .where(_c.workflow_id == P_WORKFLOW)
    .group_by(_c.stage_name, _c.state)
)


async def get_work_item(tx: Tx, query: WorkItemId) -> WorkItemView:
    """One work item, with its children.

    Raises:
        NotFound: no such workflow, or no such item of it.
    """
    row = await item_row(tx, query.workflow_id, query.work_item_id)
    counts = await tx.all(_TASK_COUNTS_OF_ONE, p_work_item_id=row.id)
    return WorkItemView(
        WorkItem.of(row),
        _by_item(counts).get(row.id, {}),
        [WorkItem.of(child) for child in await tx.all(_CHILDREN, p_work_item_id=row.id)],
        (await _gates(tx, row.workflow_id)).get(row.stage_name, "not_requested"),
    )


async def list_work_items(tx: Tx, query: ListWorkItems) -> Sequence[WorkItemView]:
    """The items of a workflow, oldest first.

    Raises:
        NotFound: no such workflow.
    """
    await workflow_row(tx, query.workflow_id)
    return await items_of(tx, query)


async def items_of(tx: Tx, query: ListWorkItems) -> Sequence[WorkItemView]:
    """As `list_work_items`, for a workflow that was found."""
    items = [
        WorkItem.of(row)
        for row in await tx.all(_OF_WORKFLOW.order_by(_c.id), p_workflow_id=query.workflow_id)
    ]
    if not items:
        return []
    counts = _by_item(await tx.all(_TASK_COUNTS, p_workflow_id=query.workflow_id))
    gates = await _gates(tx, query.workflow_id)
    children: dict[UUID, list[WorkItem]] = {}
    for item in items:
        if item.parent_work_item_id is not None:
            children.setdefault(item.parent_work_item_id, []).append(item)
    return [
        WorkItemView(
            item,
            counts.get(item.id, {}),
            children.get(item.id, []),
            gates.get(item.stage_name, "not_requested"),
        )
        for item in items
        if query.parent_work_item_id in (None, item.parent_work_item_id)
        and query.stage_name in (None, item.stage_name)
        and query.column_id in (None, item.column_id)
    ]


async def tasks_of_item(tx: Tx, query: ItemTasks) -> Sequence[Task]:
    """The newest tasks of a work item that the caller may read, newest first.

    Raises:
        NotFound: no such workflow, or no such item of it.
    """
    row = await item_row(tx, query.workflow_id, query.work_item_id)
    rows = await tx.all(_TASKS, p_work_item_id=row.id, p_limit=query.limit)
    return [Task.of(task) for task in rows]


async def summaries(tx: Tx, workflow_id: UUID) -> Mapping[str, ItemSummary]:
    """The items of each stage in numbers."""
    found: dict[str, dict[WorkItemState, int]] = {}
    for row in await tx.all(_BY_STATE, p_workflow_id=workflow_id):
        found.setdefault(row.stage_name, {})[WorkItemState(row.state)] = row.n
    return {name: _summary(counts) for name, counts in found.items()}


def total(stages: Mapping[str, ItemSummary]) -> ItemSummary:
    """All of them together."""
    return ItemSummary(
        sum(stage.total for stage in stages.values()),
        sum(stage.open for stage in stages.values()),
        sum(stage.blocked for stage in stages.values()),
        sum(stage.completed for stage in stages.values()),
    )


def _summary(counts: Mapping[WorkItemState, int]) -> ItemSummary:
    return ItemSummary(
        sum(counts.values()),
        sum(n for state, n in counts.items() if state not in ITEM_OVER),
        counts.get(WorkItemState.BLOCKED, 0),
        counts.get(WorkItemState.COMPLETED, 0),
    )


async def _gates(tx: Tx, workflow_id: UUID) -> Mapping[str, str]:
    return {row.name: row.gate_status for row in await tx.all(_GATES, p_workflow_id=workflow_id)}


def _by_item(rows: Sequence[Row]) -> Mapping[UUID, Mapping[str, int]]:
    found: dict[UUID, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row.work_item_id, {})[TaskState(row.state).wire] = row.n
    return found
