"""An MCP server of the era of sessions that does what a test wants: change, fail, hang, say too much."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answering = Callable[[web.Request, Mapping[str, Any]], Awaitable[web.StreamResponse]]


def tool(name: str, **members: Any) -> dict[str, Any]:
    """A tool."""
    return {"name": name, "description": f"Does {name}", "inputSchema": {"type": "object"}, **members}


@dataclass
class ScriptedServer:
    """Serves on a port of its own, which it keeps when it comes back."""

    tools: list[dict[str, Any]] = field(default_factory=lambda: [tool("one"), tool("two")])
    page_size: int = 100
    instructions: str | None = None
    capabilities: Mapping[str, Any] = field(default_factory=lambda: {"tools": {"listChanged": True}})
    faults: dict[str, Answering] = field(default_factory=dict)
    """By method: what is done instead."""
    requests: list[tuple[Mapping[str, str], Mapping[str, Any]]] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None
    _streams: list[asyncio.Queue[dict[str, Any]]] = field(default_factory=list)
    listened: asyncio.Event = field(default_factory=asyncio.Event)
    resumed: Answering | None = None
    """How a stream is taken up again."""
    resumed_from: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def methods(self) -> list[str]:
        """What was asked, in order."""
        return [str(message.get("method")) for _, message in self.requests]

    async def start(self) -> None:
        """Begin to serve."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._post)
        app.router.add_get("/{path:.*}", self._get)
        app.router.add_delete("/{path:.*}", self._delete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be away."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def say(self, method: str) -> None:
        """Notify whoever listens."""
        for stream in self._streams:
            stream.put_nowait({"jsonrpc": "2.0", "method": method})

    async def _post(self, request: web.Request) -> web.StreamResponse:
        message = await request.json()
        self.requests.append((dict(request.headers), message))
        method = message.get("method", "")
        if method in self.faults:
            return await self.faults[method](request, message)
        known = request.headers.get("Mcp-Session-Id")
        if method == "server/discover":
            return web.Response(status=400, text="no session")
        if method != "initialize" and known not in self.sessions:
            return web.Response(status=404, text="no session")
        if "id" not in message:
            return web.Response(status=202)
        headers = {}
        if method == "initialize":
            headers["Mcp-Session-Id"] = f"s{len(self.requests)}"
            self.sessions.add(headers["Mcp-Session-Id"])
        return answer(message, self._result(method, message.get("params") or {}), headers=headers)

    def _result(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            said: dict[str, Any] = {
                "protocolVersion": "2025-06-18",
                "capabilities": self.capabilities,
                "serverInfo": {"name": "scripted", "version": "1"},
            }
            return said if self.instructions is None else {**said, "instructions": self.instructions}
        if method == "tools/list":
            start = int(params.get("cursor", "0"))
            page = {"tools": self.tools[start : start + self.page_size]}
            end = start + self.page_size
            return page if end >= len(self.tools) else {**page, "nextCursor": str(end)}
        return {"content": [{"type": "text", "text": "done"}]}

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Mcp-Session-Id") not in self.sessions:
            return web.Response(status=405)
        if "Last-Event-ID" in request.headers and self.resumed is not None:
            self.resumed_from.append(request.headers["Last-Event-ID"])
            return await self.resumed(request, self.requests[-1][1])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        stream: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._streams.append(stream)
        self.listened.set()
        try:
            while True:
                said = json.dumps(await stream.get()).encode()
                await response.write(b"event: message\ndata: " + said + b"\n\n")
        finally:
            self._streams.remove(stream)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        known = request.headers.get("Mcp-Session-Id", "")
        self.sessions.discard(known)
        self.deleted.append(known)
        return web.Response(status=204)


def answer(
    message: Mapping[str, Any], result: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A result."""
    said = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    return web.json_response(said, headers=headers)


def status(code: int, **headers: str) -> Answering:
    """Answers with a status and nothing else."""

    async def refuse(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        return web.Response(status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return refuse


def result(value: Mapping[str, Any]) -> Answering:
    """Answers with this result."""

    async def say(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        return answer(message, value)

    return say


def endless(megabytes: int) -> Answering:
    """Answers with far too much."""

    async def flood(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"jsonrpc":"2.0","id":1,"result":{"x":"')
        for _ in range(megabytes):
            await response.write(b"x" * 1024 * 1024)
        return response

    return flood


async def hang(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
