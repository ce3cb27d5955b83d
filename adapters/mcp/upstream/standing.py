"""The standing stream of a legacy session over Streamable HTTP: one GET, however many want to hear.

Servers say there what belongs to no request, and some of them also what does. A server needs not have one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

from adapters.mcp.upstream.events import Events
from adapters.mcp.upstream.failures import UpstreamError
from adapters.mcp.upstream.hearing import Hearing
from adapters.mcp.upstream.reading import is_stream, streamed_reply

HEAD_SECONDS: Final = 0.5
"""How long the head of the stream is waited for before the session is used."""
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 30.0
logger = logging.getLogger("crossdock.mcp.upstream")


class Standing:
    """Keeps the stream open for as long as the session lives."""

    def __init__(
        self,
        get: Callable[[str | None], Awaitable[aiohttp.ClientResponse]],
        hearing: Hearing,
        lost: Callable[[], None],
    ) -> None:
        """`get` sends the request, with the id of the last event; `lost` hears of each end of the stream."""
        self._get = get
        self._hearing = hearing
        self._lost = lost
        self._running: asyncio.Task[None] | None = None
        self._head = asyncio.Event()
        self.missing = False
        """Whether the server has said that it has no such stream."""

    async def open(self) -> None:
        """Open it, and wait a moment for it to be there. Repeating it does nothing."""
        if self._running is None:
            self._running = asyncio.create_task(self._keep(), name="standing stream")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAD_SECONDS):
                await self._head.wait()

    async def settled(self) -> None:
        """Return once it is there, or is known not to be."""
        await self._head.wait()

    async def close(self) -> None:
        """Close it."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._hearing.close()

    async def _keep(self) -> None:
        events, pause = Events(), FIRST_PAUSE
        while True:
            try:
                self.missing = not await self._listen(events)
            except UpstreamError as error:
                logger.info("the standing stream of an MCP server broke: %s", error.message)
            except Exception:
                logger.exception("what an MCP server said could not be taken")
            self._head.set()
            self._lost()
            if self.missing:
                return
            await asyncio.sleep(pause if events.retry is None else min(LAST_PAUSE, events.retry))
            pause = min(LAST_PAUSE, pause * 2)

    async def _listen(self, events: Events) -> bool:
        """Hear until the stream ends; whether there is one at all."""
        response = await self._get(events.last_id)
        try:
            if not is_stream(response):
                return False
            self._head.set()
            await streamed_reply(response, None, events, self._hearing)
            return True
        finally:
            response.close()
