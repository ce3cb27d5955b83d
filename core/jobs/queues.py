"""Whose turn it is: taking queues of deliveries under a lease, and settling what came of each attempt.

A queue is worked on by one replica at a time, so nothing is sent twice at once; a crash lets the lease run
out, and then only repeats. Nothing here calls the network.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core.deliveries import CHANNELS, DUE
from core.ports import Due
from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tx import Tx
from core.store.types import Id, Instant
from schemas.vocabulary import DeliveryState

TURN: Final = "delivery"
"""The consumer's row by whose lock replicas take queues one after the other."""
IN_FLIGHT: Final = 4
"""Requests to one endpoint at once, of all replicas together."""


@dataclass(frozen=True)
class Take:
    """Take at most `room` queues that are due."""

    room: int
    lease_seconds: float
    in_flight: int = IN_FLIGHT


class Fate(StrEnum):
    """What came of one attempt."""

    DELIVERED = "delivered"
    SILENT = "silent"
    """The event says nothing to this target: there was nothing to send."""
    FAILED = "failed"
    """To be tried again."""
    DEAD = "dead"
    """Given up."""
    ENDED = "ended"
    """The receiver wants nothing more."""


@dataclass(frozen=True)
class Settle:
    """What came of an attempt. With `go_on` the queue is kept for its next delivery."""

    due: Due
    fate: Fate
    status: int | None = None
    error: str | None = None
    retry_seconds: float = 0.0
    go_on: bool = True


@dataclass(frozen=True)
class SettleAll:
    """What came of some attempts. One such command at a time in a process, as it locks several queues."""

    settled: Sequence[Settle]
    lease_seconds: float


@dataclass(frozen=True)
class Release:
    """Give queues back as they are."""

    lease_ids: Sequence[UUID]


def _is_free(queue: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.or_(queue.c.lease_until.is_(None), queue.c.lease_until <= _P_NOW)


_P_NOW = sa.bindparam("p_now", type_=Instant())
_P_ID = sa.bindparam("p_id", type_=Id())
_P_TARGET = sa.bindparam("p_target_id", type_=Id())
_P_ENTITY = sa.bindparam("p_entity_id", type_=Id())
_P_ERROR = sa.bindparam("p_error", type_=sa.String())

_q, _d = t.delivery_queue.c, t.delivery.c
_THIS = sa.and_(_q.target_id == _P_TARGET, _q.entity_id == _P_ENTITY)
_BEGIN = Statement(insert(t.consumer).on_conflict_do_nothing(index_elements=["name"]))
_TAKE_TURN = Statement(
    sa.select(t.consumer.c.pos)
    .where(t.consumer.c.name == sa.bindparam("p_name", type_=sa.String()))
    .with_for_update()
)
_BUSY = Statement(sa.select(_q.endpoint).where(_q.lease_until.is_not(None), _q.lease_until > _P_NOW))
_next, _head_of = t.delivery_queue.alias("next_one"), t.delivery_queue.alias("head_of")
_found = sa.select(sa.func.min(_q.endpoint).label("endpoint")).cte("endpoints", recursive=True)
_ENDPOINTS = _found.union_all(
    sa.select(
        sa.select(sa.func.min(_next.c.endpoint)).where(_next.c.endpoint > _found.c.endpoint).scalar_subquery()
    ).where(_found.c.endpoint.is_not(None))
)
"""Each endpoint once, by a step from one to the next in the index: however many queues one of them has."""
_WAITING = Statement(
    sa.select(
        _ENDPOINTS.c.endpoint,
        sa.select(_head_of.c.next_at)
        .where(_head_of.c.endpoint == _ENDPOINTS.c.endpoint, _is_free(_head_of))
        .order_by(_head_of.c.next_at)
        .limit(sa.literal_column("1"))
        .scalar_subquery()
        .label("at"),
    ).where(_ENDPOINTS.c.endpoint.is_not(None))
)
_DUE = Statement(
    sa.select(_q.target_id, _q.entity_id, _q.tenant_id, _q.channel)
    .where(
        _q.endpoint == sa.bindparam("p_endpoint", type_=sa.String()),
        _q.next_at <= _P_NOW,
        _is_free(t.delivery_queue),
    )
    .order_by(_q.next_at)
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
)
_LEASE = Statement(
    sa.update(t.delivery_queue)
    .where(_THIS)
    .values(
        lease_id=sa.bindparam("p_lease_id", type_=Id()),
        lease_until=sa.bindparam("p_until", type_=Instant()),
    )
)
_HEAD = Statement(
    sa.select(_d.id, _d.pos, _d.attempt)
    .where(_d.target_id == _P_TARGET, _d.entity_id == _P_ENTITY, _d.settled_at.is_(None))
    .order_by(_d.pos)
    .limit(sa.literal_column("1"))
)
_MINE = Statement(sa.select(_q.lease_id).where(_THIS).with_for_update())
_FREE = Statement(
    sa.update(t.delivery_queue)
    .where(_THIS)
    .values(next_at=sa.bindparam("p_next_at", type_=Instant()), lease_id=None, lease_until=None)
)
_DROP_QUEUE = Statement(sa.delete(t.delivery_queue).where(_THIS))
_DROP_QUEUES = Statement(sa.delete(t.delivery_queue).where(_q.target_id == _P_TARGET))
_RELEASE = Statement(
    sa.update(t.delivery_queue)
    .where(_q.lease_id == sa.bindparam("p_lease_id", type_=Id()))
    .values(lease_id=None, lease_until=None)
)
_FREE_ALL = Statement(
    sa.update(t.delivery_queue).where(_q.lease_until.is_not(None)).values(lease_id=None, lease_until=None)
)
_SETTLE = Statement(
    sa.update(t.delivery)
    .where(_d.id == _P_ID, _d.settled_at.is_(None))
    .values(
        state=sa.bindparam("p_state", type_=sa.String()),
        attempt=_d.attempt + 1,
        next_at=sa.bindparam("p_next_at", type_=Instant()),
        response_status=sa.bindparam("p_status", type_=sa.Integer()),
        error=_P_ERROR,
        attempted_at=_P_NOW,
        settled_at=sa.bindparam("p_settled_at", type_=Instant()),
    )
)
_DROP = Statement(sa.delete(t.delivery).where(_d.id == _P_ID))
_BURY = Statement(
    sa.update(t.delivery)
    .where(_d.target_id == _P_TARGET, _d.settled_at.is_(None))
    .values(state=sa.literal(DeliveryState.DEAD.value), error=_P_ERROR, next_at=None, settled_at=_P_NOW)
)
_STATES: Final[Mapping[Fate, DeliveryState]] = MappingProxyType(
    {
        Fate.DELIVERED: DeliveryState.DELIVERED,
        Fate.FAILED: DeliveryState.FAILED,
        Fate.DEAD: DeliveryState.DEAD,
        Fate.ENDED: DeliveryState.DEAD,
    }
)


async def begin(tx: Tx, alone: bool) -> None:
    """Make the row by which replicas take turns, where it is missing.

    Who is `alone` on its database has nobody to respect: leases there are what its last run left behind.
    """
    await tx.run(_BEGIN, name=TURN, pos=0)
    if alone:
        await tx.run(_FREE_ALL)


async def soon(tx: Tx, in_flight: int) -> datetime | None:
    """When the next queue can be taken, or None when there is none that waits for a time only."""
    waiting = await _waiting(tx, in_flight)
    return waiting[0].at if waiting else None


async def take(tx: Tx, command: Take) -> list[Due]:
    """Lease queues that are due, the one that waits longest first, and give the first delivery of each.

    An endpoint that is busy keeps nobody else waiting.
    """
    await tx.one(_TAKE_TURN, p_name=TURN)
    taken: list[Row] = []
    for endpoint in await _waiting(tx, command.in_flight):
        most = min(endpoint.places, command.room - len(taken))
        if endpoint.at > tx.now or most <= 0:
            break
        taken += await tx.all(_DUE, p_endpoint=endpoint.name, p_now=tx.now, p_limit=most)
    until = tx.now + timedelta(seconds=command.lease_seconds)
    found = []
    for row in sorted(taken, key=lambda row: (row.target_id, row.entity_id)):
        if await tx.one(_MINE, p_target_id=row.target_id, p_entity_id=row.entity_id) is not None:
            found.append(await _head(tx, row, row.tenant_id, row.channel, tx.new_id(), until))
    return [due for due in found if due is not None]


@dataclass(frozen=True)
class _Endpoint:
    """Somewhere that takes more requests: its first queue's time, and how many more at once."""

    name: str
    at: datetime
    places: int


async def _waiting(tx: Tx, in_flight: int) -> list[_Endpoint]:
    """Endpoints that have a free queue and a free place, by the time of their first queue."""
    busy = Counter(row.endpoint for row in await tx.all(_BUSY, p_now=tx.now))
    found = [
        _Endpoint(row.endpoint, at, in_flight - busy[row.endpoint])
        for row in await tx.all(_WAITING, p_now=tx.now)
        if (at := row.at) is not None
    ]
    return sorted((e for e in found if e.places > 0), key=lambda endpoint: endpoint.at)


async def settle_all(tx: Tx, command: SettleAll) -> Sequence[Due | None]:
    """Write down what came of some attempts; for each the queue's next delivery, still under the lease.

    Whoever lost the lease meanwhile writes nothing: the delivery is sent again, by whoever has it now.
    """
    until = tx.now + timedelta(seconds=command.lease_seconds)
    order = sorted(
        range(len(command.settled)),
        key=lambda n: (command.settled[n].due.target_id, command.settled[n].due.entity_id),
    )
    following: list[Due | None] = [None] * len(command.settled)
    for n in order:
        following[n] = await _settle(tx, command.settled[n], until)
    return following


async def _settle(tx: Tx, settled: Settle, until: datetime) -> Due | None:
    due, fate = settled.due, settled.fate
    key = {"p_target_id": due.target_id, "p_entity_id": due.entity_id}
    queue = await tx.one(_MINE, **key)
    if queue is None or queue.lease_id != due.lease_id:
        return None
    retry_at = tx.now + timedelta(seconds=settled.retry_seconds) if fate is Fate.FAILED else None
    if fate is Fate.SILENT:
        await tx.run(_DROP, p_id=due.id)
    else:
        await tx.run(
            _SETTLE,
            p_id=due.id,
            p_now=tx.now,
            p_state=_STATES[fate].value,
            p_next_at=retry_at,
            p_status=settled.status,
            p_error=settled.error,
            p_settled_at=None if fate is Fate.FAILED else tx.now,
        )
    if fate is Fate.ENDED:
        await tx.run(_DROP_QUEUES, p_target_id=due.target_id)
        await tx.run(_BURY, p_target_id=due.target_id, p_now=tx.now, p_error=settled.error)
        await CHANNELS[due.channel].disable(tx, due.target_id, settled.error or fate.value)
        return None
    if retry_at is not None:
        await tx.run(_FREE, **key, p_next_at=retry_at)
        return None
    if settled.go_on:
        return await _head(tx, due, due.tenant_id, due.channel, due.lease_id, until)
    await tx.run(_FREE, **key, p_next_at=tx.now)
    tx.wake(DUE)
    return None


async def _head(
    tx: Tx, queue: Row | Due, tenant_id: UUID, channel: str, lease_id: UUID, until: datetime
) -> Due | None:
    """The first open delivery of a locked queue, under the lease; a queue without one ends."""
    key = {"p_target_id": queue.target_id, "p_entity_id": queue.entity_id}
    head = await tx.one(_HEAD, **key)
    if head is None:
        await tx.run(_DROP_QUEUE, **key)
        return None
    await tx.run(_LEASE, **key, p_lease_id=lease_id, p_until=until)
    return Due(
        head.id, tenant_id, channel, queue.target_id, queue.entity_id, head.pos, head.attempt, lease_id
    )


async def release(tx: Tx, command: Release) -> None:
    """Give queues back that were taken and not finished."""
    for lease_id in command.lease_ids:
        await tx.run(_RELEASE, p_lease_id=lease_id)
    tx.wake(DUE)
