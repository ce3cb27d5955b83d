"""What an agent says, on its way to the hub: together when it comes together, in order, each exactly once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from hub.client import Invalid, PayloadTooLarge, SchemaInvalid
from hub.worker.acp.wire import Update, notice

GATHER_SECONDS: Final = 0.02
"""Posts are so far apart, unless there is much to say."""
GATHER_BYTES: Final = 4096
"""So much is posted without waiting for more."""
POST_BYTES: Final = 64 * 1024
POST_UPDATES: Final = 500
WAITING_BYTES: Final = 4 * 1024 * 1024
"""So much may wait for a hub that is away or slow; then the agent is not listened to until it is back."""

Post = Callable[..., Awaitable[None]]


class Updates:
    """Posts updates for as long as `run` runs. A post is repeated until it is heard."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._waiting: list[tuple[Update, int]] = []
        self._bytes = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.lost = False
        """Whether nothing more can be posted; what comes is dropped."""

    async def add(self, update: Update, size: int | None = None) -> None:
        """One more; returns when there is room for the next."""
        if self.lost:
            return
        size = len(json.dumps(update)) if size is None else size
        self._waiting.append((update, size))
        self._bytes += size
        self._empty.clear()
        self._changed.set()
        if self._bytes > WAITING_BYTES:
            self._room.clear()
            await self._room.wait()

    async def flush(self) -> None:
        """Return once everything that was added is posted, or nothing can be."""
        await self._empty.wait()

    async def run(self) -> None:
        """Post until cancelled.

        Raises:
            Conflict: the lease is lost.
            ApiError: the hub does not let this worker post.
        """
        clock = asyncio.get_running_loop().time
        posted = clock() - GATHER_SECONDS
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                # What comes after a silence is posted at once; what follows closely waits for company.
                if self._bytes < GATHER_BYTES:
                    await asyncio.sleep(max(0.0, posted + GATHER_SECONDS - clock()))
                while self._waiting:
                    posted = clock()
                    await self._send(self._next())
                self._empty.set()
        finally:
            self.lost = True
            self._waiting.clear()
            self._room.set()
            self._empty.set()

    def _next(self) -> list[Update]:
        size = taken = 0
        for _, more in self._waiting[:POST_UPDATES]:
            if taken and size + more > POST_BYTES:
                break
            size, taken = size + more, taken + 1
        batch = [update for update, _ in self._waiting[:taken]]
        del self._waiting[:taken]
        self._bytes -= size
        if self._bytes <= WAITING_BYTES // 2:
            self._room.set()
        return batch

    async def _send(self, batch: list[Update]) -> None:
        try:
            await self._post(batch, key=uuid4().hex)
        except (Invalid, SchemaInvalid, PayloadTooLarge) as refused:
            if len(batch) > 1:
                for update in batch:
                    await self._send([update])
                return
            # Something the hub cannot keep must not end a turn, and must not go unsaid either.
            with suppress(Invalid, SchemaInvalid, PayloadTooLarge):
                lost: Any = notice("An update of the agent could not be kept", refused.message[:500])
                await self._post([lost], key=uuid4().hex)
