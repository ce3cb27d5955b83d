"""Server-sent events over ASGI, written lean: one `send` for a batch, nothing per event but its bytes.

It watches for the client's end while it waits, says so in a comment when nothing happens, and closes what it
reads from in every case. See https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope, Send

from core.errors import TooMany, Unauthenticated

T = TypeVar("T")

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
PING: Final = b": ping\n\n"
STALL_SECONDS: Final = 30.0
"""How long a reader may take nothing."""
LAST_WORD_SECONDS: Final = 1.0
_ID: Final = re.compile(r"([1-9]\d{0,8})(?:\.([1-9]\d{0,3}))?")


def event(data: bytes, *, id: str | None = None, kind: str | None = None) -> bytes:
    """One event. `data` is JSON, which has no line breaks of its own."""
    named = b"" if kind is None else b"event: %b\n" % kind.encode()
    numbered = b"" if id is None else b"id: %b\n" % id.encode()
    return b"%b%bdata: %b\n\n" % (named, numbered, data)


def numbered(batch: Sequence[tuple[int, T]]) -> Iterator[tuple[str, T]]:
    """An id for each: of those that share a number the last has it, and those before it `number.1` and so on.

    A batch has all that share a number; so whoever has the number itself has all of them.
    """
    last, nth = len(batch) - 1, 0
    for index, (number, item) in enumerate(batch):
        nth += 1
        if index == last or batch[index + 1][0] != number:
            yield str(number), item
            nth = 0
        else:
            yield f"{number}.{nth}", item


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader has come: everything up to one number, and the first few of the next one's."""

    number: int
    further: int = 0

    @classmethod
    def of(cls, id: str) -> "Cursor":
        """The place after the event of that id.

        Raises:
            ValueError: no event has such an id.
        """
        found = _ID.fullmatch(id)
        if found is None:
            raise ValueError(id)
        number = int(found[1])
        return cls(number) if found[2] is None else cls(number - 1, int(found[2]))

    def further_than(self, batch: Sequence[tuple[int, T]]) -> Sequence[tuple[int, T]]:
        """What the reader of this place has not had of a batch."""
        half = self.number + 1
        return [item for index, item in enumerate(batch) if index >= self.further or item[0] != half]


async def disconnected(receive: Receive) -> None:
    """Return once the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream:
    """An ASGI response that sends what `chunks` brings, framed already, until it ends or the client does.

    `revoked` returns when the client's credential has ended. `farewell` makes the last event of a stream that
    is ended by that, or because its reader takes nothing for `stall_seconds`.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        *,
        heartbeat_seconds: float,
        revoked: Callable[[], Coroutine[Any, Any, None]],
        farewell: Callable[[Exception], bytes],
        headers: Mapping[str, str],
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._chunks = chunks
        self._heartbeat = heartbeat_seconds
        self._revoked = revoked
        self._farewell = farewell
        self._headers = [*HEADERS, *((n.lower().encode(), v.encode()) for n, v in headers.items())]
        self._stall = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole stream."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        pump = asyncio.ensure_future(self._pump(send))
        gone = asyncio.ensure_future(disconnected(receive))
        revoked = asyncio.ensure_future(self._revoked())
        try:
            await asyncio.wait({pump, gone, revoked}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            elif not gone.done():
                await stop(pump)
                await self._part(send, Unauthenticated("The credential of this stream is no longer valid."))
        except TimeoutError:
            slow = TooMany(f"Nothing was read for {self._stall:g} seconds.", retry_after=1)
            await self._part(send, slow)
        finally:
            await stop(pump, gone, revoked)

    async def _pump(self, send: Send) -> None:
        following: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(self._chunks, None))
                while not (await asyncio.wait({following}, timeout=self._heartbeat))[0]:
                    await self._body(send, PING)
                chunk = following.result()
                await self._body(send, chunk or b"", more=chunk is not None)
                if chunk is None:
                    return
        finally:
            if following is not None:
                await stop(following)
            await self._chunks.aclose()

    async def _part(self, send: Send, reason: Exception) -> None:
        # A reader that takes nothing gets no last word either; the server closes its connection.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await send({"type": "http.response.body", "body": self._farewell(reason)})

    async def _body(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._stall):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def stop(*tasks: "asyncio.Future[Any]") -> None:
    """End tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
