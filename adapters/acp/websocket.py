"""ACP over WebSocket: one socket, one connection; a text frame is one JSON-RPC message.

Binary frames are ignored. When the hub stops, it says so by closing with 1012, and the client comes back.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from adapters.acp.config import ACPConfig, Authenticator
from adapters.acp.connection import FACE, Connection
from adapters.acp.methods import METHODS
from adapters.jsonrpc_peer import Closed
from core.errors import Unavailable
from core.platform import Platform

GOING_AWAY: Final = 1012
POLICY: Final = 1008
BROKEN: Final = 1011
CONNECTION_ID: Final = b"acp-connection-id"


class WebSocketEndpoint:
    """Serves `GET /acp` with an upgrade."""

    def __init__(self, platform: Platform, config: ACPConfig, authenticator: Authenticator) -> None:
        self._platform = platform
        self._config = config
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket.

        Raises:
            HubError: no valid credential, or too many connections; nothing was accepted.
        """
        caller = await self._authenticator.identify(scope, FACE)
        with self._config.connections.taken_by(caller.principal_id):
            if (await receive())["type"] != "websocket.connect":
                return
            named = (CONNECTION_ID, secrets.token_urlsafe(24).encode())
            await send({"type": "websocket.accept", "headers": [named]})
            socket = _Socket(send, self._config.stall_seconds)
            connection = Connection(self._platform, self._config, caller, socket, socket.send, dict(METHODS))
            try:
                code, reason = await self._serve(scope, receive, connection, socket)
            finally:
                await connection.close()
            if code is not None:
                with contextlib.suppress(Closed):
                    await socket.close(code, reason)

    async def _serve(
        self, scope: Scope, receive: Receive, connection: Connection, socket: "_Socket"
    ) -> tuple[int | None, str]:
        """Until one of many ends comes: the code and reason to close with; None when the client is gone."""
        reading = asyncio.ensure_future(_read(receive, connection))
        late = asyncio.ensure_future(self._initialized_in_time(connection))
        revoked = asyncio.ensure_future(_of(self._authenticator.ended(scope)))
        stopping = asyncio.ensure_future(self._config.stopping.wait())
        waits: set[asyncio.Future[Any]] = {reading, late, revoked, stopping, connection.ended, socket.stalled}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                return None, ""
            if socket.stalled.done():
                return POLICY, "nothing was read for too long"
            if revoked.done():
                return POLICY, "the credential is no longer valid"
            if late.done():
                return POLICY, "initialize did not come"
            stops = stopping.done() or isinstance(connection.ended.result(), Unavailable)
            return (GOING_AWAY, "the hub is stopping") if stops else (BROKEN, "the hub failed here")
        finally:
            tasks = (reading, late, revoked, stopping)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _initialized_in_time(self, connection: Connection) -> None:
        """Return when `initialize` is late; else never."""
        await asyncio.sleep(self._config.initialize_seconds)
        if connection.initialized:
            await asyncio.Event().wait()


async def _of(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _read(receive: Receive, connection: Connection) -> None:
    """Until the client is gone. A frame is read when the one before it has begun."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is not None:
            await connection.peer.feed(text.encode())


class _Socket:
    """Writes one frame after the other, and gives up on a client that reads nothing."""

    transport = "websocket"

    def __init__(self, send: Send, stall_seconds: float) -> None:
        self.stalled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send = send
        self._stall = stall_seconds
        self._turn = asyncio.Lock()

    def route_of(self, session_id: str) -> str | None:
        """There is one stream, in one order."""
        return None

    async def settle(self, session_id: str) -> None:
        """It is on its way."""

    def announce(self, session_id: str) -> None:
        """All of it comes by the one stream."""

    async def send(self, data: bytes, route: str | None) -> None:
        """One message, behind those before it.

        Raises:
            Closed: the client is gone, or reads nothing.
        """
        await self._put({"type": "websocket.send", "text": data.decode()})

    async def close(self, code: int, reason: str) -> None:
        """The last word."""
        await self._put({"type": "websocket.close", "code": code, "reason": reason})

    async def _put(self, message: dict[str, Any]) -> None:
        async with self._turn:
            if self.stalled.done():
                raise Closed("the client reads nothing")
            try:
                async with asyncio.timeout(self._stall):
                    await self._send(message)
            except TimeoutError:
                self.stalled.set_result(None)
                raise Closed("the client reads nothing") from None
            except (OSError, RuntimeError) as error:  # the server's words for a socket that is gone
                raise Closed("the client is gone") from error
