"""Between an MCP host that speaks on stdin and stdout, and the hub that speaks Streamable HTTP.

Both eras pass as they are. A hub that is restarted is waited for; a session that it has forgotten is begun
again without the host noticing. What may have been done already is never sent twice: the host is told.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp

from hub.client.sse import SseReader
from hub.launcher.link import Hub
from hub.launcher.mcp_headers import annotations_of, headers_of, version_of

PATIENCE: Final = 30.0
"""Seconds for which a hub that cannot be reached is waited for."""
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_SILENCE: Final = 75.0
"""The hub says something on every open stream more often than this."""
_REPEATABLE: Final = frozenset(
    {
        "initialize", "ping", "server/discover", "tools/list", "prompts/list", "prompts/get",
        "resources/list", "resources/templates/list", "resources/read", "completion/complete",
        "tasks/get", "logging/setLevel",
        "subscriptions/listen",
    }
)  # fmt: skip
_GONE: Final = -31503
_REFUSED: Final = -31401

Message = Mapping[str, Any]


class _Lost(Exception):
    """The connection broke after the message was sent."""


def say(text: str) -> None:
    """A line for whoever reads the host's log of this program."""
    sys.stderr.write(f"crossdock mcp: {text}\n")
    sys.stderr.flush()


class McpBridge:
    """Takes lines of a host, and puts lines for it. `hub` is asked before each request."""

    def __init__(
        self,
        hub: Callable[[], Hub],
        path: str,
        put: Callable[[bytes], Awaitable[None]],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._hub = hub
        self._path = path
        self._put = put
        self._patience = patience
        self._http: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[Any, asyncio.Task[None]] = {}
        self._hello: Message | None = None
        self._session: str | None = None
        self._version: str | None = None
        self._opening = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._annotations: dict[str, dict[str, str]] = {}
        self._away = False

    async def hear(self, line: bytes) -> None:
        """A line of the host."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            await self._fail(None, -32700, "this line is not a JSON-RPC message")
            return
        params = message.get("params")
        if message.get("method") == "notifications/cancelled" and isinstance(params, dict):
            asked = self._running.get(_key(params.get("requestId")))
            if asked is not None and self._hello is None:  # in the modern era, leaving is cancelling
                asked.cancel()
                return
        task = asyncio.create_task(self._pass(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if "method" in message and "id" in message:
            key = _key(message["id"])
            self._running[key] = task
            task.add_done_callback(lambda done: self._running.pop(key, None))

    async def too_long(self, start: bytes) -> None:
        """A line that is longer than any message may be."""
        await self._fail(None, -32600, "this message is too long")

    async def settle(self, seconds: float) -> None:
        """Return when everything that was asked is answered, or after so many seconds."""
        if self._running:
            await asyncio.wait([*self._running.values()], timeout=seconds)

    async def close(self) -> None:
        """Let go: what runs is left, and the session is ended."""
        for task in (*self._tasks, *([self._listening] if self._listening else [])):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            if self._session is not None:
                try:
                    async with asyncio.timeout(2), self._http.delete(self._url, headers=self._headers({})):
                        pass
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass  # it ends by itself
            await self._http.close()

    async def _pass(self, message: Message) -> None:
        """Send one message for as long as that is safe, and see that a request is answered."""
        deadline, pause = time.monotonic() + self._patience, _PAUSE
        while True:
            try:
                await self._send(message)
            except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
                if not self._away:
                    self._away = True
                    say(f"no hub at {self._hub().url} ({error}); trying on")
                if time.monotonic() > deadline:
                    text = f'No hub at {self._hub().url}. Start "crossdock serve", and try again.'
                    await self._fail(message, _GONE, text)
                    return
            except (_Lost, aiohttp.ClientError, OSError) as error:
                if message.get("method") not in _REPEATABLE or time.monotonic() > deadline:
                    say(f"the connection broke: {error}")
                    await self._fail(message, _GONE, "The hub went away meanwhile; this may have been done.")
                    return
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _send(self, message: Message, *, again: bool = True) -> None:
        method = message.get("method")
        if method == "initialize":
            self._hello, self._session = message, None
        known = self._session
        async with self._client.post(
            self._url, data=json.dumps(message).encode(), headers=self._headers(message)
        ) as answer:
            if self._away:
                self._away = False
                say("the hub is there again")
            if answer.status == 404 and known is not None and method != "initialize" and again:
                await self._open_again(known)
                await self._send(message, again=False)
                return
            if method == "initialize" and answer.status == 200:
                self._session = answer.headers.get("Mcp-Session-Id")
            if answer.content_type == "text/event-stream":
                await self._stream(answer, message)
            else:
                await self._whole(answer, message)
        if method == "initialize" and self._session is not None:
            self._listen()

    async def _whole(self, answer: aiohttp.ClientResponse, message: Message) -> None:
        body = await answer.read()
        if answer.status == 202 or "id" not in message or "method" not in message:
            return
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if not isinstance(told, dict) or "jsonrpc" not in told:
            await self._fail(message, _REFUSED, f"The hub answered with HTTP {answer.status}.")
            return
        if answer.status in (401, 403):
            say('the hub does not let you in: "crossdock acp login", or set CROSSDOCK_API_KEY')
        await self._tell({**told, "id": message["id"]}, message)

    async def _stream(self, answer: aiohttp.ClientResponse, message: Message) -> None:
        reader, answered = SseReader(), False
        async for chunk in answer.content.iter_any():
            for frame in reader.feed(chunk):
                if not frame.data:
                    continue
                told = frame.json()
                answered = answered or ("method" not in told and told.get("id") == message.get("id"))
                await self._tell(told, message)
        if not answered and "id" in message:
            raise _Lost("the stream ended before its answer")

    async def _tell(self, told: Message, asked: Message | None) -> None:
        result = told.get("result")
        if asked is not None and "method" not in told and isinstance(result, dict):
            if asked.get("method") == "initialize":
                self._version = result.get("protocolVersion")
                if asked is not self._hello:  # the host has had its answer
                    return
            if asked.get("method") == "tools/list":
                self._annotations |= annotations_of(result)
        await self._put(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode())

    async def _fail(self, message: Message | None, code: int, text: str) -> None:
        if message is not None and ("id" not in message or "method" not in message):
            return
        error = {"code": code, "message": text}
        told = {"jsonrpc": "2.0", "id": None if message is None else message["id"], "error": error}
        await self._put(json.dumps(told).encode())

    async def _open_again(self, known: str) -> None:
        """Begin the session again that the hub has forgotten: once, however many requests meet it."""
        async with self._opening:
            if self._session != known or self._hello is None:
                return
            params = {**self._hello["params"], "protocolVersion": self._version}
            hello = {**self._hello, "id": "again", "params": params}
            self._session = None
            headers = self._headers(hello)
            async with self._client.post(self._url, json=hello, headers=headers) as answer:
                self._session = answer.headers.get("Mcp-Session-Id")
                await answer.read()
            note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            async with self._client.post(self._url, json=note, headers=self._headers(note)):
                pass
            self._listen()

    def _listen(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.create_task(self._hear_hub())

    async def _hear_hub(self) -> None:
        """What the hub says by itself, for as long as the session lasts."""
        pause = _PAUSE
        while True:
            try:
                headers = {**self._headers({}), "Accept": "text/event-stream"}
                async with self._client.get(self._url, headers=headers) as answer:
                    if answer.status != 200:
                        return  # it has none, or the next request begins the session again
                    reader, pause = SseReader(), _PAUSE
                    async for chunk in answer.content.iter_any():
                        for frame in reader.feed(chunk):
                            if frame.data:
                                await self._tell(frame.json(), None)
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _headers(self, message: Message) -> dict[str, str]:
        found = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        key = self._hub().api_key
        if key:
            found["Authorization"] = f"Bearer {key}"
        version = version_of(message)
        if version is not None:
            return {**found, **headers_of(message, version, self._annotations)}
        if self._session is not None:
            found["Mcp-Session-Id"] = self._session
            if self._version:
                found["MCP-Protocol-Version"] = self._version
        return found

    @property
    def _url(self) -> str:
        return self._hub().url.rstrip("/") + self._path

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE)
            self._http = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        return self._http


def _key(value: Any) -> Any:
    """An id that may be looked up: 1 and "1" are two."""
    return (type(value).__name__, value) if isinstance(value, str | int | float) else None
