"""A legacy session over two streams of messages, one each way: HTTP+SSE, and programs that a worker runs."""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

from pydantic_core import from_json

from adapters import jsonrpc
from adapters.mcp import wire
from adapters.mcp.upstream.audience import Audience
from adapters.mcp.upstream.failures import BadAnswer, TimedOut, UpstreamError
from adapters.mcp.upstream.hearing import Hearing
from adapters.mcp.upstream.interface import (
    NOTHING,
    Client,
    OnMessage,
    Reply,
    Verdict,
    is_response,
)
from adapters.mcp.upstream.progress import plain, with_token
from core.mcp.words import Era, VerifiedTransport

FAREWELL_SECONDS: Final = 5.0


class Channel(Protocol):
    """A way to a server and back. `received` of its session hears what comes; `lost` hears of its end."""

    async def send(self, message: bytes) -> None:
        """Give one message to the server.

        Raises:
            UpstreamError: it could not be given.
        """

    async def close(self) -> None:
        """End it; repeating it does nothing."""


class DuplexSession:
    """Requests and answers that meet by their ids."""

    def __init__(
        self,
        channel: Channel,
        client: Client,
        transport: VerifiedTransport,
        *,
        seconds: float,
        initialize: Mapping[str, Any] = NOTHING,
        on_message: OnMessage | None = None,
    ) -> None:
        self._channel = channel
        self._client = client
        self._transport = transport
        self._seconds = seconds
        self._initialize = initialize
        self._audience = Audience(on_message)
        self._version = wire.HANDSHAKE[-1]
        self._said: Mapping[str, Any] = {}
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._hearing = Hearing(self._audience.heard, channel.send)
        self._lost: UpstreamError | None = None
        self._background: set[asyncio.Task[None]] = set()

    @property
    def verdict(self) -> Verdict:
        """How the server is spoken to."""
        return Verdict(self._transport, Era.LEGACY, self._version)

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """As it answered `initialize`."""
        found = self._said.get("capabilities")
        return found if type(found) is dict else {}

    @property
    def info(self) -> Mapping[str, Any]:
        """As it answered `initialize`."""
        found = self._said.get("serverInfo")
        return found if type(found) is dict else {}

    @property
    def instructions(self) -> str | None:
        """As it answered `initialize`."""
        found = self._said.get("instructions")
        return found if type(found) is str else None

    @property
    def broken(self) -> bool:
        """Whether the way to the server is gone."""
        return self._lost is not None

    async def open(self, *, propose: str = wire.HANDSHAKE[0]) -> None:
        """Begin the session.

        Raises:
            RpcError, UpstreamError: the server does not.
        """
        params = {
            **self._initialize,
            "protocolVersion": propose,
            "capabilities": self._client.capabilities,
            "clientInfo": self._client.info,
        }
        self._said = (await self.request("initialize", params)).result()
        version = self._said.get("protocolVersion")
        if version not in wire.HANDSHAKE:
            raise BadAnswer("it speaks a revision that the hub does not")
        self._version = version
        await self.notify("notifications/initialized")

    async def received(self, raw: bytes) -> None:
        """Take what the server said."""
        try:
            value = from_json(raw, allow_inf_nan=False)
        except ValueError:
            return self.lost(BadAnswer("a message is not JSON"))
        if is_response(value):
            number = value.get("id")
            waiting = self._waiting.get(number) if type(number) is int else None
            if waiting is not None and not waiting.done():
                waiting.set_result(Reply(raw, value))
        elif type(value) is dict:
            await self._hearing.take(value)
        return None

    def lost(self, error: UpstreamError) -> None:
        """The way is gone: whoever waits hears why."""
        self._lost = self._lost or error
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)
        self._audience.close()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: jsonrpc.Id = None,
        on_message: OnMessage | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] = NOTHING,
    ) -> Reply:
        """As `Session.request`."""
        limit = self._seconds if seconds is None else seconds
        number = next(self._ids)
        said, told = with_token(params, number, on_message or self._audience.on_message)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._audience.begin(number, told)
        try:
            async with asyncio.timeout(limit):
                if self._lost is not None:
                    raise self._lost
                await self._channel.send(jsonrpc.call(number, method, said))
                answer: Reply = await waiting
                return answer
        except TimeoutError:
            self._later(self._cancel(number, method))
            raise TimedOut(f"no answer within {limit:g} s") from None
        except asyncio.CancelledError:
            self._later(self._cancel(number, method))
            raise
        finally:
            self._waiting.pop(number, None)
            self._audience.end(number)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # it may have been lost after somebody stopped to wait

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """As `Session.notify`."""
        if self._lost is not None:
            raise self._lost
        await self._channel.send(jsonrpc.notification(method, plain(params)))

    async def listen(self, on_message: OnMessage, wanted: Mapping[str, Any] = NOTHING) -> None:
        """As `Session.listen`: hears until the way is gone."""
        if self._lost is None:
            with self._audience.listening(on_message) as ended:
                await ended.wait()
        if self._lost is not None:
            raise self._lost

    async def close(self) -> None:
        """As `Session.close`."""
        self.lost(BadAnswer("the session was closed"))
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._hearing.close()
        await self._channel.close()

    async def _cancel(self, number: int, method: str) -> None:
        if method == "initialize":  # which may not be cancelled
            return
        said = {"requestId": number, "reason": "nobody waits for it any more"}
        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.notify("notifications/cancelled", said)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
