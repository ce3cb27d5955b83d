"""The bridge of `crossdock mcp` when the hub misbehaves: nothing twice, and nothing unanswered."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from hub.launcher.link import Hub
from hub.launcher.mcp_bridge import McpBridge
from hub.launcher.mcp_headers import annotations_of, encoded, headers_of, version_of


class BrokenHub:
    """Takes messages, and hangs up on the first of each method."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        """One message."""
        message = await request.json()
        first = all(known["method"] != message["method"] for known in self.heard)
        self.heard.append(message)
        self.headers.append(dict(request.headers))
        if first:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": {"again": True}})


@pytest.fixture
async def hub() -> AsyncIterator[BrokenHub]:
    """A hub that hangs up."""
    hub = BrokenHub()
    app = web.Application()
    app.router.add_post("/mcp", hub.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield hub
    await runner.cleanup()


class Host:
    """What the host reads."""

    def __init__(self, url: str, patience: float = 30.0) -> None:
        self.read: asyncio.Queue[Any] = asyncio.Queue()
        self.bridge = McpBridge(lambda: Hub(url, "k"), "/mcp", self._put, patience=patience)

    async def _put(self, line: bytes) -> None:
        self.read.put_nowait(json.loads(line))

    async def asks(self, method: str, **params: Any) -> Any:
        """Ask, and read what comes."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        await self.bridge.hear(json.dumps(message).encode())
        async with asyncio.timeout(10):
            return await self.read.get()


async def test_what_may_have_been_done_is_not_sent_again_and_what_only_asks_is(hub: BrokenHub) -> None:
    host = Host(hub.url)
    called = await host.asks("tools/call", name="pay", arguments={})
    assert "may have been done" in called["error"]["message"]
    assert [message["method"] for message in hub.heard] == ["tools/call"]
    assert (await host.asks("tools/list"))["result"] == {"again": True}
    assert [message["method"] for message in hub.heard[1:]] == ["tools/list", "tools/list"]
    await host.bridge.close()


async def test_without_a_hub_every_request_is_answered(unused_tcp_port: int) -> None:
    host = Host(f"http://127.0.0.1:{unused_tcp_port}", patience=0.0)
    assert "crossdock serve" in (await host.asks("tools/list"))["error"]["message"]
    await host.bridge.hear(b"[1,2]")
    assert (await host.read.get())["error"]["code"] == -32700
    await host.bridge.close()


async def test_messages_of_the_modern_era_are_mirrored_in_headers(hub: BrokenHub) -> None:
    host = Host(hub.url)
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    await host.asks("tools/list", _meta=meta)
    assert hub.headers[0]["MCP-Protocol-Version"] == "2026-07-28"
    assert hub.headers[0]["Mcp-Method"] == "tools/list"
    assert hub.headers[0]["Authorization"] == "Bearer k"
    await host.bridge.close()


def test_headers_say_what_the_body_says() -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    call = {"method": "tools/call", "params": {"name": "géo", "arguments": {"a": True}, "_meta": meta}}
    assert version_of(call) == "2026-07-28"
    assert version_of({"method": "ping"}) is None
    listed = {"tools": [{"name": "géo", "inputSchema": {"properties": {"a": {"x-mcp-header": "Way"}}}}]}
    found = headers_of(call, "2026-07-28", annotations_of(listed))
    assert found["Mcp-Name"] == "=?base64?Z8Opbw==?="
    assert found["Mcp-Param-Way"] == "true"
    assert headers_of({"method": "tasks/get", "params": {"taskId": "t"}}, "v", {})["Mcp-Name"] == "t"
    assert (encoded("plain text"), encoded(" x"), encoded(3)) == ("plain text", "=?base64?IHg=?=", "3")
