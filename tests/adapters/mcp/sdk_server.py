"""A server of the official Python SDK on a socket, in each way in which the hub may have to speak to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

WAYS = ("dual", "legacy", "compat")


class Answer(BaseModel):
    """What is asked for."""

    colour: str


def everything() -> MCPServer:
    """A server with something of each kind."""
    server = MCPServer("everything", instructions="Be kind.", version="1.2.3")

    @server.tool(title="Echo it")
    def echo(text: str) -> str:
        """Says it again."""
        return text

    @server.tool()
    async def count(to: int, ctx: Context[Any, Any]) -> str:
        """Counts, and tells how far it is."""
        for number in range(to):
            await ctx.report_progress(number + 1, to)
        return "counted"

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> str:
        """Asks for a colour."""
        result = await ctx.elicit("Which colour?", Answer)
        return result.data.colour if result.action == "accept" else result.action

    @server.tool()
    async def hang() -> str:
        """Never ends."""
        await asyncio.Event().wait()
        return ""

    @server.resource("note://one")
    def note() -> str:
        """A note."""
        return "the note"

    @server.resource("note://{name}/text")
    def named(name: str) -> str:
        """Any note."""
        return name

    @server.prompt()
    def greet(who: str) -> str:
        """A greeting."""
        return f"Greet {who}"

    return server


class HandshakeOnly:
    """In front of a server of both eras: what only the modern one has is refused, as older servers do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        if headers.get(b"mcp-protocol-version", b"").startswith(b"2026"):
            body = b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request"}}'
            said = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": said})
            await send({"type": "http.response.body", "body": body})
        else:
            await self._app(scope, receive, send)


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The origin under which an app answers while the block runs."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await running


@asynccontextmanager
async def sdk_server(way: str, server: MCPServer | None = None) -> AsyncIterator[str]:
    """The endpoint of a server that is spoken to in one of `WAYS`."""
    made = server or everything()
    if way == "compat":
        async with served(made.sse_app()) as origin:
            yield f"{origin}/sse"
    else:
        app: ASGIApp = made.streamable_http_app()
        async with served(HandshakeOnly(app) if way == "legacy" else app) as origin:
            yield f"{origin}/mcp"
