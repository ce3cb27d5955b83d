"""Work items as their readers see them, the statements that find them, and the only way to change one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import InvalidTransition, NotFound
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.store.types import Id
from core.work_items.transitions import ITEM_OVER, ITEM_TRANSITIONS, ItemMove
from core.workflows.records import P_WORKFLOW
from schemas.item_words import WorkItemState
from schemas.playbook import Board
from schemas.vocabulary import Priority


@dataclass(frozen=True)
class WorkItemId:
    """Which work item of which workflow."""

    workflow_id: UUID
    work_item_id: UUID


@dataclass(frozen=True)
class WorkItem:
    """A work item."""

    id: UUID
    tenant_id: UUID
    workflow_id: UUID
    parent_work_item_id: UUID | None
    branch_key: str | None
    stage_name: str
    column_id: str
    state: WorkItemState
    title: str
    goal: str | None
    acceptance_criteria: str | None
    notes: str | None
    owner_role: str | None
    priority: Priority
    next_expected_actor: str | None
    next_expected_action: str | None
    assessment_status: str | None
    blocked_reason: str | None
    escalation_status: str | None
    escalation_task_id: UUID | None
    rework_count: int
    created_by: str
    creator_id: UUID
    metadata: Mapping[str, Any]
    inputs: Mapping[str, Any]
    completion_callouts: Any
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "WorkItem":
        """The value of a `work_item` row."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__ if name != "metadata"}
        fields |= {
            "metadata": row.attributes,
            "state": WorkItemState(row.state),
            "priority": Priority(row.priority),
        }
        return cls(**fields)


_c = i.work_item.c
P_ITEM = sa.bindparam("p_work_item_id", type_=Id())
_IS = sa.and_(_c.id == P_ITEM, access.within_tenant(i.work_item))
_ONE = Statement(sa.select(*_c).where(_IS, _c.workflow_id == P_WORKFLOW))
_LOCKED = Statement(sa.select(*_c).where(_IS, _c.workflow_id == P_WORKFLOW).with_for_update())
_ANYWHERE = Statement(sa.select(*_c).where(_IS))
_LOCKED_ANYWHERE = Statement(sa.select(*_c).where(_IS).with_for_update())


async def item_row(tx: Tx, workflow_id: UUID, work_item_id: UUID, *, locked: bool = False) -> Row:
    """The row of a work item of that workflow.

    Raises:
        NotFound: the workflow has no such item; or there is no such workflow.
    """
    row = await tx.one(_LOCKED if locked else _ONE, p_workflow_id=workflow_id, p_work_item_id=work_item_id)
    if row is None:
        raise NotFound("no such work item")
    return row


async def find_item(tx: Tx, work_item_id: UUID, *, locked: bool = False) -> Row | None:
    """The row of a work item of the tenant, whatever its workflow."""
    return await tx.one(_LOCKED_ANYWHERE if locked else _ANYWHERE, p_work_item_id=work_item_id)


async def move_item(
    tx: Tx, m: ItemMove, row: Row, *, said: Mapping[str, Any] | None = None, **sets: Any
) -> Row:
    """Make one move of `ITEM_TRANSITIONS`, and write its event. The row as it is then.

    Raises:
        InvalidTransition: its state does not allow the move; nothing has changed.
    """
    arc = ITEM_TRANSITIONS[m]
    values = {"state": arc.target.value, "updated_at": tx.now, **sets}
    values["completed_at"] = tx.now if arc.target in ITEM_OVER else None
    moved = await tx.one(
        sa.update(i.work_item)
        .where(_c.id == row.id, _c.state.in_(sorted(source.value for source in arc.sources)))
        .values(values)
        .returning(*_c)
    )
    if moved is None:
        raise refused(row, arc.target)
    data = {"from_state": row.state, "to_state": arc.target.value, "move": m.value, **(said or {})}
    if moved.column_id != row.column_id:
        data |= {"from_column_id": row.column_id, "column_id": moved.column_id}
    tell_item(tx, moved, arc.event, data)
    return moved


async def change_item(tx: Tx, row: Row, **sets: Any) -> Row:
    """Write columns that are no state. The caller says what it was, with `tell_item`."""
    changed = await tx.one(
        sa.update(i.work_item).where(_c.id == row.id).values(**sets, updated_at=tx.now).returning(*_c)
    )
    if changed is None:
        raise NotFound("no such work item")
    return changed


def tell_item(tx: Tx, row: Row, kind: str, data: Mapping[str, Any]) -> None:
    """Write an event of a work item."""
    tx.event(
        kind,
        entity_type="work_item",
        entity_id=row.id,
        workflow_id=row.workflow_id,
        submitter_id=row.creator_id,
        data={
            "workflow_id": str(row.workflow_id),
            "work_item_id": str(row.id),
            "stage_name": row.stage_name,
            "title": row.title,
            **data,
        },
    )


def refused(row: Row, wanted: WorkItemState) -> InvalidTransition:
    """Why a move is not possible."""
    return InvalidTransition(
        f"the work item is {row.state}",
        details={
            "work_item_id": str(row.id),
            "current_state": row.state,
            "requested_state": wanted.value,
        },
    )


def column_for(board: Board, row: Row, state: WorkItemState) -> str:
    """Where an item stands that comes into this state, as far as the board tells the states apart."""
    if state in ITEM_OVER:
        wanted = [column.id for column in board.columns if column.is_terminal]
    elif state is WorkItemState.BLOCKED:
        wanted = [column.id for column in board.columns if column.is_blocked]
    else:
        present = [column for column in board.columns if column.id == row.column_id]
        if present and not present[0].is_terminal and not present[0].is_blocked:
            return str(row.column_id)
        wanted = [working_column(board)]
    return wanted[0] if wanted else str(row.column_id)


def working_column(board: Board) -> str:
    """Where an item stands that is being worked on."""
    for column in board.columns:
        if not column.is_terminal and not column.is_blocked and column.id != board.entry:
            return column.id
    return board.entry
