"""What was told to somebody outside, event by event: the record of it, and trying again what was given up.

A delivery is one event for one target; what it says is made from the log when it is sent. The open ones of
one thing (`entity_id`) for one target are a queue: the next waits for the one before until that is delivered
or dead. `core/jobs/` makes and sends them: `fanout.py`, `queues.py`, `delivery.py`.

Locks are taken in one order everywhere: cursor, queues by their keys, deliveries, the targets' own rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, NotFound
from core.push_targets import PUSH
from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.targets import Targets
from core.webhook_targets import WEBHOOKS
from schemas.vocabulary import DeliveryState

CHANNELS: Final[Mapping[str, Targets]] = MappingProxyType({PUSH.name: PUSH, WEBHOOKS.name: WEBHOOKS})
"""Every kind of target, by its name."""
DUE: Final = "deliveries"
"""The topic that is woken when something can be sent."""
KEPT: Final = timedelta(days=7)
"""How long a settled delivery can be read, and sent again."""


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target, or its fate."""

    id: UUID
    channel: str
    target_id: UUID
    entity_id: UUID
    pos: int
    state: DeliveryState
    attempt: int
    """How often it was tried."""
    next_at: datetime | None
    response_status: int | None
    error: str | None
    created_at: datetime
    attempted_at: datetime | None
    settled_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "Delivery":
        """From its row."""
        return cls(
            row.id,
            row.channel,
            row.target_id,
            row.entity_id,
            row.pos,
            DeliveryState(row.state),
            row.attempt,
            row.next_at,
            row.response_status,
            row.error,
            row.created_at,
            row.attempted_at,
            row.settled_at,
        )


@dataclass(frozen=True)
class ListDeliveries:
    """Deliveries, newest first; None means any. `before` is the last one of the page before."""

    target_id: UUID | None = None
    entity_id: UUID | None = None
    states: Sequence[DeliveryState] = ()
    before: UUID | None = None
    limit: int = 50


@dataclass(frozen=True)
class Redeliver:
    """Try a delivery again that was given up; of None the target is not compared."""

    delivery_id: UUID
    target_id: UUID | None = None


_d = t.delivery.c
_config = t.push_config.alias("its_config")
_VISIBLE = sa.and_(
    _d.tenant_id == access.TENANT,
    sa.or_(
        sa.and_(access.yes(access.OPERATOR), access.yes(access.WIDE)),
        sa.exists().where(_config.c.id == _d.target_id, access.of_readable_task(_config)),
    ),
)
_P_ID = sa.bindparam("p_id", type_=Id())
_P_NOW = sa.bindparam("p_now", type_=Instant())
_GET = Statement(sa.select(*_d).where(_d.id == _P_ID, _VISIBLE))
_AGAIN = Statement(
    sa.update(t.delivery)
    .where(_d.id == _P_ID, _d.state == DeliveryState.DEAD.value)
    .values(state=sa.literal(DeliveryState.PENDING.value), attempt=0, next_at=_P_NOW, settled_at=None)
    .returning(*_d)
)
_new = insert(t.delivery_queue)
_NOW = Statement(
    _new.on_conflict_do_update(
        index_elements=["target_id", "entity_id"],
        set_={"endpoint": _new.excluded.endpoint, "next_at": _new.excluded.next_at},
    )
)
_OLD = Statement(sa.delete(t.delivery).where(_d.settled_at < sa.bindparam("p_before", type_=Instant())))


async def list_deliveries(tx: Tx, query: ListDeliveries) -> list[Delivery]:
    """What was told and what is still to be told, as far as the caller may see it."""
    wanted: list[sa.ColumnElement[bool]] = [_VISIBLE]
    for column, value in ((_d.target_id, query.target_id), (_d.entity_id, query.entity_id)):
        if value is not None:
            wanted.append(column == value)
    if query.states:
        wanted.append(_d.state.in_([state.value for state in query.states]))
    if query.before is not None:
        wanted.append(_d.id < query.before)
    found = sa.select(*_d).where(*wanted).order_by(_d.id.desc()).limit(query.limit)
    return [Delivery.of(row) for row in await tx.all(found)]


async def redeliver(tx: Tx, command: Redeliver) -> Delivery:
    """Give a dead delivery its attempts back, before everything later of its queue.

    Raises:
        NotFound: no such delivery, or not yours to see.
        Conflict: it is not dead, or its target is gone.
    """
    row = await tx.one(_GET, p_id=command.delivery_id)
    if row is None or command.target_id not in (None, row.target_id):
        raise NotFound("no such delivery")
    if row.state != DeliveryState.DEAD:
        raise Conflict(f"the delivery is {row.state}; only a dead one is sent again")
    endpoint = await CHANNELS[row.channel].endpoint_of(tx, row.target_id)
    if endpoint is None:
        raise Conflict("the target of the delivery is gone")
    queue: dict[str, Any] = {
        name: getattr(row, name) for name in ("target_id", "entity_id", "tenant_id", "channel")
    }
    await tx.run(_NOW, **queue, endpoint=endpoint, next_at=tx.now, lease_id=None, lease_until=None)
    changed = await tx.one(_AGAIN, p_id=row.id, p_now=tx.now)
    if changed is None:
        raise Conflict("the delivery is sent again already")
    tx.wake(DUE)
    return Delivery.of(changed)


async def forget_deliveries(tx: Tx, _: None) -> None:
    """Drop the deliveries that were settled long ago."""
    await tx.run(_OLD, p_before=tx.now - KEPT)
