"""What waits for one event stream of a connection over HTTP: in order, and bounded.

A stream may be opened after there is something to tell, and closed and opened again; what was not written
waits. What was written to a stream that broke is gone: the protocol has no acknowledgements on this layer.
"""

import asyncio
import contextlib
from collections import deque
from typing import Final

from adapters.jsonrpc_peer import Closed

WATERMARK: Final = 1024 * 1024
"""Bytes that may wait for a stream that is being read; then its writer is held back."""


class Outlet:
    """The messages for one stream. Only its owner writes, only one stream reads."""

    def __init__(self, most_bytes: int, most_messages: int, stall_seconds: float) -> None:
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._reading = False
        self._most_bytes = most_bytes
        self._most_messages = most_messages
        self._stall = stall_seconds
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._opened = asyncio.Event()

    @property
    def read(self) -> bool:
        """Whether a stream reads it now."""
        return self._reading

    @property
    def was_read(self) -> bool:
        """Whether one ever has."""
        return self._opened.is_set()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def begin(self) -> None:
        """A stream begins to read."""
        self._reading = True
        self._opened.set()

    def stop(self) -> None:
        """It has ended; what waits is kept for the next."""
        self._reading = False
        self._room.set()

    async def opened(self, timeout: float) -> None:
        """Return when a stream has begun to read, or after `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._opened.wait()

    async def put(self, message: bytes) -> None:
        """One message, behind those before it. Held back while a reader has much before it.

        Raises:
            Closed: the reader takes nothing, or nobody comes to read and too much waits.
        """
        if self._closed:
            raise Closed("the stream has ended")
        if self._reading and self._bytes > WATERMARK:
            self._room.clear()
            try:
                async with asyncio.timeout(self._stall):
                    await self._room.wait()
            except TimeoutError:
                raise Closed("the client reads nothing") from None
            if self._closed:
                raise Closed("the stream has ended")
        if self._bytes + len(message) > self._most_bytes or len(self._waiting) >= self._most_messages:
            raise Closed("too much waits for a stream that is not read")
        self._waiting.append(message)
        self._bytes += len(message)
        self._news.set()

    async def take(self, timeout: float) -> list[bytes] | None:
        """Everything that waits; an empty list after `timeout` seconds of silence; None at the end."""
        if not self._waiting and not self._closed:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            except TimeoutError:
                return []
        if not self._waiting:
            return None
        taken = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        self._room.set()
        return taken

    def close(self) -> None:
        """No more comes. What waits is still read."""
        self._closed = True
        self._news.set()
        self._room.set()
