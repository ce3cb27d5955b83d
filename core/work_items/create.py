"""A work item is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, Invalid
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.work_items.records import WorkItem, find_item, item_row, tell_item
from core.workflows.activations import enqueue
from core.workflows.advance import carry_on
from core.workflows.records import P_WORKFLOW, definition_of, workflow_row
from core.workflows.standing import OVER
from schemas.item_words import WorkItemState
from schemas.playbook import Column, Definition
from schemas.vocabulary import Priority, WorkflowState

MOST_ITEMS: Final = 5_000
"""Work items of one workflow."""
DEEPEST: Final = 16
"""How deep items may nest."""


@dataclass(frozen=True)
class CreateWorkItem:
    """What is to be done. `stage_name` may be left out where there is only one; so may the column."""

    workflow_id: UUID
    title: str
    stage_name: str | None = None
    goal: str | None = None
    acceptance_criteria: str | None = None
    column_id: str | None = None
    owner_role: str | None = None
    priority: Priority = Priority.NORMAL
    notes: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent_work_item_id: UUID | None = None
    branch_key: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    created_by: str = "api"


_INSERT = Statement(sa.insert(i.work_item))
_COUNT = Statement(
    sa.select(sa.func.count().label("n"))
    .select_from(i.work_item)
    .where(i.work_item.c.workflow_id == P_WORKFLOW)
)


async def create_work_item(tx: Tx, command: CreateWorkItem) -> WorkItem:
    """Make a work item. It is open, and its workflow stands as follows from it when this returns.

    Raises:
        NotFound: no such workflow.
        Invalid: no such stage, column, role or parent in it; or one that cannot hold a new item.
        Conflict: the workflow is over, or has too many items.
    """
    workflow = await workflow_row(tx, command.workflow_id, locked=True)
    check_going(workflow)
    definition = await definition_of(tx, workflow.id)
    stage = stage_of(definition, command.stage_name)
    check_role(definition, command.owner_role)
    column = column_of(definition, command.column_id or definition.board.entry)
    if column.is_terminal or column.is_blocked:
        raise Invalid(
            "a new item stands neither in the blocked nor in the terminal column",
            details={"field": "column_id"},
        )
    if command.parent_work_item_id is not None:
        await check_parent(tx, workflow.id, None, command.parent_work_item_id)
    count = await tx.one(_COUNT, p_workflow_id=workflow.id)
    if count is not None and count.n >= MOST_ITEMS:
        raise Conflict(
            f"a workflow has at most {MOST_ITEMS} work items", details={"reason_code": "too_many_work_items"}
        )
    work_item_id = tx.new_id()
    await tx.run(
        _INSERT,
        id=work_item_id,
        tenant_id=workflow.tenant_id,
        workflow_id=workflow.id,
        parent_work_item_id=command.parent_work_item_id,
        branch_key=command.branch_key,
        stage_name=stage,
        column_id=column.id,
        state=WorkItemState.OPEN.value,
        title=command.title,
        goal=command.goal,
        acceptance_criteria=command.acceptance_criteria,
        notes=command.notes,
        owner_role=command.owner_role,
        priority=command.priority.value,
        next_expected_actor=None,
        next_expected_action=None,
        assessment_status=None,
        blocked_reason=None,
        escalation_status=None,
        escalation_task_id=None,
        rework_count=0,
        created_by=command.created_by,
        creator_id=tx.caller.principal_id,
        attributes=dict(command.metadata),
        inputs=dict(command.inputs),
        completion_callouts=None,
        completed_at=None,
        created_at=tx.now,
        updated_at=tx.now,
    )
    row = await item_row(tx, workflow.id, work_item_id)
    tell_item(tx, row, "work_item.created", {"column_id": row.column_id, "created_by": row.created_by})
    if definition.orchestrated and command.created_by != "orchestrator":
        said = {"work_item_id": str(row.id), "title": row.title, "stage_name": row.stage_name}
        await enqueue(tx, workflow, "work_item.created", "a work item was made", said)
    await carry_on(tx, await workflow_row(tx, workflow.id))
    return WorkItem.of(row)


def check_going(workflow: Row) -> None:
    """Refuse what a workflow that is over no longer takes.

    Raises:
        Conflict: it is over.
    """
    if WorkflowState(workflow.state) in OVER:
        raise Conflict(
            f"the workflow is {workflow.state}",
            details={"reason_code": "workflow_over", "state": workflow.state},
        )


def stage_of(definition: Definition, name: str | None) -> str:
    """The stage that is meant.

    Raises:
        Invalid: there is none of that name; or none is named, and there are several.
    """
    names = [stage.name for stage in definition.stages]
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        missing = "stage_name is required, since there are several stages"
        raise Invalid(
            missing if name is None else f"there is no stage {name!r}",
            details={"reason_code": "unknown_stage_name", "field": "stage_name"},
            hint=f"orchestrator_guided_recovery: one of {', '.join(names)}",
        )
    return name


def check_role(definition: Definition, role: str | None) -> None:
    """Refuse a role that the playbook does not have.

    Raises:
        Invalid: so it is.
    """
    if role is not None and definition.roles and role not in definition.roles:
        raise Invalid(
            f"the playbook has no role {role!r}",
            details={"reason_code": "role_not_defined_in_playbook", "field": "owner_role"},
            hint=f"orchestrator_guided_recovery: one of {', '.join(definition.roles)}",
        )


def column_of(definition: Definition, column_id: str) -> Column:
    """A column of the board.

    Raises:
        Invalid: there is none of that id.
    """
    for column in definition.board.columns:
        if column.id == column_id:
            return column
    raise Invalid(
        f"the board has no column {column_id!r}",
        details={"field": "column_id"},
        hint=f"one of {', '.join(column.id for column in definition.board.columns)}",
    )


async def check_parent(tx: Tx, workflow_id: UUID, own_id: UUID | None, parent_id: UUID) -> None:
    """Refuse a parent that is not of the workflow, or that is below the item itself.

    Raises:
        Invalid: so it is.
    """
    above: UUID | None = parent_id
    for _ in range(DEEPEST):
        if above is None:
            return
        row = None if above == own_id else await find_item(tx, above)
        if row is None or row.workflow_id != workflow_id:
            raise Invalid(
                "parent_work_item_id names no item of the workflow that this one could be a part of",
                details={"field": "parent_work_item_id"},
            )
        above = row.parent_work_item_id
    raise Invalid(f"work items nest at most {DEEPEST} deep", details={"field": "parent_work_item_id"})
