"""Sessions with servers of the official SDK, in every era and over every transport."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from mcp.server.mcpserver import Context

from adapters.mcp.upstream import BadAnswer, Client, Message, RpcError, Session, Target, TimedOut, Upstream
from adapters.outbound import Outbound
from core.egress import Allowed
from core.mcp.words import Era, TransportPreference, VerifiedTransport
from tests.adapters.mcp.sdk_server import WAYS, everything, sdk_server

US = Client({"name": "tests", "version": "1"}, {"elicitation": {"form": {}}})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The leg, which may call loopback."""
    outbound = Outbound(Allowed.parse("127.0.0.1"))
    yield Upstream(outbound)
    await outbound.close()


@asynccontextmanager
async def opened(upstream: Upstream, url: str, **options: Any) -> AsyncIterator[Session]:
    """A session that is closed at the end."""
    session = await upstream.open(Target(uuid4(), url, seconds=20), US, **options)
    try:
        yield session
    finally:
        await session.close()


async def called(session: Session, tool: str, **arguments: Any) -> Mapping[str, Any]:
    """The result of a tool."""
    return (await session.request("tools/call", {"name": tool, "arguments": arguments})).result()


async def test_auto_finds_out_what_a_server_speaks(upstream: Upstream) -> None:
    expected = {
        "dual": (VerifiedTransport.STREAMABLE_HTTP, Era.MODERN, "2026-07-28"),
        "legacy": (VerifiedTransport.STREAMABLE_HTTP, Era.LEGACY, "2025-11-25"),
        "compat": (VerifiedTransport.HTTP_SSE_COMPAT, Era.LEGACY, "2025-11-25"),
    }
    for way, (transport, era, version) in expected.items():
        async with sdk_server(way) as url, opened(upstream, url) as session:
            verdict = session.verdict
            assert (verdict.transport, verdict.era, verdict.version) == (transport, era, version)
            assert session.instructions == "Be kind."
            assert "tools" in session.capabilities


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called(upstream: Upstream, way: str) -> None:
    async with sdk_server(way) as url, opened(upstream, url) as session:
        assert (await called(session, "echo", text="hello"))["content"][0]["text"] == "hello"
        many = await asyncio.gather(*(called(session, "echo", text=str(n)) for n in range(10)))
        assert [one["content"][0]["text"] for one in many] == [str(n) for n in range(10)]


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_of_the_server_is_told_as_it_is(upstream: Upstream, way: str) -> None:
    async with sdk_server(way) as url, opened(upstream, url) as session:
        reply = await session.request("nonsense/method")
        assert reply.error is not None
        with pytest.raises(RpcError):
            reply.result()


@pytest.mark.parametrize("way", WAYS)
async def test_progress_comes_under_the_callers_own_token(upstream: Upstream, way: str) -> None:
    heard: list[Any] = []

    async def hear(message: Message) -> None:
        heard.append((message.method, message.params.get("progressToken"), message.params.get("progress")))

    async with sdk_server(way) as url, opened(upstream, url) as session:
        params = {"name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": "mine"}}
        reply = await session.request("tools/call", params, on_message=hear)
        assert reply.result()["content"][0]["text"] == "counted"
    assert heard == [("notifications/progress", "mine", n) for n in (1, 2, 3)]


@pytest.mark.parametrize("way", ["legacy", "compat"])
async def test_a_question_of_the_server_is_answered_by_who_made_the_call(
    upstream: Upstream, way: str
) -> None:
    async def answer(message: Message) -> Mapping[str, Any]:
        assert message.method == "elicitation/create"
        return {"action": "accept", "content": {"colour": "green"}}

    async with sdk_server(way) as url, opened(upstream, url) as session:
        asked = {"name": "ask", "arguments": {}}
        reply = await session.request("tools/call", asked, on_message=answer)
        assert reply.result()["content"][0]["text"] == "green"


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_ends_when_its_time_is_over_and_others_go_on(upstream: Upstream, way: str) -> None:
    async with sdk_server(way) as url, opened(upstream, url) as session:
        with pytest.raises(TimedOut):
            await session.request("tools/call", {"name": "hang", "arguments": {}}, seconds=0.2)
        assert (await called(session, "echo", text="still"))["content"][0]["text"] == "still"


async def test_a_server_of_both_eras_is_spoken_to_in_either(upstream: Upstream) -> None:
    async with sdk_server("dual") as url:
        for era in Era:
            async with opened(upstream, url, era=era) as session:
                assert session.verdict.era is era
                assert (await called(session, "echo", text="x"))["content"][0]["text"] == "x"


async def test_a_preference_is_kept(upstream: Upstream) -> None:
    async with sdk_server("compat") as url:
        wanted = Target(uuid4(), url, TransportPreference.STREAMABLE_HTTP, seconds=20)
        with pytest.raises(BadAnswer):
            await upstream.open(wanted, US)


@pytest.mark.parametrize("way", WAYS)
async def test_a_changed_list_is_heard_of(upstream: Upstream, way: str) -> None:
    heard = asyncio.Event()

    async def hear(message: Message) -> None:
        if message.method == "notifications/tools/list_changed":
            heard.set()

    server = everything()

    @server.tool()
    async def change(ctx: Context[Any, Any]) -> str:
        """Tells that the tools have changed."""
        if way == "dual":
            await ctx.notify_tools_changed()
        else:
            await ctx.session.send_tool_list_changed()
        return "told"

    async with sdk_server(way, server) as url, opened(upstream, url) as session:
        listening = asyncio.ensure_future(session.listen(hear, {"toolsListChanged": True}))
        async with asyncio.timeout(20):
            while not heard.is_set():
                await called(session, "change")
                await asyncio.sleep(0.01)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
