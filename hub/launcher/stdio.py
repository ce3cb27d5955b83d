"""Standard input and output as lines of any length that is allowed, without ever blocking the loop."""

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator

MOST_BYTES = 32 * 1024 * 1024
"""Of one message of the editor."""
MOST_WAITING = 1_000
"""Messages for an editor that reads slowly; past it, the hub is not read."""


class TooLong(Exception):
    """A line was longer than is allowed; it was skipped."""


async def lines() -> AsyncIterator[str | TooLong]:
    """What the editor says, line by line, until it closes its end. Bytes that are no UTF-8 are replaced."""
    reader = asyncio.StreamReader(limit=MOST_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial.strip():
                yield end.partial.decode("utf-8", "replace")
            return
        except asyncio.LimitOverrunError:
            if not await _skip(reader):
                return
            yield TooLong()
            continue
        if line.strip():
            yield line.decode("utf-8", "replace").strip()


async def _skip(reader: asyncio.StreamReader) -> bool:
    """Read to the end of a line that is too long; false when nothing comes behind it."""
    while True:
        try:
            await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            await reader.readexactly(max(error.consumed, 1))
        except asyncio.IncompleteReadError:
            return False
        else:
            return True


class Out:
    """Writes lines for the editor in order, from a thread of its own so that a slow editor blocks nothing."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def put(self, line: str) -> None:
        """Queue a line."""
        self._waiting.append(line)
        self._more.set()
        if len(self._waiting) > MOST_WAITING:
            self._room.clear()

    async def room(self) -> None:
        """Return while the editor keeps up."""
        await self._room.wait()

    async def write(self) -> None:
        """Write what is queued, for ever.

        Raises:
            OSError: the editor reads no more.
        """
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                batch = "".join(f"{self._waiting.popleft()}\n" for _ in range(min(64, len(self._waiting))))
                await asyncio.to_thread(_write, batch.encode())
                if len(self._waiting) < MOST_WAITING // 2:
                    self._room.set()

    async def empty(self) -> None:
        """Write what is left."""
        while self._waiting:
            await asyncio.to_thread(_write, f"{self._waiting.popleft()}\n".encode())


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
