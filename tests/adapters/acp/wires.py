"""ACP's two transports as a client has them, raw, straight into the hub's ASGI app."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import ASGIApp, Message

PATIENCE = 20.0
PATH = "/acp"


class Refused(Exception):
    """The hub did not open the connection."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def headers_of(key: str | None, extra: Mapping[str, str] | None = None) -> list[tuple[bytes, bytes]]:
    """Headers of a well-behaved client."""
    named = {"host": "127.0.0.1:8080"} | ({} if key is None else {"authorization": f"Bearer {key}"})
    named |= {name.lower(): value for name, value in (extra or {}).items()}
    return [(name.encode(), value.encode()) for name, value in named.items()]


class Wire(Protocol):
    """Carries messages."""

    async def open(self) -> None:
        """Connect."""

    async def send(self, message: Any) -> None:
        """One message."""

    async def close(self) -> None:
        """Hang up."""


class WebSocketWire:
    """One socket. `closed` is the code with which the hub ended it."""

    def __init__(
        self, app: ASGIApp, key: str | None, heard: Callable[[Any], None], headers: Mapping[str, str]
    ) -> None:
        self._app = app
        self._headers = headers_of(key, headers)
        self._heard = heard
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._refused = 0
        self.accepted: dict[str, str] = {}
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.reading = asyncio.Event()
        self.reading.set()

    async def open(self) -> None:
        """Raises `Refused`."""
        scope = {
            "type": "websocket",
            "http_version": "1.1",
            "scheme": "ws",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": self._headers,
            "client": ("127.0.0.1", 5000),
            "server": ("127.0.0.1", 8080),
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        self._sent.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._app(scope, self._sent.get, self._take))  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            await self._opened

    async def _take(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self.accepted = {name.decode(): value.decode() for name, value in message["headers"]}
                self._opened.set_result(None)
            case "websocket.send":
                await self.reading.wait()
                self._heard(json.loads(message["text"]))
            case "websocket.close":
                self.closed.set_result(message["code"])
            case "websocket.http.response.start":
                self._refused = message["status"]
            case "websocket.http.response.body":
                self._opened.set_exception(Refused(self._refused, message["body"]))

    async def send(self, message: Any) -> None:
        """One text frame."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._sent.put_nowait({"type": "websocket.receive", "text": text})

    async def send_binary(self, data: bytes) -> None:
        """One binary frame."""
        self._sent.put_nowait({"type": "websocket.receive", "bytes": data})

    async def close(self) -> None:
        """The client is gone."""
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1000})
        if self._task is not None:
            async with asyncio.timeout(PATIENCE):
                await self._task


@dataclass
class Reply:
    """A whole HTTP answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class HttpWire:
    """POSTs, the stream of the connection, and one stream for each session that was named."""

    def __init__(
        self, app: ASGIApp, key: str | None, heard: Callable[[Any], None], headers: Mapping[str, str]
    ) -> None:
        self._app = app
        self._key = key
        self._extra = dict(headers)
        self._heard = heard
        self._streams: dict[str | None, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self.connection_id = ""

    async def open(self) -> None:
        """Nothing yet: the first POST opens."""

    async def request(
        self, method: str, body: bytes = b"", headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        """One request with a whole answer; a header of None is not sent."""
        reply = Reply()
        sent: dict[str, str | None] = {**self._extra, "content-type": "application/json"}
        if self.connection_id:
            sent["acp-connection-id"] = self.connection_id
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        if method == "POST":
            sent["content-length"] = str(len(body))
        kept = {name: value for name, value in sent.items() if value is not None}
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                reply.body += message.get("body", b"")

        async with asyncio.timeout(PATIENCE):
            await self._app(self._scope(method, kept), receive, send)
        return reply

    def _scope(self, method: str, headers: Mapping[str, str]) -> dict[str, Any]:
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers_of(self._key, headers),
            "client": ("127.0.0.1", 5000),
            "server": ("127.0.0.1", 8080),
        }

    async def send(self, message: Any) -> None:
        """One message. Whatever is refused is heard like an answer."""
        params = message.get("params") if isinstance(message, dict) else None
        named = params.get("sessionId") if isinstance(params, dict) else None
        headers: dict[str, str | None] = {}
        if isinstance(named, str) and named.isprintable() and named:
            if message.get("method") in ("session/load", "session/resume", "session/prompt"):
                await self.listen(named)
            headers["acp-session-id"] = named
        text = message if isinstance(message, str) else json.dumps(message)
        reply = await self.request("POST", text.encode(), headers)
        if "acp-connection-id" in reply.headers:
            self.connection_id = reply.headers["acp-connection-id"]
            await self.listen(None)
        if reply.body:
            self._heard(reply.json)
        elif reply.status != 202:
            raise AssertionError(reply)

    async def listen(self, session_id: str | None) -> None:
        """Open a stream, unless it is open."""
        if session_id in self._streams or not self.connection_id:
            return
        gone, opened = asyncio.Event(), asyncio.Event()
        headers = {"accept": "text/event-stream", "acp-connection-id": self.connection_id}
        if session_id is not None:
            headers["acp-session-id"] = session_id
        left = b""

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal left
            opened.set()
            left += message.get("body", b"")
            while b"\n\n" in left:
                block, left = left.split(b"\n\n", 1)
                if block.startswith(b"data: "):
                    message = json.loads(block[6:])
                    self._learn(message)
                    self._heard(message)

        task = asyncio.ensure_future(self._app(self._scope("GET", headers), receive, send))
        self._streams[session_id] = (task, gone)
        async with asyncio.timeout(PATIENCE):
            await opened.wait()

    def _learn(self, message: Any) -> None:
        result = message.get("result")
        named = result.get("sessionId") if isinstance(result, dict) else None
        if isinstance(named, str):
            self._learning = asyncio.create_task(self.listen(named))

    async def close(self) -> None:
        """End it as a well-behaved client does."""
        if self.connection_id:
            reply = await self.request("DELETE")
            assert reply.status in (202, 404)
        for task, gone in self._streams.values():
            gone.set()
            async with asyncio.timeout(PATIENCE):
                await task


WIRES: dict[str, type[WebSocketWire] | type[HttpWire]] = {"websocket": WebSocketWire, "http": HttpWire}
