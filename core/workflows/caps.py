"""How much may go on in a workflow at once, by its playbook: in all, for one work item, in one at a time.

Where there are caps, no task becomes ready by itself: it is held and leaves a mark, and whoever advances the
workflow lets on as many as there are places. Only there places are counted, alone under the workflow's lock.
"""

from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import work_items as i
from core.store.tx import Tx
from core.transitions import FINAL, LEASED
from core.workflows.records import P_WORKFLOW
from schemas.playbook import Definition, Orchestrator
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
    sa.select(_c.id, _c.work_item_id)
    .where(
        _c.workflow_id == P_WORKFLOW,
        _c.on_hold,
        _c.state == sa.literal_column(str(int(TaskState.PENDING))),
        _c.waiting == sa.literal_column("0"),
        sa.not_(
            sa.exists().where(
                i.work_item.c.id == _c.work_item_id, i.work_item.c.state == sa.literal_column("'paused'")
            )
        ),
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


async def let_on(tx: Tx, workflow: Row, definition: Definition) -> None:
    """Let go what was held for want of a place, as far as there is one. The workflow's row is locked."""
    if not has_caps(definition):
        return
    # Imported here: releasing a task asks whether it is held.
    from core.tasks.release import release

    for held in await tx.all(_HELD, p_workflow_id=workflow.id):
        if await _is_full(tx, workflow.id, held, definition.orchestrator):
            continue
        row = await tx.one(_LET_GO, p_task_id=held.id)
        if row is not None:
            await release(tx, row, has_place=True)


async def _is_full(tx: Tx, workflow_id: UUID, held: Row, steering: Orchestrator) -> bool:
    taken = await tx.one(
        _TAKEN, p_workflow_id=workflow_id, p_work_item_id=held.work_item_id or NOBODY, p_task_id=held.id
    )
    assert taken is not None
    if steering.max_active_tasks is not None and taken.all >= steering.max_active_tasks:
        return True
    if held.work_item_id is None:
        return False
    mine = steering.max_active_tasks_per_work_item
    if mine is not None and taken.here >= mine:
        return True
    return not steering.allow_parallel_work_items and bool(taken.elsewhere)
