"""Writing answers: one JSON body when the result is there at once, else an event stream that ends with it.

A stream is left by its client or ended by the hub; either way the work behind it is told to stop. What the
work has committed by then stays. See
https://modelcontextprotocol.io/specification/2026-07-28/basic/transports#streamable-http.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters import jsonrpc
from adapters.mcp import errors
from adapters.mcp.config import McpConfig
from adapters.mcp.errors import McpError, describe
from schemas.strict_json import dump_json

GLANCE_SECONDS: Final = 0.03
"""An answer that takes longer is given up when its client has left."""
STALL_SECONDS: Final = 30.0
"""How long a reader may take nothing."""
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_PING: Final = b": ping\n\n"

_FINISHING: Final[set["asyncio.Future[bytes]"]] = set()
"""Works whose clients have left."""

Ended = Callable[[Scope], Awaitable[None]]


def event(data: bytes) -> bytes:
    """One message as an event."""
    return b"event: message\ndata: %b\n\n" % data


def notification(method: str, params: dict[str, Any]) -> bytes:
    """A notification as a message."""
    return dump_json({"jsonrpc": "2.0", "method": method, "params": params})


def refusal(error: McpError, id: jsonrpc.Id = None, *, modern: bool = False) -> Response:
    """A refusal as an HTTP answer."""
    body = jsonrpc.error(id, error.code, error.message, error.data)
    return Response(body, error.status(modern=modern), error.headers, "application/json")


class Stream(Protocol):
    """What may be said ahead of a result."""

    @property
    def left(self) -> bool:
        """Whether the client has left, so that nobody hears the result."""

    def send(self, message: bytes) -> None:
        """Send a message."""

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""


class Answer:
    """An ASGI answer to one request: its result is what `work` returns, encoded already.

    `work` is handed the stream on which it may speak ahead of the result. With `finishes` it goes on to its
    end though the client has left: up to 2025-11-25 that is no wish to cancel.
    """

    def __init__(
        self,
        id: jsonrpc.Id,
        work: Callable[[Stream], Coroutine[Any, Any, bytes]],
        config: McpConfig,
        ended: Ended,
        *,
        modern: bool,
        finishes: bool = False,
    ) -> None:
        self._id = id
        self._work = work
        self._config = config
        self._ended = ended
        self._modern = modern
        self._finishes = finishes
        self._left = False
        self._pending: list[bytes] = []
        self._news = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work and send its answer."""
        work = asyncio.ensure_future(self._work(self))
        news = asyncio.ensure_future(self._news.wait())
        gone: asyncio.Future[None] | None = None
        try:
            first: set[asyncio.Future[Any]] = {work, news}
            await asyncio.wait(first, timeout=GLANCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                gone = asyncio.ensure_future(disconnected(receive))
                patience = self._config.patience_seconds
                await asyncio.wait({*first, gone}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if gone is not None and gone.done():
                self._left = True
            elif work.done() and not self._pending:
                await self._whole(work, scope, receive, send)
            else:
                gone = gone or asyncio.ensure_future(disconnected(receive))
                await self._stream(work, scope, gone, send)
        finally:
            await stop(news, *([] if gone is None else [gone]))
            if self._left and self._finishes and not work.done():
                _FINISHING.add(work)
                work.add_done_callback(_finished)
            else:
                await stop(work)

    @property
    def left(self) -> bool:
        """Whether the client has left."""
        return self._left

    def send(self, message: bytes) -> None:
        """Send a message ahead of the result. To a client that has left, nothing is sent."""
        if not self._left:
            self._pending.append(event(message))
            self._news.set()

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification ahead of the result."""
        self.send(notification(method, params))

    async def _whole(self, work: "asyncio.Future[bytes]", scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = work.result()
        except asyncio.CancelledError:  # by a notification of the client, who wants no answer
            answer = Response(status_code=202)
        except Exception as error:
            answer = refusal(describe(error), self._id, modern=self._modern)
        else:
            answer = Response(body, media_type="application/json")
        await answer(scope, receive, send)

    async def _stream(
        self, work: "asyncio.Future[bytes]", scope: Scope, gone: "asyncio.Future[None]", send: Send
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        revoked = asyncio.ensure_future(self._ended(scope))
        stopping = asyncio.ensure_future(self._config.stopping.wait())
        try:
            while not work.done():
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                if self._pending:
                    self._news.set()
                awaited: set[asyncio.Future[Any]] = {work, news, gone, revoked, stopping}
                done, _ = await asyncio.wait(
                    awaited,
                    timeout=self._config.heartbeat_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                await stop(news)
                if gone in done:
                    self._left = True
                    return
                if revoked in done or (stopping in done and not work.done()):
                    await stop(work)
                    break
                await _sent(send, self._taken() or (b"" if work.done() else _PING))
            last = self._taken() + event(self._last(work, revoked=revoked.done()))
            await _sent(send, last, more=False)
        except TimeoutError:  # it reads nothing: it would read no last word either
            return
        finally:
            await stop(revoked, stopping)

    def _last(self, work: "asyncio.Future[bytes]", *, revoked: bool) -> bytes:
        if work.cancelled():
            error = (
                McpError(errors.UNAUTHENTICATED, "The credential of this stream is no longer valid.")
                if revoked
                else McpError(errors.UNAVAILABLE, "The hub is stopping, or the request was cancelled.")
            )
        else:
            try:
                return work.result()
            except Exception as failure:
                error = describe(failure)
        return jsonrpc.error(self._id, error.code, error.message, error.data)

    def _taken(self) -> bytes:
        taken, self._pending = b"".join(self._pending), []
        return taken


class Feed:
    """An ASGI answer that streams messages until its client leaves, its credential ends or the hub stops.

    `batches` brings events, framed already; its first one, which may be empty, opens the stream.
    """

    def __init__(
        self, batches: AsyncGenerator[bytes, None], config: McpConfig, ended: Ended, farewell: bytes = b""
    ) -> None:
        self._batches = batches
        self._config = config
        self._ended = ended
        self._farewell = farewell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole stream."""
        gone = asyncio.ensure_future(disconnected(receive))
        ended = asyncio.ensure_future(self._ended(scope))
        stopping = asyncio.ensure_future(self._config.stopping.wait())
        pump = asyncio.ensure_future(self._pump(send))
        try:
            await asyncio.wait({gone, ended, stopping, pump}, return_when=asyncio.FIRST_COMPLETED)
            broken = pump.done() and pump.exception() is not None
            await stop(pump)
            if not gone.done() and not broken:
                with contextlib.suppress(TimeoutError):
                    await _sent(send, b"" if ended.done() else self._farewell, more=False)
        finally:
            await stop(gone, ended, stopping, pump)

    async def _pump(self, send: Send) -> None:
        following: asyncio.Future[bytes | None] | None = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            while True:
                following = asyncio.ensure_future(anext(self._batches, None))
                while not (await asyncio.wait({following}, timeout=self._config.heartbeat_seconds))[0]:
                    await _sent(send, _PING)
                batch = following.result()
                if batch is None:
                    return
                await _sent(send, batch or _PING)
        finally:
            if following is not None:
                await stop(following)
            await self._batches.aclose()


def _finished(work: "asyncio.Future[bytes]") -> None:
    _FINISHING.discard(work)
    if not work.cancelled():
        work.exception()  # whoever would be told has left


async def _sent(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def disconnected(receive: Receive) -> None:
    """Return once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def stop(*tasks: "asyncio.Future[Any]") -> None:
    """End tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
