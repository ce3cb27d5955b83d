"""Server-sent events, written lean: one `send` for whatever is pending, nothing per event but its bytes.

A stream ends when its feed ends or refuses, when its reader hangs up or stalls, or when its credential ends.
It says why in a last `event: error`, as far as the reader still reads. It knows nothing of what it carries.
See https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from core.errors import HubError, Unauthenticated
from core.events import SlowReader
from schemas.v1.envelope import error_body

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
ABORT: Final = "crossdock.abort"
"""The key of the ASGI scope under which the server puts what drops the connection at once."""
STALL_SECONDS: Final = 30.0
"""How long a reader may take nothing."""
_FAREWELL_SECONDS: Final = 1.0


def frame(data: bytes, kind: str, number: int | None = None) -> bytes:
    """One event. `data` is JSON, which has no line breaks of its own."""
    numbered = b"" if number is None else b"id: %d\n" % number
    return b"%bevent: %b\ndata: %b\n\n" % (numbered, kind.encode(), data)


class EventStream:
    """An ASGI answer that sends what `chunks` brings, each already framed.

    Args:
        until: returns once the credential of the request has ended.
        done: called exactly once, however the stream ends.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        until: Callable[[Scope], Awaitable[None]],
        done: Callable[[], None],
        stall_seconds: float | None = None,
    ) -> None:
        self._chunks = chunks
        self._until = until
        self._done = done
        self._stall = STALL_SECONDS if stall_seconds is None else stall_seconds
        self._pending = b""

    async def open(self, greeting: bytes) -> None:
        """Wait for the first chunk, so that a refusal is still an ordinary answer.

        Raises:
            HubError: the feed refuses.
        """
        try:
            self._pending = greeting + await anext(self._chunks)
        except BaseException:
            await self._close()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole stream."""
        pump = asyncio.ensure_future(self._pump(send))
        gone = asyncio.ensure_future(_hung_up(receive))
        ended = asyncio.ensure_future(self._until(scope))
        try:
            await asyncio.wait({pump, gone, ended}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            if not pump.done():
                await _cancelled(pump)
                await self._farewell(scope, send, Unauthenticated("the credential of this stream has ended"))
                return
            try:
                pump.result()
            except TimeoutError:
                slow = SlowReader(f"nothing was read for {self._stall:g} s; reconnect with your cursor")
                await self._farewell(scope, send, slow)
            except HubError as refusal:
                await self._farewell(scope, send, refusal)
        finally:
            for task in (pump, gone, ended):
                await _cancelled(task)
            await self._close()

    async def _pump(self, send: Send) -> None:
        await self._sent(send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)}))
        await self._send(send, self._pending, more=True)
        self._pending = b""
        async for chunk in self._chunks:
            await self._send(send, chunk, more=True)
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool) -> None:
        await self._sent(send({"type": "http.response.body", "body": body, "more_body": more}))

    async def _sent(self, sending: Awaitable[None]) -> None:
        async with asyncio.timeout(self._stall):
            await sending

    async def _farewell(self, scope: Scope, send: Send, refusal: HubError) -> None:
        said = {"error": error_body(refusal.code, refusal.message, refusal.details, refusal.hint)}
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await send({"type": "http.response.body", "body": frame(to_json(said), "error")})
        except TimeoutError:
            # It does not take a last word either. An ordinary close would wait for it to read what is
            # buffered, for ever.
            abort: Callable[[], None] | None = scope.get(ABORT)
            if abort is not None:
                abort()
                await asyncio.sleep(0)  # the server hears of it in its next turn

    async def _close(self) -> None:
        close: Callable[[], Coroutine[Any, Any, None]] | None = getattr(self._chunks, "aclose", None)
        try:
            if close is not None:
                await close()
        finally:
            self._done()


async def _hung_up(receive: Receive) -> None:
    # The first message of a GET is its empty body.
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: "asyncio.Future[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
