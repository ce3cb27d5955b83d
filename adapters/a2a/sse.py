"""Server-sent events over ASGI, written lean: one `send` for a batch, nothing per event but its bytes.

It watches for the client's end while it waits, says so in a comment when nothing happens, and closes what it
reads from in every case. See https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope, Send

T = TypeVar("T")

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
PING: Final = b": ping\n\n"


def event(data: bytes, *, id: int | None = None, kind: str | None = None) -> bytes:
    """One event. `data` is JSON, which has no line breaks of its own."""
    named = b"" if kind is None else b"event: %b\n" % kind.encode()
    numbered = b"" if id is None else b"id: %d\n" % id
    return b"%b%bdata: %b\n\n" % (named, numbered, data)


def numbered(batch: Sequence[tuple[int, T]]) -> Iterator[tuple[int | None, T]]:
    """A number only for the last of those that share it, so that nobody counts half of them as read."""
    last = len(batch) - 1
    for index, (number, item) in enumerate(batch):
        yield (number if index == last or batch[index + 1][0] != number else None), item


async def disconnected(receive: Receive) -> None:
    """Return once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream:
    """An ASGI response that sends what `chunks` brings, each already framed, until it ends or the client
    does."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        heartbeat_seconds: float,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        self._chunks = chunks
        self._heartbeat = heartbeat_seconds
        self._headers = [*HEADERS, *(headers or [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole stream."""
        gone = asyncio.ensure_future(disconnected(receive))
        pump = asyncio.ensure_future(self._pump(send))
        try:
            await asyncio.wait({gone, pump}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        finally:
            for task in (gone, pump):
                task.cancel()
            await asyncio.gather(gone, pump, return_exceptions=True)

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        chunks = self._chunks
        following: asyncio.Future[Any] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(chunks, None))
                while not (await asyncio.wait({following}, timeout=self._heartbeat))[0]:
                    await _body(send, PING, more=True)
                chunk = following.result()
                if chunk is None:
                    break
                await _body(send, chunk, more=True)
            await _body(send, b"", more=False)
        finally:
            if following is not None and not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator


async def _body(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
