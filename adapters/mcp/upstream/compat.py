"""HTTP+SSE (2024-11-05): the server speaks on one long stream, and says there where it wants to be spoken to.

Deprecated since 2025-03-26, and still what many servers have.
"""

import asyncio
import contextlib
from contextlib import aclosing

import aiohttp
from yarl import URL

from adapters.mcp.upstream.duplex import DuplexSession
from adapters.mcp.upstream.events import Events
from adapters.mcp.upstream.failures import BadAnswer, Unreachable, UpstreamError
from adapters.mcp.upstream.http import JSON, SSE, Leg, events_of, refusal
from adapters.mcp.upstream.interface import Client, OnMessage
from adapters.mcp.upstream.reading import is_stream
from core.mcp.words import VerifiedTransport


class SseChannel:
    """The stream, and the address that it named."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._response: aiohttp.ClientResponse | None = None
        self._endpoint: URL | None = None
        self._named = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._failed: UpstreamError | None = None

    async def open(self, session: DuplexSession) -> None:
        """Open the stream, and learn where to send.

        Raises:
            UpstreamError: there is no such stream.
        """
        self._response = response = await self._leg.send("GET", {"Accept": SSE})
        if not is_stream(response):
            status = response.status
            response.close()
            raise refusal(status) if status != 200 else BadAnswer("it opens no event stream")
        self._reading = asyncio.create_task(self._read(response, session), name="sse channel")
        await self._named.wait()
        if self._failed is not None:
            raise self._failed

    async def send(self, message: bytes) -> None:
        """POST one message; its answer comes on the stream."""
        assert self._endpoint is not None, "opened first"
        response = await self._leg.send("POST", {"Content-Type": JSON}, message, url=self._endpoint)
        response.release()
        if response.status >= 300:
            raise refusal(response.status)

    async def close(self) -> None:
        """Close the stream."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        if self._response is not None:
            self._response.close()

    async def _read(self, response: aiohttp.ClientResponse, session: DuplexSession) -> None:
        error: UpstreamError = Unreachable("the event stream ended")
        try:
            async with aclosing(events_of(response, Events())) as stream:
                async for event in stream:
                    if event.kind == "endpoint":
                        self._endpoint = self._judged(event.data)
                        self._named.set()
                    elif event.kind == "message" and event.data:
                        await session.received(event.data)
        except UpstreamError as failed:
            error = failed
        finally:
            self._failed = error
            self._named.set()
            session.lost(error)

    def _judged(self, data: bytes) -> URL:
        """The address that the stream named: of the same origin, or credentials would go elsewhere."""
        try:
            endpoint = self._leg.url.join(URL(data.decode().strip()))
            if endpoint.origin() != self._leg.url.origin() or endpoint.user is not None:
                raise BadAnswer("its endpoint is at another origin")
        except ValueError:
            raise BadAnswer("its endpoint is no URL") from None
        return self._leg.addressed(endpoint)


async def open_compat(leg: Leg, client: Client, on_message: OnMessage | None) -> DuplexSession:
    """A session over HTTP+SSE.

    Raises:
        RpcError, UpstreamError: there is none.
    """
    channel = SseChannel(leg)
    target = leg.target
    session = DuplexSession(
        channel,
        client,
        VerifiedTransport.HTTP_SSE_COMPAT,
        seconds=target.seconds,
        initialize=target.initialize,
        on_message=on_message,
    )
    try:
        await channel.open(session)
        await session.open()
    except BaseException:
        await session.close()
        raise
    return session
