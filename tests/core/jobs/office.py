"""A post office without a network: a platform's fan-out and courier, and receivers that follow a script."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core.caller import SYSTEM, Caller
from core.deliveries import Delivery
from core.jobs.delivery import Courier, Pace
from core.jobs.fanout import Fanout
from core.keyring import Keyring
from core.platform import Platform
from core.ports import Due, NoTarget, Outgoing, Sent
from core.push import Notify, PushConfig, PutConfig, Seals, put_config
from core.push_targets import PUSH, open_target
from core.store import tables as t
from core.store.tx import Tx

SECONDS = 10.0
RING = Keyring("s" * 32)
SWIFT = Pace(retries=(5.0, 30.0), jitter=0.0, backstop=0.02)

OK, BUSY, GONE = Sent(200), Sent(503), Sent(410)


@dataclass
class Receivers:
    """`core.ports.Sender`: answers 200, unless a script or a closed gate says otherwise."""

    heard: list[tuple[str, bytes]] = field(default_factory=list)
    """What was accepted, in order."""
    tried: list[tuple[str, bytes]] = field(default_factory=list)
    scripts: dict[str, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    """The next answers of a URL."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """A URL whose gate is closed does not answer."""
    now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    """How many requests a host had at once, at most."""
    at_once: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    twice_at_once: list[tuple[str, bytes]] = field(default_factory=list)

    async def send(self, outgoing: Outgoing) -> Sent:
        """Take one request."""
        host, what = outgoing.url.rpartition("/")[0], (outgoing.url, outgoing.body)
        self.tried.append(what)
        self.now[host] += 1
        self.at_once[what] += 1
        self.most[host] = max(self.most[host], self.now[host])
        if self.at_once[what] > 1:
            self.twice_at_once.append(what)
        try:
            gate = self.gates.get(outgoing.url)
            await (asyncio.sleep(0) if gate is None else gate.wait())
        finally:
            self.now[host] -= 1
            self.at_once[what] -= 1
        script = self.scripts[outgoing.url]
        sent = script.pop(0) if script else OK
        if sent.accepted:
            self.heard.append(what)
        return sent

    def of(self, url: str) -> list[int]:
        """The positions that a URL has accepted, in order."""
        return [int(body) for heard, body in self.heard if heard == url]

    def close(self, url: str) -> asyncio.Event:
        """Stop answering there until the event is set."""
        gate = self.gates[url] = asyncio.Event()
        return gate


@dataclass
class Composer:
    """`core.ports.Composer`: one request for each event, whose body is its position."""

    platform: Platform
    silent: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)

    async def compose(self, due: Due) -> Sequence[Outgoing]:
        """The request of a delivery."""
        if due.pos in self.broken:
            raise RuntimeError("cannot be said")
        target = await self.platform.read(SYSTEM(due.tenant_id), open_target, due.target_id)
        if target is None or target.config.disabled is not None:
            raise NoTarget("no_target")
        return [] if due.pos in self.silent else [Outgoing(target.config.url, {}, str(due.pos).encode())]


class Office:
    """One replica's part of it."""

    def __init__(
        self,
        platform: Platform,
        receivers: Receivers | None = None,
        pace: Pace = SWIFT,
        *,
        alone: bool = False,
    ) -> None:
        self.platform = platform
        self.receivers = receivers or Receivers()
        self.composer = Composer(platform)
        self.fanout = Fanout(platform, backstop=0.05, pause=0.0)
        self.courier = Courier(platform, self.receivers, {PUSH.name: self.composer}, pace, alone=alone)

    async def open(self) -> None:
        """Begin."""
        await self.platform.write(SYSTEM(UUID(int=0)), _install, RING)
        await self.fanout.start()
        await self.courier.start()

    async def shut(self) -> None:
        """End, as a hub that stops does."""
        await self.courier.stop()
        await self.fanout.stop()

    async def tell(
        self, by: Caller, task_id: UUID, url: str = "https://a.example/x", **more: Any
    ) -> PushConfig:
        """Have somebody told about a task from now on."""
        endpoint = url.rpartition("/")[0]
        notify = Notify(url, endpoint, **more)
        return await self.platform.write(by, put_config, PutConfig(task_id, notify))

    async def deliveries(self) -> list[Delivery]:
        """Every delivery, by position."""
        query = sa.select(t.delivery).order_by(t.delivery.c.pos, t.delivery.c.target_id)
        return [Delivery.of(row) for row in await self.rows(query)]

    async def states(self) -> list[str]:
        """The states of all deliveries, by position."""
        return [delivery.state.value for delivery in await self.deliveries()]

    async def rows(self, query: sa.Executable) -> list[Any]:
        """What a query gives."""

        async def read(tx: Tx, _: None) -> list[Any]:
            return await tx.all(query)

        return await self.platform.read(SYSTEM(UUID(int=0)), read, None)

    async def queues(self) -> int:
        """How many queues there are."""
        return len(await self.rows(sa.select(t.delivery_queue.c.target_id)))


async def _install(tx: Tx, ring: Keyring) -> None:
    tx.memory(Seals).install(ring)


async def until(what: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(SECONDS):
        while True:
            so = what()
            if so if isinstance(so, bool) else await so:
                return
            await asyncio.sleep(0.002)
