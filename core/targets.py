"""What a channel of notifications must be able to say about its targets, as queries inside a transaction.

A channel is a kind of target (`core/push.py` is one). The log knows none of them: `core/deliveries.py` asks
each channel which of its targets an event concerns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Id

OVERFLOW = "overflow"
"""Why a target is paused: too much waits for its endpoint already."""
TARGETS = "targets"
"""The topic that is woken when a first target may have come."""


@dataclass(frozen=True, slots=True)
class Match:
    """An event that a target is to hear of. `entity_id`: what the target hears of in order."""

    tenant_id: UUID
    target_id: UUID
    entity_id: UUID
    endpoint: str
    pos: int


class Targets(Protocol):
    """The targets of one channel."""

    name: str

    async def any_live(self, tx: Tx) -> bool:
        """Whether anybody listens at all. Asked often; it must cost next to nothing."""

    async def matches(self, tx: Tx, after: int, upto: int) -> Sequence[Match]:
        """Who is to hear of the events after one position up to another, sorted by target and position."""

    async def retire(self, tx: Tx, after: int, upto: int) -> None:
        """Stop asking for targets whose last event lies there."""

    async def disable(self, tx: Tx, target_id: UUID, why: str) -> None:
        """Tell a target nothing more: it said so itself."""

    async def endpoint_of(self, tx: Tx, target_id: UUID) -> str | None:
        """Where a target's requests go now, or None when there is no such target."""


P_TARGET = sa.bindparam("p_target_id", type_=Id())
_NO_QUEUES = Statement(sa.delete(t.delivery_queue).where(t.delivery_queue.c.target_id == P_TARGET))
_NO_DELIVERIES = Statement(sa.delete(t.delivery).where(t.delivery.c.target_id == P_TARGET))
_MOVE = Statement(
    sa.update(t.delivery_queue)
    .where(t.delivery_queue.c.target_id == P_TARGET)
    .values(endpoint=sa.bindparam("p_endpoint", type_=sa.String()))
)


async def forget_target(tx: Tx, target_id: UUID) -> None:
    """Drop everything that was to be told, and was told, to a target. Before its own row: locks have an
    order."""
    await tx.run(_NO_QUEUES, p_target_id=target_id)
    await tx.run(_NO_DELIVERIES, p_target_id=target_id)


async def redirect_target(tx: Tx, target_id: UUID, endpoint: str) -> None:
    """What is still to be told goes to the target's new address. Before its own row, too."""
    await tx.run(_MOVE, p_target_id=target_id, p_endpoint=endpoint)
