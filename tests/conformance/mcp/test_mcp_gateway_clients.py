"""The official clients, in both eras, with servers of both eras and HTTP+SSE behind the gateway."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.conformance.hub_process import RunningHub
from tests.conformance.mcp.gateway_hub import everything, granted

LEGACY, MODERN = "legacy", "2026-07-28"
SCRIPT = Path(__file__).parents[1] / "js" / "mcp_client.mjs"


@pytest.fixture(scope="module")
def keys(gateway: RunningHub) -> Iterator[dict[str, str]]:
    """Servers by how they are spoken to, and the key of somebody who was granted each."""
    with ExitStack() as stack:
        found = {}
        for way, options in (("both", []), ("old", ["--legacy"]), ("sse", ["--compat"])):
            found[way] = granted(gateway, f"to-{way}", stack.enter_context(everything(*options)))
        yield found


@asynccontextmanager
async def client_of(hub: RunningHub, keys: dict[str, str], way: str, mode: str) -> AsyncIterator[Client]:
    """The official Python client, connected to a server behind the gateway."""

    async def elicited(context: Any, params: Any) -> types.ElicitResult:
        said: dict[str, Any] = {"name": "Ann", "username": "Ann", "email": "a@b"}
        return types.ElicitResult(action="accept", content=said)

    async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text="Paris")
        return types.CreateMessageResult(role="assistant", model="none", content=content)

    headers = {"Authorization": f"Bearer {keys[way]}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{hub.url}/mcp/to-{way}", http_client=http)
        options: dict[str, Any] = {"elicitation_callback": elicited, "sampling_callback": sampled}
        async with Client(transport, mode=mode, **options) as client:
            yield client


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
@pytest.mark.parametrize("way", ["both", "old", "sse"])
async def test_the_python_client_finds_everything_behind_the_gateway(
    gateway: RunningHub, keys: dict[str, str], way: str, mode: str
) -> None:
    async with client_of(gateway, keys, way, mode) as client:
        assert len((await client.list_tools()).tools) > 20
        told = await client.call_tool("test_simple_text", {})
        assert told.content[0].text.startswith("This is a simple text")  # type: ignore[union-attr]
        heard: list[float] = []

        async def told_of(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        await client.call_tool("test_tool_with_progress", {}, progress_callback=told_of)
        assert heard == [0, 50, 100]
        in_results = way == "both" and mode == MODERN
        name = "test_input_required_result_elicitation" if in_results else "test_elicitation"
        told = await client.call_tool(name, {} if in_results else {"message": "Who?"})
        assert "Ann" in told.content[0].text  # type: ignore[union-attr]
        name = "test_input_required_result_sampling" if in_results else "test_sampling"
        told = await client.call_tool(name, {} if in_results else {"prompt": "Capital?"})
        assert "Paris" in told.content[0].text  # type: ignore[union-attr]
        prompt = await client.get_prompt("test_simple_prompt")
        assert len(prompt.messages) == 1
        read = await client.read_resource("test://static-text")
        assert "static text" in read.contents[0].text  # type: ignore[union-attr]
        with pytest.raises(MCPError):
            await client.call_tool("nothing", {})


async def test_the_python_client_hears_of_changed_lists(gateway: RunningHub, keys: dict[str, str]) -> None:
    async with (
        client_of(gateway, keys, "both", MODERN) as client,
        client.listen(tools_list_changed=True) as heard,
    ):
        await client.call_tool("test_trigger_tool_change", {})
        async with asyncio.timeout(20):
            async for event in heard:
                assert "tools" in str(event).lower()
                break


@pytest.mark.peers
@pytest.mark.parametrize("mode", [LEGACY, MODERN])
@pytest.mark.parametrize("way", ["both", "old", "sse"])
def test_the_typescript_client_finds_everything_behind_the_gateway(
    gateway: RunningHub, keys: dict[str, str], way: str, mode: str, node: str, peers: Path
) -> None:
    script_mode = mode if way == "both" or mode == LEGACY else "wire"
    command = [node, str(SCRIPT), f"{gateway.url}/mcp/to-{way}", keys[way], mode, str(peers), script_mode]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen["tools"] > 20, seen
    assert seen["text"].startswith("This is a simple text"), seen
    assert seen["progress"] == [0, 50, 100], seen
    assert "Ann" in seen["asked"], seen
    assert "Paris" in seen["sampled"], seen
    assert (seen["prompt"], "error" in seen["unknown"]) == (1, True), seen
    assert "static text" in seen["resource"], seen
