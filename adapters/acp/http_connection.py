"""A connection over HTTP: messages come in one by one, and go out by one stream, and one for each session.

A session's stream carries what is told of it and the answers about it, in one order; everything else goes by
the connection's. A client that learns of a session only by what it is told opens its stream late; so the
first of that goes by the connection's stream.
"""

import asyncio
import time
from typing import Any, Final

from adapters import jsonrpc
from adapters.acp.config import ACPConfig
from adapters.acp.connection import Connection
from adapters.acp.methods import METHODS
from adapters.acp.outlet import Outlet
from adapters.jsonrpc_peer import Closed
from core.caller import Caller
from core.errors import TooMany
from core.platform import Platform

INBOX: Final = 32
"""Messages that wait to be begun."""
MOST_STREAMS: Final = 1_000
FULL_SECONDS: Final = 10.0
LATE_SECONDS: Final = 1.0


class HttpConnection:
    """The wire of one connection, and the connection on it."""

    transport = "http"

    def __init__(self, platform: Platform, config: ACPConfig, caller: Caller) -> None:
        self.caller = caller
        self.connection = Connection(platform, config, caller, self, self._send, dict(METHODS))
        self.used_at = time.monotonic()
        self._config = config
        self._first: asyncio.Future[bytes] | None = None
        self._inbox: asyncio.Queue[Any] = asyncio.Queue(INBOX)
        self._outlets: dict[str | None, Outlet] = {None: self._outlet()}
        self._announced: set[str] = set()
        self._broken = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(self._feed(), name="a connection over HTTP")

    def _outlet(self) -> Outlet:
        config = self._config
        return Outlet(config.buffered_bytes, config.buffered_messages, config.stall_seconds)

    async def initialize(self, message: Any) -> tuple[bytes, bool]:
        """The answer to the first message, and whether it made a connection."""
        first = self._first = asyncio.get_running_loop().create_future()
        await self.connection.peer.take(message)
        self._first = None
        return await first, self.connection.initialized

    async def put(self, message: Any) -> None:
        """Take in a message; it is begun when those before it have begun.

        Raises:
            TooMany: too many wait.
        """
        self.used_at = time.monotonic()
        try:
            async with asyncio.timeout(FULL_SECONDS):
                await self._inbox.put(message)
        except TimeoutError:
            raise TooMany("the connection's earlier messages are still being begun", retry_after=1) from None

    def outlet(self, session_id: str | None) -> Outlet:
        """What waits for a stream. A session's may be opened before it is loaded.

        Raises:
            TooMany: the connection has too many.
        """
        self.used_at = time.monotonic()
        found = self._outlets.get(session_id)
        if found is None:
            if len(self._outlets) > MOST_STREAMS:
                raise TooMany(f"a connection has at most {MOST_STREAMS} streams")
            found = self._outlets[session_id] = self._outlet()
        return found

    @property
    def read(self) -> bool:
        """Whether any stream of it is open."""
        return any(outlet.read for outlet in self._outlets.values())

    async def ended(self) -> None:
        """Return when it cannot go on: the hub failed, or its client takes nothing."""
        await asyncio.wait({self.connection.ended, self._broken}, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """End it, with all its streams."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        await self.connection.close()
        for outlet in self._outlets.values():
            outlet.close()

    def route_of(self, session_id: str) -> str | None:
        """The session's own stream, when there is one."""
        found = self._outlets.get(session_id)
        return session_id if found is not None and found.read else None

    async def settle(self, session_id: str) -> None:
        """Give a client that opens its stream late a moment to do so."""
        found = self._outlets.get(session_id)
        if found is not None and not found.empty:
            await found.opened(LATE_SECONDS)

    def announce(self, session_id: str) -> None:
        """The client will open its stream by itself."""
        self._announced.add(session_id)

    async def _feed(self) -> None:
        while True:
            await self.connection.peer.take(await self._inbox.get())
            self.used_at = time.monotonic()

    async def _send(self, data: bytes, route: str | None) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(data)
            return
        outlet = self._outlets.get(route)
        if outlet is None:
            outlet = self._outlets[route] = self._outlet()
        if route is not None and not outlet.was_read and route not in self._announced:
            self._announced.add(route)
            outlet = self._outlets[None]
        try:
            await outlet.put(data)
        except Closed:
            if not self._broken.done():
                self._broken.set_result(None)
            raise


def refusal(code: int, message: str) -> bytes:
    """What a message that never reached a connection is answered."""
    return jsonrpc.error(None, code, message)
