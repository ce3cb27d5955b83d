"""Lines on stdin and stdout, of any kind of file, without ever blocking the event loop.

Both run in a thread of their own: a terminal, a pipe and a file are read alike, and an editor that reads
nothing holds back whoever writes, and nobody else.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Final

_CHUNK: Final = 65_536
_WATERMARK: Final = 1024 * 1024
"""Bytes that may wait to be written; then the writer is held back."""

Hear = Callable[[bytes], Awaitable[None]]


class Lines:
    """Splits a stream into lines, and keeps no line that is longer than it may be."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[tuple[bytes, bool]]:
        """The lines that are complete now; True with the start of one that was too long."""
        found: list[tuple[bytes, bool]] = []
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._add(chunk[start:end], found)
            if not self._skipping:
                found.append((bytes(self._held), False))
            self._held.clear()
            self._skipping = False
            start = end + 1
        self._add(chunk[start:], found)
        return [(line, long) for line, long in found if long or line.strip()]

    def _add(self, piece: bytes, found: list[tuple[bytes, bool]]) -> None:
        if self._skipping:
            return
        self._held += piece
        if len(self._held) > self._longest:
            found.append((bytes(self._held[:1024]), True))
            self._held.clear()
            self._skipping = True


async def read_lines(fd: int, longest: int, hear: Hear, too_long: Hear) -> None:
    """Hand over one line after the other until the input ends."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(4)

    def read() -> None:
        while True:
            try:
                chunk = os.read(fd, _CHUNK)
            except OSError:
                chunk = b""
            room.acquire()
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:  # the loop has ended, and the program with it
                return
            if not chunk:
                return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    lines = Lines(longest)
    while chunk := await chunks.get():
        for line, long in lines.feed(chunk):
            await (too_long if long else hear)(line)
        room.release()
    for line, _ in lines.feed(b"\n"):
        await hear(line)


class Writer:
    """Writes lines in the order in which they are put."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._done = asyncio.Event()
        self._done.set()
        self.broken = asyncio.Event()
        """Set when nobody reads any more."""

    async def put(self, line: bytes) -> None:
        """One line, behind those before it. Returns when there is room for more."""
        if self.broken.is_set():
            return
        self._waiting += line
        self._waiting += b"\n"
        self._done.clear()
        self._news.set()
        if len(self._waiting) > _WATERMARK:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        pipe: asyncio.Queue[bool] = asyncio.Queue()
        outgoing: list[bytes] = []
        ready = threading.Semaphore(0)

        def write() -> None:
            while True:
                ready.acquire()
                good = _write(self._fd, outgoing.pop())
                try:
                    loop.call_soon_threadsafe(pipe.put_nowait, good)
                except RuntimeError:
                    return

        threading.Thread(target=write, name="stdout", daemon=True).start()
        while True:
            await self._news.wait()
            self._news.clear()
            if not self._waiting:
                self._done.set()
                continue
            outgoing.append(bytes(self._waiting))
            self._waiting.clear()
            ready.release()
            good = await pipe.get()
            self._room.set()
            self._news.set()
            if not good:
                self._waiting.clear()
                self.broken.set()

    async def flush(self, seconds: float) -> None:
        """Return when all of it is written, or after so many seconds."""
        waits = [asyncio.ensure_future(self._done.wait()), asyncio.ensure_future(self.broken.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _write(fd: int, data: bytes) -> bool:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # an editor may have made its end, and so ours, non-blocking
            import select

            select.select([], [fd], [], 1.0)
        except OSError:
            return False
    return True
