"""Servers of the official TypeScript SDKs, looked at and called by the hub: both eras, and HTTP+SSE."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from adapters.mcp.upstream import Client, Message, Session, Target, Upstream
from adapters.mcp.upstream.discovery import ServerReader, client_info
from adapters.outbound import Outbound
from core.egress import Allowed
from core.mcp.ports import ServerWanted
from core.mcp.words import AuthMode, Era, ItemKind, ServerKind, TransportPreference, VerifiedTransport

pytestmark = pytest.mark.peers
SCRIPT = Path(__file__).parents[1] / "js" / "mcp_server.mjs"
US = Client({"name": "tests", "version": "1"}, {"elicitation": {"form": {}}})
EXPECTED = {
    "dual": (VerifiedTransport.STREAMABLE_HTTP, Era.MODERN, ["2026-07-28", "2025-11-25"]),
    "legacy": (VerifiedTransport.STREAMABLE_HTTP, Era.LEGACY, ["2025-11-25"]),
    "compat": (VerifiedTransport.HTTP_SSE_COMPAT, Era.LEGACY, ["2025-11-25"]),
}


@asynccontextmanager
async def typescript(peers: Path, way: str) -> AsyncIterator[str]:
    """The endpoint of a server that runs while the block does."""
    script = peers / SCRIPT.name
    script.write_bytes(SCRIPT.read_bytes())  # modules are found beside it
    process = await asyncio.create_subprocess_exec(
        "node", str(script), way, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)


@asynccontextmanager
async def opened(outbound: Outbound, url: str) -> AsyncIterator[Session]:
    """A session that is closed at the end."""
    session = await Upstream(outbound).open(Target(uuid4(), url, seconds=20), US)
    yield session
    await session.close()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """The guarded client, which may call loopback."""
    outbound = Outbound(Allowed.parse("127.0.0.1"))
    yield outbound
    await outbound.close()


@pytest.mark.parametrize("way", EXPECTED)
async def test_everything_that_it_offers_is_found(peers: Path, outbound: Outbound, way: str) -> None:
    async with typescript(peers, way) as url:
        wanted = ServerWanted(
            uuid4(), uuid4(), ServerKind.MCP, url, TransportPreference.AUTO, AuthMode.NONE, 20
        )
        found = await ServerReader(outbound, client_info("1")).look(wanted)
    assert (found.transport, found.era, list(found.versions)) == EXPECTED[way]
    assert found.info["name"] == "typescript"
    named = {(item.kind, item.name) for item in found.items}
    assert {(ItemKind.TOOL, "echo"), (ItemKind.PROMPT, "greet"), (ItemKind.RESOURCE, "note://one")} <= named
    assert found.warnings == []


@pytest.mark.parametrize("way", EXPECTED)
async def test_its_tools_are_called(peers: Path, outbound: Outbound, way: str) -> None:
    async with typescript(peers, way) as url, opened(outbound, url) as session:

        async def said(tool: str, **arguments: Any) -> Mapping[str, Any]:
            reply = await session.request("tools/call", {"name": tool, "arguments": arguments})
            return reply.result()

        many = await asyncio.gather(*(said("echo", text=str(n)) for n in range(10)))
        assert [one["content"][0]["text"] for one in many] == [str(n) for n in range(10)]
        assert (await said("boom"))["isError"] is True


@pytest.mark.parametrize("way", ["legacy", "compat"])
async def test_its_questions_are_answered(peers: Path, outbound: Outbound, way: str) -> None:
    async def answer(message: Message) -> Mapping[str, Any]:
        assert message.method == "elicitation/create"
        return {"action": "accept", "content": {"colour": "green"}}

    async with typescript(peers, way) as url, opened(outbound, url) as session:
        reply = await session.request("tools/call", {"name": "ask", "arguments": {}}, on_message=answer)
        assert reply.result()["content"][0]["text"] == "green"
