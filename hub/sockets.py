"""A WebSocket of `/api/v1`: frames of JSON both ways, until one of many ends comes.

A client that reads nothing is dropped, one whose credential has ended is told so and closed, and when the hub
stops it closes with 1012, so that the client comes back. What the frames mean is not known here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from core.errors import HubError, Unauthenticated, Unavailable
from hub.api.call import Shared

POLICY: Final = 1008
RESTARTING: Final = 1012
STALL_SECONDS: Final = 30.0


class Gone(Exception):
    """The client is not there any more, or reads nothing."""


class Socket:
    """One accepted socket. Frames leave one after the other, whoever sends them."""

    def __init__(self, send: Send, stall_seconds: float = STALL_SECONDS) -> None:
        self._send = send
        self._stall = stall_seconds
        self._turn = asyncio.Lock()

    async def send(self, kind: str, **members: Any) -> None:
        """Send one frame. Waits while the client does not read.

        Raises:
            Gone: it reads nothing for too long, or is not there.
        """
        await self._put({"type": "websocket.send", "text": to_json({"type": kind, **members}).decode()})

    async def refuse(self, code: str, message: str, **details: Any) -> None:
        """Say what was wrong with a frame. Raises as `send`."""
        await self.send("error", code=code, message=message, **details)

    async def close(self, error: HubError) -> None:
        """Say why, and close. A client that does not listen is left."""
        code = RESTARTING if isinstance(error, Unavailable) else POLICY
        with contextlib.suppress(Gone):
            await self.refuse(error.code.value, error.message)
            await self._put({"type": "websocket.close", "code": code, "reason": error.message[:120]})

    async def _put(self, message: Mapping[str, Any]) -> None:
        async with self._turn:
            try:
                async with asyncio.timeout(self._stall):
                    await self._send(dict(message))
            except (TimeoutError, OSError, RuntimeError) as error:  # the server's words for one that is gone
                raise Gone from error


Frames = Callable[[str], Awaitable[None]]
Work = Callable[[], Coroutine[Any, Any, None]]


async def serve(
    shared: Shared, scope: Scope, receive: Receive, socket: Socket, frames: Frames, work: Work
) -> None:
    """Hand every text frame to `frames`, beside `work`, until an end comes; then say why and close."""
    tasks = [
        asyncio.ensure_future(each)
        for each in (
            _read(receive, frames),
            work(),
            _ended(shared, scope),
            _stopping(shared),
        )
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ends = [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, HubError):
            await socket.close(end)
        elif end is not None and not isinstance(end, Gone):
            raise end


async def accepted(receive: Receive, send: Send) -> bool:
    """Accept the socket; False when the client is gone already."""
    if (await receive())["type"] != "websocket.connect":
        return False
    await send({"type": "websocket.accept"})
    return True


async def _read(receive: Receive, frames: Frames) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is not None:
            await frames(text)


async def _ended(shared: Shared, scope: Scope) -> None:
    await shared.ended(scope)
    raise Unauthenticated("the credential of this socket has ended")


async def _stopping(shared: Shared) -> None:
    await shared.stopping.wait()
    raise Unavailable("the hub is stopping; come back")
