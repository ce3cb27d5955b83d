"""ACP over Streamable HTTP: POST sends a message, GET opens an event stream, DELETE ends the connection.

`initialize` is answered at once, with the connection's id in a header; everything else by the streams. The
ids are no secrets: every request proves who it is, and another principal's connection is not there.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from adapters import jsonrpc
from adapters.acp.config import ACPConfig, Authenticator
from adapters.acp.connection import FACE
from adapters.acp.http_connection import HttpConnection, refusal
from adapters.acp.outlet import Outlet
from core.caller import Caller
from core.platform import Platform
from schemas.strict_json import InvalidJson, parse_json

CONNECTION: Final = b"acp-connection-id"
SESSION: Final = b"acp-session-id"
_JSON: Final = (b"content-type", b"application/json")
_LOOK: Final = 5.0
"""Seconds between looks for connections that nobody uses."""


class Answer(Exception):
    """A whole HTTP answer."""

    def __init__(
        self, status: int, body: bytes = b"", *headers: tuple[bytes, bytes], code: int | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = [*headers, *([_JSON] if body else [])]


def _refused(status: int, code: int, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    return Answer(status, refusal(code, message), *headers)


class HttpEndpoint:
    """Serves `POST`, `GET` and `DELETE /acp`. Connections live in this process."""

    def __init__(self, platform: Platform, config: ACPConfig, authenticator: Authenticator) -> None:
        self._platform = platform
        self._config = config
        self._authenticator = authenticator
        self._connections: dict[str, HttpConnection] = {}
        self._living: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            HubError: no valid credential, or too many of something.
        """
        caller = await self._authenticator.identify(scope, FACE)
        try:
            match scope["method"]:
                case "POST":
                    raise await self._post(scope, receive, caller)
                case "GET":
                    await self._get(scope, receive, send, caller)
                case "DELETE":
                    raise await self._delete(scope, caller)
                case _:
                    raise _refused(
                        405, jsonrpc.INVALID_REQUEST, "GET, POST or DELETE.", (b"allow", b"GET, POST, DELETE")
                    )
        except Answer as answer:
            length = (b"content-length", b"%d" % len(answer.body))
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": [*answer.headers, length],
                }
            )
            await send({"type": "http.response.body", "body": answer.body})

    async def _post(self, scope: Scope, receive: Receive, caller: Caller) -> Answer:
        declared = (_header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if declared != "application/json":
            return _refused(415, jsonrpc.INVALID_REQUEST, "Content-Type must be application/json.")
        body = await _body(receive, self._config.max_message_bytes)
        try:
            message = parse_json(body)
        except InvalidJson as error:
            return _refused(400, jsonrpc.PARSE_ERROR, f"This is no JSON: {error}")
        if type(message) is list:
            return _refused(501, jsonrpc.INVALID_REQUEST, "Batches are not supported.")
        try:
            jsonrpc.message_of(message)
        except jsonrpc.BadEnvelope as bad:
            return Answer(400, jsonrpc.error(bad.id, bad.code, bad.message))
        name = _header(scope, CONNECTION)
        if message.get("method") == "initialize":
            if name is not None:
                return _refused(400, jsonrpc.INVALID_REQUEST, "This connection is initialized.")
            return await self._initialize(message, caller)
        connection = self._find(name, caller)
        session = _header(scope, SESSION)
        params = message.get("params")
        meant = params.get("sessionId") if type(params) is dict else None
        if session is not None and meant is not None and session != meant:
            return _refused(400, jsonrpc.INVALID_REQUEST, "Acp-Session-Id is not params.sessionId.")
        await connection.put(message)
        return Answer(202)

    async def _initialize(self, message: Any, caller: Caller) -> Answer:
        if "id" not in message:
            return _refused(400, jsonrpc.INVALID_REQUEST, "initialize is a request.")
        held = contextlib.ExitStack()
        held.enter_context(self._config.connections.taken_by(caller.principal_id))
        connection = HttpConnection(self._platform, self._config, caller)
        try:
            body, made = await connection.initialize(message)
        except BaseException:
            held.close()
            await connection.close()
            raise
        if not made:
            held.close()
            await connection.close()
            return Answer(200, body)
        name = secrets.token_urlsafe(24)
        self._connections[name] = connection
        living = asyncio.create_task(self._live(name, connection, held), name="watch a connection over HTTP")
        self._living.add(living)
        living.add_done_callback(self._living.discard)
        return Answer(200, body, (CONNECTION, name.encode()))

    async def _live(self, name: str, connection: HttpConnection, held: contextlib.ExitStack) -> None:
        """Until it ends, one way or another; then nothing of it is left."""
        ended = asyncio.ensure_future(connection.ended())
        stopping = asyncio.ensure_future(self._config.stopping.wait())
        try:
            while not (await asyncio.wait({ended, stopping}, timeout=_LOOK, return_when="FIRST_COMPLETED"))[
                0
            ]:
                idle = time.monotonic() - connection.used_at
                if not connection.read and idle > self._config.idle_seconds:
                    break
                if self._connections.get(name) is not connection:
                    break
        finally:
            ended.cancel()
            stopping.cancel()
            self._connections.pop(name, None)
            held.close()
            await connection.close()

    async def _delete(self, scope: Scope, caller: Caller) -> Answer:
        name = _header(scope, CONNECTION)
        connection = self._find(name, caller)
        assert name is not None, "it was found"
        del self._connections[name]
        await connection.close()
        return Answer(202)

    def _find(self, name: str | None, caller: Caller) -> HttpConnection:
        if name is None:
            raise _refused(400, jsonrpc.INVALID_REQUEST, "Acp-Connection-Id is missing.")
        connection = self._connections.get(name)
        if connection is None or (connection.caller.principal_id, connection.caller.tenant_id) != (
            caller.principal_id,
            caller.tenant_id,
        ):
            raise _refused(404, jsonrpc.INVALID_REQUEST, "No such connection.")
        return connection

    async def _get(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        accepted = (_header(scope, b"accept") or "").lower()
        if "text/event-stream" not in accepted and "*/*" not in accepted:
            raise _refused(406, jsonrpc.INVALID_REQUEST, "Accept must have text/event-stream.")
        connection = self._find(_header(scope, CONNECTION), caller)
        outlet = connection.outlet(_header(scope, SESSION))
        if outlet.read:
            raise _refused(409, jsonrpc.INVALID_REQUEST, "This stream is open.")
        outlet.begin()
        try:
            await self._stream(scope, receive, send, outlet)
        finally:
            outlet.stop()
            connection.used_at = time.monotonic()

    async def _stream(self, scope: Scope, receive: Receive, send: Send, outlet: Outlet) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        pump = asyncio.ensure_future(self._pump(send, outlet))
        gone = asyncio.ensure_future(_gone(receive))
        revoked = asyncio.ensure_future(_until(self._authenticator.ended(scope)))
        tasks = (pump, gone, revoked)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and pump.exception() is None and not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, send: Send, outlet: Outlet) -> None:
        async for chunk in _chunks(outlet, self._config.heartbeat_seconds):
            async with asyncio.timeout(self._config.stall_seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _chunks(outlet: Outlet, heartbeat: float) -> AsyncIterator[bytes]:
    while (messages := await outlet.take(heartbeat)) is not None:
        yield b"".join(b"data: %b\n\n" % message for message in messages) if messages else b": alive\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until(awaitable: Any) -> None:
    await awaitable


async def _body(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Answer(499)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _refused(413, jsonrpc.INVALID_REQUEST, f"A message has at most {limit} bytes.")
        if not message.get("more_body", False):
            return b"".join(chunks)


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1").strip()
            return text or None
    return None
