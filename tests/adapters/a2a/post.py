"""The delivery engine beside a platform, on the real sender, for the tests of push notifications."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import sqlalchemy as sa
from aiohttp.abc import AbstractResolver

from adapters.a2a.notify import PushComposer
from adapters.outbound import Outbound
from adapters.webhook import WebhookSender
from core.caller import SYSTEM
from core.deliveries import Delivery
from core.egress import Allowed
from core.jobs.delivery import Courier, Pace
from core.jobs.fanout import Fanout
from core.keyring import Keyring
from core.platform import Platform
from core.push import Seals
from core.push_targets import PUSH
from core.store import tables as t
from core.store.tx import Tx
from tests.adapters.a2a.support import TENANT

IMPATIENT = Pace(retries=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6), backstop=0.05)
_RING = Keyring("s" * 32)


class Post:
    """What sends, and what it left behind."""

    def __init__(
        self,
        platform: Platform,
        allowed: Sequence[str] = (),
        *,
        pace: Pace = IMPATIENT,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.platform = platform
        self.outbound = Outbound(Allowed.parse(allowed), resolver=resolver)
        self.sender = WebhookSender(self.outbound)
        self.composer = PushComposer(platform)
        self.fanout = Fanout(platform, backstop=0.2)
        self.courier = Courier(platform, self.sender, {PUSH.name: self.composer}, pace)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Post"]:
        """Send for as long as the block runs."""
        await self.platform.write(SYSTEM(TENANT), _install, _RING)
        await self.fanout.start()
        await self.courier.start()
        try:
            yield self
        finally:
            await self.courier.stop()
            await self.fanout.stop()
            await self.outbound.close()

    async def deliveries(self) -> list[Delivery]:
        """Every delivery, by target and position."""
        return await self.platform.read(SYSTEM(TENANT), _deliveries, None)

    async def until(self, so: Callable[[list[Delivery]], bool], seconds: float = 10.0) -> list[Delivery]:
        """The deliveries, once they are so."""
        async with asyncio.timeout(seconds):
            while True:
                deliveries = await self.deliveries()
                if so(deliveries):
                    return deliveries
                await asyncio.sleep(0.005)


def settled(deliveries: Sequence[Delivery]) -> bool:
    """Whether there were some, and nothing is left to be told."""
    return bool(deliveries) and all(delivery.settled_at is not None for delivery in deliveries)


async def _install(tx: Tx, ring: Keyring) -> None:
    tx.memory(Seals).install(ring)


async def _deliveries(tx: Tx, _: None) -> list[Delivery]:
    rows = await tx.all(sa.select(*t.delivery.c).order_by(t.delivery.c.target_id, t.delivery.c.pos))
    return [Delivery.of(row) for row in rows]
