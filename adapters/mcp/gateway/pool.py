"""Sessions with upstream servers, kept for whoever comes again, and never shared across owners.

The key says who owns a session: a client's session, or a principal and its task. A server that may ask the
client something while it is called gets a session that nobody else uses meanwhile, so that whoever is asked
is the one who called.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.mcp.upstream import Message, OnMessage, Session

IDLE_SECONDS: Final = 300.0
MOST: Final = 2_000
"""Sessions that are kept open, for everybody together."""


@dataclass(eq=False)
class Kept:
    """One session, and who hears what belongs to no request."""

    session: Session
    used_at: float
    users: int = 0
    listeners: list[OnMessage] = field(default_factory=list)
    """Those of streams that stay open."""
    callers: list[OnMessage] = field(default_factory=list)
    """Those of requests that are under way."""

    @asynccontextmanager
    async def heard_by(self, listener: OnMessage) -> AsyncIterator[None]:
        """Let a request hear what its server asks without saying in which request."""
        self.callers.append(listener)
        try:
            yield
        finally:
            self.callers.remove(listener)

    async def hear(self, message: Message) -> Mapping[str, Any] | None:
        """A message that belongs to no request."""
        if message.id is not None or not self.listeners:
            last = (self.callers or self.listeners)[-1:]
            return await last[0](message) if last else None
        for listener in list(self.listeners):
            await listener(message)
        return None


class Pool:
    """The sessions of one process. What is lost with it is opened again."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._kept: dict[Hashable, list[Kept]] = {}
        self._opening: dict[Hashable, asyncio.Lock] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def session(
        self,
        key: Hashable,
        opens: Callable[[OnMessage], Awaitable[Session]],
        *,
        alone: bool = False,
    ) -> AsyncIterator[Kept]:
        """A session under that key, opened if need be. With `alone` nobody else uses it meanwhile.

        Raises:
            UpstreamError: as `opens`.
        """
        kept = await self._taken(key, opens, alone)
        try:
            yield kept
        finally:
            kept.users -= 1
            kept.used_at = self._monotonic()

    async def drop(self, key: Hashable) -> None:
        """End the sessions under a key."""
        await asyncio.gather(*(kept.session.close() for kept in self._kept.pop(key, ())))

    async def sweep(self) -> None:
        """End what was not used for a while."""
        before = self._monotonic() - IDLE_SECONDS
        for key, kept in list(self._kept.items()):
            for one in [one for one in kept if not one.users and not one.listeners and one.used_at < before]:
                self._forget(key, one)

    async def close(self) -> None:
        """End everything."""
        for key in list(self._kept):
            with contextlib.suppress(Exception):
                await self.drop(key)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _taken(
        self, key: Hashable, opens: Callable[[OnMessage], Awaitable[Session]], alone: bool
    ) -> Kept:
        found = self._free(key, alone)
        if found is None:
            lock = self._opening.setdefault(key, asyncio.Lock())
            async with lock:
                found = self._free(key, alone)
                if found is None:
                    found = await self._opened(key, opens)
            if not lock.locked():
                self._opening.pop(key, None)
        found.used_at = self._monotonic()
        return found

    def _free(self, key: Hashable, alone: bool) -> Kept | None:
        for kept in list(self._kept.get(key, ())):
            if getattr(kept.session, "broken", False):
                self._forget(key, kept)
            elif not alone or not kept.users:
                kept.users += 1
                return kept
        return None

    async def _opened(self, key: Hashable, opens: Callable[[OnMessage], Awaitable[Session]]) -> Kept:
        holder: list[Kept] = []

        async def heard(message: Message) -> Mapping[str, Any] | None:
            return await holder[0].hear(message) if holder else None

        kept = Kept(await opens(heard), self._monotonic(), 1)
        holder.append(kept)
        if sum(len(found) for found in self._kept.values()) >= MOST:
            self._evict()
        self._kept.setdefault(key, []).append(kept)
        return kept

    def _evict(self) -> None:
        idle = [(one.used_at, id(one), key, one) for key, kept in self._kept.items() for one in kept]
        for _, _, key, one in sorted(idle, key=lambda entry: entry[:2]):
            if not one.users and not one.listeners:
                self._forget(key, one)
                return

    def _forget(self, key: Hashable, one: Kept) -> None:
        kept = self._kept.get(key, [])
        kept.remove(one)
        if not kept:
            self._kept.pop(key, None)
        task = asyncio.create_task(one.session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
