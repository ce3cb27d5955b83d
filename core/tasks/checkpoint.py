"""Checkpoints: what an attempt keeps of its work, for itself and for the attempt after it.

A task has one, the last that was kept; every later claim hands it over. So a retry does not pay twice.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import Who, touch
from core.store.statement import Row, Statement, insert
from core.store.tables.workers import checkpoint as c
from core.store.tx import Tx
from core.tasks.artifacts import WORKING
from core.transitions import Fence


@dataclass(frozen=True)
class KeepCheckpoint:
    """Where the attempt stands, as any JSON value."""

    task_id: UUID
    lease_id: UUID
    state: Any


@dataclass(frozen=True)
class Kept:
    """The attempt that kept it, and the version of the task that it took."""

    attempt: int
    version: int


_INSERT = insert(c)
_KEEP = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=["task_id"],
        set_={name: _INSERT.excluded[name] for name in ("attempt", "state", "kept_at")},
    )
)
_OF = Statement(sa.select(c.c.state).where(c.c.task_id == P_TASK))


async def keep_checkpoint(tx: Tx, command: KeepCheckpoint) -> Kept:
    """Keep where the attempt stands, in the place of what was kept before.

    Raises:
        NotFound: no such task.
        Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    row = await touch(
        tx,
        command.task_id,
        who=Who.EXECUTOR,
        states=WORKING,
        lease_id=command.lease_id,
        fence=Fence.OWN,
        doing="keep a checkpoint",
    )
    await tx.run(
        _KEEP,
        task_id=row.id,
        tenant_id=row.tenant_id,
        attempt=row.attempt,
        state=command.state,
        kept_at=tx.now,
    )
    tell(tx, row, "task.checkpointed", {"task_id": str(row.id), "attempt": row.attempt})
    return Kept(row.attempt, row.version)


async def kept_of(tx: Tx, task: Row) -> Any:
    """What was kept last of a task that the caller has claimed; None where nothing was."""
    if task.attempt == 1:  # nobody was there before
        return None
    found = await tx.one(_OF, p_task_id=task.id)
    return None if found is None else found.state
