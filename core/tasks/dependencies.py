"""What a new task waits for."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Invalid
from core.fencing import P_TASK
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.transitions import FINAL
from schemas.vocabulary import OnDependencyFailure, TaskState

_COUNT_DEPENDANT = Statement(
    sa.update(t.task)
    .where(t.task.c.id == P_TASK, access.readable())
    .values(dependants=t.task.c.dependants + 1)
    .returning(t.task.c.state)
)


async def count_dependencies(
    tx: Tx, depends_on: Sequence[UUID], wish: OnDependencyFailure
) -> tuple[set[UUID], bool]:
    """Which dependencies are still to be waited for, and whether one has failed for good.

    Counting on the dependency's own row locks it, so that it cannot end unseen meanwhile.

    Raises:
        Invalid: one does not exist, for this caller.
    """
    waiting: set[UUID] = set()
    cancelled = False
    for after in sorted(set(depends_on)):
        row = await tx.one(_COUNT_DEPENDANT, p_task_id=after)
        if row is None:
            raise Invalid("depends_on names a task that does not exist", details={"field": "depends_on"})
        state = TaskState(row.state)
        if state is TaskState.COMPLETED or (state in FINAL and wish is OnDependencyFailure.RUN):
            continue
        cancelled |= state in FINAL and wish is OnDependencyFailure.CANCEL
        waiting.add(after)
    return waiting, cancelled
