"""From the log to deliveries: a durable cursor, and a row for every event that somebody is to hear of.

The rows and the cursor's move commit together, the same on both databases. Every replica stands ready and one
does the work: whoever finds the cursor moved by another steps back, and looks on until that one falls silent.
While nobody listens nothing is written and nothing wakes it. Who listens, the channels know.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.caller import SYSTEM
from core.deliveries import CHANNELS, DUE
from core.errors import Unavailable
from core.platform import Platform
from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tx import EVENTS, Tx
from core.targets import OVERFLOW, TARGETS, Targets
from schemas.vocabulary import DeliveryState

CURSOR: Final = "fan-out"
"""The consumer's name."""
PAGE: Final = 1_000
"""Events of one look, at most."""
LAG: Final = 10_000
"""How far the durable cursor may stay behind when there is nothing to write."""
PAUSE: Final = 0.01
"""Between two looks while events keep coming."""
WAITING: Final = 10_000
"""Deliveries that may wait for one endpoint. A target that would add to more is paused, and says so."""
BACKSTOP: Final = 1.0
"""Between two looks when nobody says that there is something; and how long a replica that stepped back lets
another be silent."""


@dataclass(frozen=True)
class Horizon:
    """What a look at the log found: whether anybody listens, and whether there is something for them."""

    cursor: int
    head: int
    upto: int
    live: bool
    found: bool


@dataclass(frozen=True)
class Look:
    """Look at most `page` events past `reached`, or past the cursor when that is further."""

    reached: int
    page: int = PAGE


@dataclass(frozen=True)
class FanOut:
    """Make the deliveries of the events after one position up to another."""

    after: int
    upto: int
    waiting: int = WAITING
    """How many may wait for one endpoint."""


_P_NAME = sa.bindparam("p_name", type_=sa.String())
_BEGIN = Statement(insert(t.consumer).on_conflict_do_nothing(index_elements=["name"]))
_HORIZON = Statement(
    sa.select(
        sa.select(t.consumer.c.pos).where(t.consumer.c.name == _P_NAME).scalar_subquery().label("cursor"),
        sa.select(sa.func.coalesce(sa.func.max(t.event.c.pos), 0)).scalar_subquery().label("head"),
    )
)
_ADVANCE = Statement(
    sa.update(t.consumer)
    .where(t.consumer.c.name == _P_NAME, t.consumer.c.pos == sa.bindparam("p_after", type_=sa.BigInteger()))
    .values(pos=sa.bindparam("p_upto", type_=sa.BigInteger()))
)
MAKE: Final = Statement(insert(t.delivery).on_conflict_do_nothing(index_elements=["target_id", "pos"]))
_d, _q = t.delivery.c, t.delivery_queue.c
_P_WAITING = sa.bindparam("p_waiting", type_=sa.Integer())
_open = sa.select(_d.id).where(_d.settled_at.is_(None)).limit(_P_WAITING).subquery("open_ones")
_MANY = Statement(sa.select(sa.func.count().label("n")).select_from(_open))
_FULL = Statement(
    sa.select(_q.endpoint)
    .select_from(
        sa.join(
            t.delivery,
            t.delivery_queue,
            sa.and_(_d.target_id == _q.target_id, _d.entity_id == _q.entity_id),
        )
    )
    .where(_d.settled_at.is_(None))
    .group_by(_q.endpoint)
    .having(sa.func.count() >= _P_WAITING)
)
_new = insert(t.delivery_queue)
# An update that changes next to nothing, but locks the row: whoever is about to find the queue empty and to
# delete it waits for these deliveries, and then finds them.
QUEUE: Final = Statement(
    _new.on_conflict_do_update(
        index_elements=["target_id", "entity_id"], set_={"endpoint": _new.excluded.endpoint}
    )
)
UNTRIED: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "state": DeliveryState.PENDING.value,
        "attempt": 0,
        "response_status": None,
        "error": None,
        "attempted_at": None,
        "settled_at": None,
    }
)


async def begin(tx: Tx, _: None) -> None:
    """Make the cursor where it is missing."""
    await tx.run(_BEGIN, name=CURSOR, pos=0)


async def look(tx: Tx, query: Look) -> Horizon:
    """Whether there is something to fan out. While nobody listens it costs two look-ups."""
    row = await tx.one(_HORIZON, p_name=CURSOR)
    cursor, head = (0, 0) if row is None else (row.cursor or 0, row.head)
    after = max(cursor, query.reached)
    upto = min(head, after + query.page)
    live = [channel for channel in CHANNELS.values() if await channel.any_live(tx)]
    found = False
    for channel in live if upto > after else ():
        found = found or bool(await channel.matches(tx, after, upto))
    return Horizon(cursor, head, upto, bool(live), found)


async def fan_out(tx: Tx, command: FanOut) -> bool:
    """Make the deliveries of some events, and move the cursor; False when another replica has moved it.

    Events that were fanned out before make nothing twice. A target whose endpoint has as much waiting as it
    may is paused instead; what waits already is still sent.
    """
    if not await tx.run(_ADVANCE, p_name=CURSOR, p_after=command.after, p_upto=command.upto):
        return False
    full = await _full(tx, command.waiting)
    queues: dict[tuple[UUID, UUID], dict[str, Any]] = {}
    paused: dict[UUID, Targets] = {}
    for channel in CHANNELS.values():
        for match in await channel.matches(tx, command.after, command.upto):
            if match.endpoint in full:
                paused[match.target_id] = channel
                continue
            shared = {
                "tenant_id": match.tenant_id,
                "channel": channel.name,
                "target_id": match.target_id,
                "entity_id": match.entity_id,
                "next_at": tx.now,
            }
            queues[match.target_id, match.entity_id] = {**shared, "endpoint": match.endpoint}
            tx.add(MAKE, **shared, **UNTRIED, id=tx.new_id(), pos=match.pos, created_at=tx.now)
    for _, queue in sorted(queues.items()):
        tx.add(QUEUE, **queue, lease_id=None, lease_until=None)
    await tx.flush()
    for target_id, channel in sorted(paused.items()):
        await channel.disable(tx, target_id, OVERFLOW)
    for channel in CHANNELS.values():
        await channel.retire(tx, command.after, command.upto)
    if queues:
        tx.wake(DUE)
    if paused:
        logging.getLogger("crossdock.fanout").warning(
            "%d targets are paused: %d deliveries wait for their endpoint", len(paused), command.waiting
        )
    return True


async def _full(tx: Tx, waiting: int) -> frozenset[str]:
    """The endpoints that have as much waiting as they may. Nearly always there is not that much in all."""
    many = await tx.one(_MANY, p_waiting=waiting)
    if many is None or many.n < waiting:
        return frozenset()
    return frozenset(row.endpoint for row in await tx.all(_FULL, p_waiting=waiting))


async def skip(tx: Tx, command: FanOut) -> bool:
    """Move the cursor over events that concerned nobody; False when another replica has moved it.

    Whoever looked saw the log's end and no target in one state: a target that came later hears only of events
    that came after it.
    """
    return bool(await tx.run(_ADVANCE, p_name=CURSOR, p_after=command.after, p_upto=command.upto))


class Fanout:
    """This replica's candidate for the work."""

    def __init__(
        self,
        platform: Platform,
        *,
        backstop: float = BACKSTOP,
        pause: float = PAUSE,
        waiting: int = WAITING,
    ) -> None:
        self._platform = platform
        self._waiting = waiting
        self._backstop = backstop
        self._pause = pause
        self._reached = 0
        """Everything up to here was looked at, and what was found is written."""
        self._head = 0
        self.leading = True
        self._live = True
        self._running: asyncio.Task[None] | None = None
        self._log = logging.getLogger("crossdock.fanout")

    async def start(self) -> None:
        """Begin to follow the log."""
        await self._platform.write(_HUB, begin, None)
        self._running = asyncio.create_task(self._run(), name="fan-out")

    async def stop(self) -> None:
        """Leave the log where it is; the next start goes on from there."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        while True:
            with self._platform.hints.listen(self._topics()) as woken:
                try:
                    more = await self.step()
                except Unavailable as error:
                    self._log.warning("the log cannot be read: %s", error.message)
                    more = False
                except Exception:
                    self._log.exception("the fan-out failed; it is tried again")
                    more = False
                if not more:
                    await woken.wait(self._backstop)
            await asyncio.sleep(self._pause)

    def _topics(self) -> list[str]:
        if not self.leading:
            return []
        return [EVENTS] if self._live else [TARGETS]

    async def step(self) -> bool:
        """Look once, and do what is to be done; tells whether there may be more at once."""
        platform = self._platform
        seen = await platform.read(_HUB, look, Look(self._reached))
        known, self._head = self._head, seen.head
        came, self._live = seen.live and not self._live, seen.live
        if not seen.live:
            if seen.head - seen.cursor >= LAG:
                await platform.write(_HUB, skip, FanOut(seen.cursor, seen.head))
            return False
        if seen.found and not self.leading and seen.upto > known:
            # Another one works. What is still not fanned out at the next look shows that it has stopped.
            return False
        if seen.found or seen.upto - seen.cursor >= LAG:
            self.leading = await platform.write(_HUB, fan_out, FanOut(seen.cursor, seen.upto, self._waiting))
            if not self.leading:
                return False
        self._reached = seen.upto
        return seen.upto < seen.head or came


_HUB = SYSTEM(UUID(int=0))
