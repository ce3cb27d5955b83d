"""Sends what is due: takes queues, has each delivery composed and sent, and settles what came of it.

At least once, in order within a queue, and never in anybody's way: streams and sends do not know that it
exists. What a delivery says its channel's composer knows; how it reaches the network, the sender.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from core.caller import SYSTEM
from core.deliveries import DUE, forget_deliveries
from core.errors import HubError, Unavailable
from core.jobs import queues
from core.jobs.queues import Fate, Release, Settle, SettleAll, Take
from core.platform import Platform
from core.ports import GONE, Composer, Due, NoTarget, Sender, Sent

RETRIES: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)
"""Seconds before each further attempt; after the last one a delivery is dead."""


@dataclass(frozen=True)
class Pace:
    """How fast and how stubborn the deliveries are."""

    retries: Sequence[float] = RETRIES
    jitter: float = 0.2
    """A pause is this much shorter or longer, so that what failed together does not come back together."""
    in_flight: int = queues.IN_FLIGHT
    """Requests to one endpoint at once."""
    at_once: int = 64
    """Requests of this process at once."""
    lease_seconds: float = 15.0
    """For one attempt, which is given up five seconds sooner, whatever it is at."""
    in_a_row: int = 16
    """Deliveries of one queue before others of its endpoint have their turn."""
    backstop: float = 1.0
    """Between two looks when nobody says that something is due."""


DEFAULT: Final = Pace()
_MARGIN: Final = 5.0
_GRACE: Final = 1.0
_HOUSEKEEPING: Final = 3600.0
_REMEMBERED: Final = 4096


class Courier:
    """The deliveries of one hub process. `composers` are by the name of their channel."""

    def __init__(
        self,
        platform: Platform,
        sender: Sender,
        composers: Mapping[str, Composer],
        pace: Pace = DEFAULT,
        *,
        alone: bool = False,
    ) -> None:
        """`alone`: no other process can be at work on this database."""
        self._alone = alone
        self._platform = platform
        self._sender = sender
        self._composers = composers
        self._pace = pace
        self._running: list[asyncio.Task[None]] = []
        self._serving: dict[asyncio.Task[None], UUID] = {}
        self._unsettled: list[tuple[Settle, asyncio.Future[Due | None]]] = []
        self._settling: asyncio.Task[None] | None = None
        self._begun: dict[UUID, int] = {}
        """How many requests were accepted of deliveries that take more than one, and failed."""
        self._stopping = False
        self._log = logging.getLogger("crossdock.delivery")

    async def start(self) -> None:
        """Begin to send."""
        await self._platform.write(_HUB, queues.begin, self._alone)
        self._running = [
            asyncio.create_task(self._run(), name="deliveries"),
            asyncio.create_task(self._keep_house(), name="old deliveries"),
        ]

    async def stop(self) -> None:
        """Let what is in flight end, for a moment; what does not is given back, and sent again later."""
        self._stopping = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._serving:
            await asyncio.wait(self._serving, timeout=_GRACE)
        left = dict(self._serving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._settling is not None:
            await asyncio.gather(self._settling, return_exceptions=True)
        if left:
            with contextlib.suppress(HubError):
                await self._platform.write(_HUB, queues.release, Release(sorted(left.values())))

    async def _run(self) -> None:
        while True:
            with self._platform.hints.listen([DUE]) as woken:
                try:
                    pause = await self._fill()
                except Unavailable as error:
                    self._log.warning("deliveries cannot be read: %s", error.message)
                    pause = self._pace.backstop
                except Exception:
                    self._log.exception("taking deliveries failed; it is tried again")
                    pause = self._pace.backstop
                await woken.wait(pause)

    async def _fill(self) -> float:
        """Take as much as there is room for; the seconds until the next look."""
        pace, platform = self._pace, self._platform
        while (room := pace.at_once - len(self._serving)) > 0:
            at = await platform.read(_HUB, queues.soon, pace.in_flight)
            left = pace.backstop if at is None else (at - platform.now()).total_seconds()
            if left > 0:
                return min(left, pace.backstop)
            taken = await platform.write(_HUB, queues.take, Take(room, pace.lease_seconds, pace.in_flight))
            for due in taken:
                task = asyncio.create_task(self._serve(due), name=f"delivery {due.id}")
                self._serving[task] = due.lease_id
                task.add_done_callback(self._served)
            if not taken:  # another replica was sooner
                break
        return pace.backstop

    def _served(self, task: "asyncio.Task[None]") -> None:
        self._serving.pop(task, None)
        if not self._stopping:
            self._platform.hints.publish(DUE)

    async def _serve(self, due: Due) -> None:
        """Work on one queue until it is empty, fails, or others have waited long enough."""
        following: Due | None = due
        served = 0
        try:
            while following is not None:
                served += 1
                settled = await self._attempt(following, served < self._pace.in_a_row)
                following = await self._settle(settled)
        except HubError as error:  # the lease runs out, and the delivery comes again
            self._log.warning("a delivery was interrupted: %s", error.message)
        except Exception:
            self._log.exception("a delivery was interrupted")

    async def _attempt(self, due: Due, go_on: bool) -> Settle:
        try:
            async with asyncio.timeout(self._pace.lease_seconds - _MARGIN):
                sent = await self._send(due)
        except TimeoutError:
            return self._failed(due, Sent(failure="timeout"))
        except NoTarget as gone:
            return Settle(due, Fate.DEAD, error=str(gone), go_on=go_on)
        except Unavailable:
            raise
        except Exception:  # a fault of ours; it must not keep the queue for ever
            self._log.exception("a delivery could not be made")
            return self._failed(due, Sent(failure="fault"))
        if sent is None:
            return Settle(due, Fate.SILENT, go_on=go_on)
        if not sent.accepted:
            return self._failed(due, sent, go_on)
        return Settle(due, Fate.DELIVERED, status=sent.status, go_on=go_on and not self._stopping)

    async def _send(self, due: Due) -> Sent | None:
        """What came of the requests: the first that was not accepted, or the last. None: there were none.

        A repeat goes on after what was accepted, as long as this process remembers.
        """
        sent = None
        accepted = self._begun.pop(due.id, 0)
        for n, outgoing in enumerate(await self._composers[due.channel].compose(due)):
            if n < accepted:
                continue
            sent = await self._sender.send(outgoing)
            if not sent.accepted:
                if n:
                    self._begun[due.id] = n
                    if len(self._begun) > _REMEMBERED:
                        del self._begun[next(iter(self._begun))]
                break
        return sent

    def _failed(self, due: Due, sent: Sent, go_on: bool = True) -> Settle:
        error = sent.failure or "status"
        if sent.status == GONE:
            return Settle(due, Fate.ENDED, sent.status, error="gone")
        if due.attempt >= len(self._pace.retries):
            self._log.warning("delivery %s is given up after %d attempts: %s", due.id, due.attempt + 1, error)
            return Settle(due, Fate.DEAD, sent.status, error, go_on=go_on)
        jitter = random.uniform(1 - self._pace.jitter, 1 + self._pace.jitter)
        return Settle(due, Fate.FAILED, sent.status, error, self._pace.retries[due.attempt] * jitter)

    async def _settle(self, settled: Settle) -> Due | None:
        """Written together with what else ended meanwhile."""
        future = asyncio.get_running_loop().create_future()
        self._unsettled.append((settled, future))
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._write_down(), name="settled deliveries")
        following: Due | None = await future
        return following

    async def _write_down(self) -> None:
        while self._unsettled:
            batch, self._unsettled = self._unsettled, []
            command = SettleAll([settled for settled, _ in batch], self._pace.lease_seconds)
            try:
                following = await self._platform.write(_HUB, queues.settle_all, command)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), due in zip(batch, following, strict=True):
                    if not future.done():
                        future.set_result(due)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._platform.write(_HUB, forget_deliveries, None)
            except Exception as error:
                self._log.warning("old deliveries could not be removed: %s", error)
            await asyncio.sleep(_HOUSEKEEPING)


_HUB = SYSTEM(UUID(int=0))
