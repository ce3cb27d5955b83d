"""Delegations that need somebody though nobody holds their task: queries over all tenants.

A holder that died, a task that ended without its remote agent hearing of it, a question that the remote agent
may have stopped asking.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.delegations import OPEN, Delegation
from core.fencing import P_NOW, P_TASK
from core.lifecycle import Who, move
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Instant
from core.tasks.claim import GiveBack
from core.tasks.input import PREFER_SAME
from core.tasks.release import release
from core.transitions import ASKING, FINAL, Fence, Move
from schemas.vocabulary import DelegationState, TaskState


@dataclass(frozen=True)
class Fading:
    """A lease of a remote agent that nobody renews any more, of some tenant."""

    tenant_id: UUID
    lease: GiveBack


@dataclass(frozen=True)
class FadingBefore:
    """Leases that end before so many seconds from now."""

    seconds: float


_d = t.delegation.c
_LIMIT: sa.ColumnElement[int] = sa.literal_column("200")
_FADING = Statement(
    sa.select(t.lease.c.tenant_id, t.lease.c.task_id, t.lease.c.lease_id)
    .select_from(sa.join(t.lease, t.remote_agent, t.remote_agent.c.id == t.lease.c.agent_id))
    .where(t.lease.c.until < sa.bindparam("p_before", type_=Instant()))
    .limit(_LIMIT)
)


def _states(states: Any) -> list[sa.ColumnElement[int]]:
    return [sa.literal_column(str(int(state)), sa.SmallInteger) for state in sorted(states)]


_WITH_TASK = sa.outerjoin(t.delegation, t.task, t.task.c.id == _d.task_id)
_OPEN: list[sa.ColumnElement[str]] = [
    sa.literal_column(f"'{state}'") for state in sorted(s.value for s in OPEN)
]
_ORPHANED = Statement(
    sa.select(*_d)
    .select_from(_WITH_TASK)
    .where(
        _d.state.in_(_OPEN),
        sa.or_(_d.look_at.is_(None), _d.look_at <= P_NOW, t.task.c.finished_at > _d.updated_at),
        sa.or_(
            t.task.c.id.is_(None),
            t.task.c.state.in_(_states(FINAL)),
            sa.and_(t.task.c.lease_id.is_not(None), t.task.c.agent_id != _d.remote_agent_id),
        ),
    )
    .limit(_LIMIT)
)
_ASKED = Statement(
    sa.select(*_d)
    .select_from(_WITH_TASK)
    .where(
        _d.state == DelegationState.ASKED.value,
        _d.look_at <= P_NOW,
        t.task.c.state.in_(_states(ASKING)),
        t.task.c.lease_id.is_(None),
    )
    .limit(_LIMIT)
)


async def fading(tx: Tx, query: FadingBefore) -> Sequence[Fading]:
    """Leases whose holder has missed its turns; given back before they run out, they cost no retry."""
    rows = await tx.all(_FADING, p_before=tx.now + timedelta(seconds=query.seconds))
    return [Fading(row.tenant_id, GiveBack(row.task_id, row.lease_id)) for row in rows]


async def orphaned(tx: Tx, _: None) -> Sequence[Delegation]:
    """Open delegations whose task has ended, or is done by somebody else now."""
    return [Delegation.of(row) for row in await tx.all(_ORPHANED, p_now=tx.now)]


async def waiting(tx: Tx, _: None) -> Sequence[Delegation]:
    """Delegations whose question was passed on, and that it is time to look at."""
    return [Delegation.of(row) for row in await tx.all(_ASKED, p_now=tx.now)]


@dataclass(frozen=True)
class Resume:
    """The remote agent no longer waits: the task goes back to whoever works with it."""

    task_id: UUID
    remote_agent_id: UUID


async def resume(tx: Tx, command: Resume) -> None:
    """Put a waiting task back into the queue though nobody has answered it here. Its questions end.

    Raises:
        Conflict: it does not wait any more.
    """
    moved = await move(
        tx,
        Move.FORCE_RETRY,
        command.task_id,
        who=Who.SYSTEM,
        said={"reason": "remote_agent_went_on"},
        sets={"ready_at": tx.now, "status_message": None, **_kept_for(tx, command.remote_agent_id)},
    )
    await release(tx, moved.row)


async def hand_back(tx: Tx, command: GiveBack) -> None:
    """Put a task back whose holder is gone or going, for the same agent first. It costs no retry.

    Raises:
        Conflict: it has moved on meanwhile.
    """
    row = await tx.one(_TASK, p_task_id=command.task_id)
    chosen = Move.EXPIRE if row is not None and row.state == TaskState.CLAIMED else Move.REQUEUE
    moved = await move(
        tx,
        chosen,
        command.task_id,
        who=Who.SYSTEM,
        lease_id=command.lease_id,
        fence=Fence.SEEN,
        said={"reason": "claimer_gone"},
        sets={"ready_at": tx.now, **_kept_for(tx, None if row is None else row.agent_id)},
    )
    await release(tx, moved.row)


def _kept_for(tx: Tx, agent_id: UUID | None) -> dict[str, Any]:
    """The columns that keep a task for an agent for a while: it has begun the work elsewhere."""
    if agent_id is None:
        return {}
    return {"preferred_agent_id": agent_id, "preferred_until": tx.now + PREFER_SAME}


_TASK = Statement(
    sa.select(t.task.c.state, t.task.c.agent_id).where(t.task.c.id == P_TASK, access.within_tenant(t.task))
)
