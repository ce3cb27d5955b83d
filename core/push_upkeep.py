"""Push configurations as those who run the hub, and those who made them, look after them.

Which there are, how they stand, and letting one that was paused go on. What was told is `core/deliveries.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.deliveries import DUE
from core.errors import Conflict, NotFound
from core.jobs.fanout import CURSOR, MAKE, QUEUE, UNTRIED
from core.push import FINAL_FOR_GOOD, PushConfig
from core.push_targets import PUSH, TOLD
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.targets import OVERFLOW, P_TARGET, TARGETS
from core.transitions import FINAL
from schemas.vocabulary import DeliveryState, TaskState


@dataclass(frozen=True)
class KeptConfig:
    """A configuration, and how it fares."""

    config: PushConfig
    waiting: int
    """Deliveries that are still to be made."""
    dead: int
    """Deliveries that were given up."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ListKept:
    """The configurations of a task, or all that the caller may see; newest first."""

    task_id: UUID | None = None
    before: UUID | None = None
    limit: int = 50


@dataclass(frozen=True)
class OneKept:
    """One configuration by its row's id."""

    id: UUID


_c, _d, _e = t.push_config.c, t.delivery.c, t.event.c
_VISIBLE = sa.and_(
    _c.tenant_id == access.TENANT,
    sa.or_(
        sa.and_(access.yes(access.OPERATOR), access.yes(access.WIDE)), access.of_readable_task(t.push_config)
    ),
)
_WAITING = (
    sa.select(sa.func.count())
    .where(_d.target_id == _c.id, _d.settled_at.is_(None))
    .scalar_subquery()
    .label("waiting")
)
_DEAD = (
    sa.select(sa.func.count())
    .where(_d.target_id == _c.id, _d.state == sa.literal_column(f"'{DeliveryState.DEAD.value}'"))
    .scalar_subquery()
    .label("dead")
)
_GET = Statement(sa.select(*_c, _WAITING, _DEAD).where(_c.id == P_TARGET, _VISIBLE))
_P_NAME = sa.bindparam("p_name", type_=sa.String())
_LOCK = Statement(sa.select(t.consumer.c.pos).where(t.consumer.c.name == _P_NAME).with_for_update())
_LAST = Statement(sa.select(sa.func.max(_d.pos).label("pos")).where(_d.target_id == P_TARGET))
_P_TASK = sa.bindparam("p_task_id", type_=Id())
_MISSED = Statement(
    sa.select(_e.pos)
    .where(
        _e.task_id == _P_TASK,
        _e.version > sa.bindparam("p_version", type_=sa.Integer()),
        _e.pos > sa.bindparam("p_after", type_=sa.BigInteger()),
        _e.pos <= sa.bindparam("p_upto", type_=sa.BigInteger()),
        _e.kind.in_([sa.literal_column(f"'{kind}'") for kind in TOLD]),
    )
    .order_by(_e.pos)
)
_TASK = Statement(
    sa.select(
        t.task.c.state,
        t.task.c.face,
        t.task.c.version,
        sa.select(sa.func.max(_e.version))
        .where(_e.task_id == _P_TASK, _e.pos <= sa.bindparam("p_upto", type_=sa.BigInteger()))
        .scalar_subquery()
        .label("reached"),
    ).where(t.task.c.id == _P_TASK)
)
_RESUME = Statement(
    sa.update(t.push_config)
    .where(_c.id == P_TARGET)
    .values(
        live=sa.bindparam("p_live", type_=sa.Boolean()),
        disabled=sa.null(),
        updated_at=sa.bindparam("p_now", type_=_c.updated_at.type),
    )
)


def _kept(row: Row) -> KeptConfig:
    return KeptConfig(PushConfig.of(row), row.waiting, row.dead, row.created_at, row.updated_at)


async def list_kept(tx: Tx, query: ListKept) -> Sequence[KeptConfig]:
    """The configurations that the caller may see, newest first."""
    wanted: list[sa.ColumnElement[bool]] = [_VISIBLE]
    if query.task_id is not None:
        wanted.append(_c.task_id == query.task_id)
    if query.before is not None:
        wanted.append(_c.id < query.before)
    found = sa.select(*_c, _WAITING, _DEAD).where(*wanted).order_by(_c.id.desc()).limit(query.limit)
    return [_kept(row) for row in await tx.all(found)]


async def get_kept(tx: Tx, query: OneKept) -> KeptConfig:
    """One configuration.

    Raises:
        NotFound: no such configuration, or not yours to see.
    """
    row = await tx.one(_GET, p_target_id=query.id)
    if row is None:
        raise NotFound("no such push configuration")
    return _kept(row)


async def resume_config(tx: Tx, command: OneKept) -> KeptConfig:
    """Let a paused configuration go on with the first event that it did not hear of.

    Raises:
        NotFound: no such configuration, or not yours to see.
        Conflict: it is not paused.
    """
    # The cursor first: whoever fans out holds it, too, so that no event falls between the two.
    cursor = await tx.one(_LOCK, p_name=CURSOR)
    row = await tx.one(_GET, p_target_id=command.id)
    if row is None:
        raise NotFound("no such push configuration")
    if row.disabled != OVERFLOW:
        raise Conflict("the configuration is not paused", details={"reason_code": "not_paused"})
    last = await tx.one(_LAST, p_target_id=row.id)
    upto = 0 if cursor is None else cursor.pos
    missed = await tx.all(
        _MISSED,
        p_task_id=row.task_id,
        p_version=row.after_version,
        p_after=(last and last.pos) or 0,
        p_upto=upto,
    )
    shared = {
        "tenant_id": row.tenant_id,
        "channel": PUSH.name,
        "target_id": row.id,
        "entity_id": row.task_id,
        "next_at": tx.now,
    }
    if missed:
        await tx.run(QUEUE, **shared, endpoint=row.endpoint, lease_id=None, lease_until=None)
    for event in missed:
        tx.add(MAKE, **shared, **UNTRIED, id=tx.new_id(), pos=event.pos, created_at=tx.now)
    await tx.flush()
    task = await tx.one(_TASK, p_task_id=row.task_id, p_upto=upto)
    over = task is None or (
        TaskState(task.state) in FINAL and task.face in FINAL_FOR_GOOD and task.reached == task.version
    )
    await tx.run(_RESUME, p_target_id=row.id, p_live=not over, p_now=tx.now)
    tx.wake(TARGETS)
    tx.wake(DUE)
    return await get_kept(tx, command)
