"""How much may go on in a workflow at once, by its playbook: in all, for one work item, in one at a time.

Whether there is room is asked under the lock of the workflow's row, so that two who ask at once do not both
get the last place. What finds none is held, and let go by `let_on` when a place is free.
"""

from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.transitions import FINAL, LEASED
from core.workflows.records import LOCKED, P_WORKFLOW, definition_of
from schemas.playbook import Definition
from schemas.vocabulary import TaskState

TAKING_PLACE: Final = frozenset(
    {
        TaskState.READY,
        *LEASED,
        TaskState.INPUT_REQUIRED,
        TaskState.AUTH_REQUIRED,
        TaskState.OUTPUT_PENDING_ASSESSMENT,
    }
)
"""A task in one of these takes a place. One that waits for leave or for people takes none."""
LET_ON: Final = 50
"""Held tasks that one look lets go; more are let go with the next."""

_c = t.task.c
_P_ITEM = sa.bindparam("p_work_item_id", type_=_c.work_item_id.type)
_P_TASK = sa.bindparam("p_task_id", type_=_c.id.type)
_TAKEN = Statement(
    sa.select(
        sa.func.count().label("all"),
        sa.func.coalesce(sa.func.sum(sa.case((_c.work_item_id == _P_ITEM, 1), else_=0)), 0).label("here"),
        sa.func.coalesce(
            sa.func.sum(
                sa.case((sa.and_(_c.work_item_id.is_not(None), _c.work_item_id != _P_ITEM), 1), else_=0)
            ),
            0,
        ).label("elsewhere"),
    ).where(
        _c.workflow_id == P_WORKFLOW,
        _c.state.in_([sa.literal_column(str(int(state))) for state in sorted(TAKING_PLACE)]),
        # Said though it follows, so that the index of open tasks serves.
        _c.state.not_in([sa.literal_column(str(int(state))) for state in sorted(FINAL)]),
        _c.id != _P_TASK,
    )
)
_HELD = Statement(
    sa.select(_c.id)
    .where(
        _c.workflow_id == P_WORKFLOW,
        _c.on_hold,
        _c.state == sa.literal_column(str(int(TaskState.PENDING))),
        _c.waiting == sa.literal_column("0"),
    )
    .order_by(_c.rank, _c.id)
    .limit(sa.literal_column(str(LET_ON)))
)
_LET_GO = Statement(
    sa.update(t.task).where(_c.id == _P_TASK, _c.on_hold).values(on_hold=sa.false()).returning(*_c)
)
NOBODY: Final = UUID(int=0)
"""The id that no task has."""


def has_caps(definition: Definition) -> bool:
    """Whether the playbook limits what goes on at once."""
    steering = definition.orchestrator
    return (
        steering.max_active_tasks is not None
        or steering.max_active_tasks_per_work_item is not None
        or not steering.allow_parallel_work_items
    )


async def is_full(tx: Tx, workflow_id: UUID, work_item_id: UUID | None, task_id: UUID = NOBODY) -> bool:
    """Whether there is no place for a task, itself not counted."""
    definition = await definition_of(tx, workflow_id)
    if not has_caps(definition):
        return False
    await tx.one(LOCKED, p_workflow_id=workflow_id)
    taken = await tx.one(
        _TAKEN, p_workflow_id=workflow_id, p_work_item_id=work_item_id or NOBODY, p_task_id=task_id
    )
    assert taken is not None
    steering = definition.orchestrator
    if steering.max_active_tasks is not None and taken.all >= steering.max_active_tasks:
        return True
    if work_item_id is None:
        return False
    mine = steering.max_active_tasks_per_work_item
    if mine is not None and taken.here >= mine:
        return True
    return not steering.allow_parallel_work_items and bool(taken.elsewhere)


async def let_on(tx: Tx, workflow: Row, definition: Definition) -> None:
    """Let go what was held for want of a place, as far as there is one. The workflow's row is locked."""
    if not has_caps(definition):
        return
    # Imported here: releasing a task asks for its place.
    from core.tasks.release import release

    for held in await tx.all(_HELD, p_workflow_id=workflow.id):
        row = await tx.one(_LET_GO, p_task_id=held.id)
        if row is not None:
            await release(tx, row)
