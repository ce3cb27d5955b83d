"""What the log says of one task before some moment: for readers that come late and must know where it stood.

Queries for the hub's own use; who may read a task, its caller has asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.fencing import P_TASK
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.tail import Event

PAGE: Final = 200


@dataclass(frozen=True)
class Later:
    """The events of a task after one version, a page at a time."""

    task_id: UUID
    after: int


@dataclass(frozen=True)
class Story:
    """The events of a task after one version and before another, that decide how it looks."""

    task_id: UUID
    after: int
    before: int


_e = t.event.c
_AT = Statement(sa.select(*_e).where(_e.pos == sa.bindparam("p_pos", type_=sa.BigInteger())))
_BETWEEN = sa.and_(
    _e.task_id == P_TASK,
    _e.version > sa.bindparam("p_after", type_=sa.Integer()),
    _e.version < sa.bindparam("p_before", type_=sa.Integer()),
)
_MOVES = Statement(
    sa.select(*_e)
    .where(
        _BETWEEN,
        _e.kind.in_(["task.created", "task.state_changed", "approval.requested", "approval.decided"]),
    )
    .order_by(_e.version)
)
_LATER = Statement(
    sa.select(*_e)
    .where(_e.task_id == P_TASK, _e.version > sa.bindparam("p_after", type_=sa.Integer()))
    .order_by(_e.version)
    .limit(sa.literal_column(str(PAGE)))
)
_NUMBERED = Statement(sa.select(sa.func.max(_e.version).label("version")).where(_e.task_id == P_TASK))
_FIRST_ARTIFACT = Statement(
    sa.select(*_e)
    .where(_BETWEEN, _e.kind == "task.artifact_updated")
    .order_by(_e.version)
    .limit(sa.literal_column("1"))
)


async def event_at(tx: Tx, pos: int) -> Event | None:
    """The event at a position; None when retention has removed it."""
    row = await tx.one(_AT, p_pos=pos)
    return None if row is None else Event(row)


async def story(tx: Tx, query: Story) -> Sequence[Event]:
    """Every change of state and every approval, in order, and the first of the artifacts, if there is any."""
    key = {"p_task_id": query.task_id, "p_after": query.after, "p_before": query.before}
    found = [*await tx.all(_MOVES, **key), *await tx.all(_FIRST_ARTIFACT, **key)]
    return [Event(row) for row in sorted(found, key=lambda row: row.version)]


async def later(tx: Tx, query: Later) -> Sequence[Event]:
    """What happened to a task after a version, oldest first; fewer than `PAGE` are all that there are."""
    rows = await tx.all(_LATER, p_task_id=query.task_id, p_after=query.after)
    return [Event(row) for row in rows]


async def numbered(tx: Tx, task_id: UUID) -> int:
    """The version up to which the log has a task's events; 0 when it has none of them (yet, or any more)."""
    row = await tx.one(_NUMBERED, p_task_id=task_id)
    return 0 if row is None or row.version is None else int(row.version)
