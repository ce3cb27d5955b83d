"""The official Python client, in the era of sessions and in the modern one, against a real hub."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.conformance.hub_process import RunningHub, running_hub

MODES = ["legacy", "auto", "2026-07-28"]


@asynccontextmanager
async def client_of(hub: RunningHub, key: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    """The official client, connected."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{hub.url}/mcp/crossdock", http_client=http)
        async with Client(transport, mode=mode, **options) as client:
            yield client


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(params=MODES)
def connect(request: pytest.FixtureRequest, hub: RunningHub) -> Connect:
    """Connects a client of somebody who submits, in each mode.

    The client's scopes end in the task that they began in, so it is no fixture itself.
    """
    mode: str = request.param
    key = hub.key_for(f"mcp-{mode}")
    return lambda: client_of(hub, key, mode)


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool returns."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


async def test_each_mode_speaks_its_own_revision(hub: RunningHub) -> None:
    for mode, version in (("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")):
        async with client_of(hub, hub.admin_key, mode) as client:
            assert client.protocol_version == version


async def test_a_task_is_submitted_and_awaited(connect: Connect) -> None:
    async with connect() as peer:
        told = await called(peer, "submit_task", title="t", input="echo hello", wait_seconds=20)
        assert (told["state"], told["output"]) == ("completed", "hello")


async def test_progress_is_told_while_a_call_waits(connect: Connect) -> None:
    async with connect() as peer:
        heard: list[str | None] = []

        async def told(progress: float, total: float | None, message: str | None) -> None:
            heard.append(message)

        work = {"title": "t", "input": "ask What next?", "wait_seconds": 20}
        asked = await peer.call_tool("submit_task", work, progress_callback=told)
        assert asked.structured_content is not None
        task_id = asked.structured_content["id"]
        assert asked.structured_content["questions"][0]["parts"] == [{"text": "What next?"}]
        assert heard[0] == "ready"
        await called(peer, "answer_task", task_id=task_id, text="that")
        ended = await called(peer, "get_task", task_id=task_id, wait_seconds=20)
        assert ended["state"] == "completed"


async def test_refusals_reach_the_model(connect: Connect) -> None:
    async with connect() as peer:
        refused = await peer.call_tool("get_task", {"task_id": "nonsense"})
        assert refused.is_error
        with pytest.raises(MCPError):
            await peer.call_tool("no_such_tool", {})


async def test_resources_are_listed_and_read(connect: Connect) -> None:
    async with connect() as peer:
        task = await called(peer, "submit_task", title="to be read", input="echo x", wait_seconds=20)
        listed = await peer.list_resources()
        assert task["uri"] in [str(resource.uri) for resource in listed.resources]
        read = await peer.read_resource(task["uri"])
        assert '"completed"' in read.contents[0].text  # type: ignore[union-attr]  # it is text
        templates = await peer.list_resource_templates()
        assert [found.name for found in templates.resource_templates] == ["task", "artifact", "workflow"]


async def test_a_modern_client_hears_of_changes(hub: RunningHub) -> None:
    async with client_of(hub, hub.key_for("mcp-listener"), "2026-07-28") as client:
        task = await called(client, "submit_task", title="t", input="wait")
        async with client.listen(resource_subscriptions=[task["uri"]]) as heard:
            await called(client, "cancel_task", task_id=task["id"])
            async with asyncio.timeout(10):
                async for event in heard:
                    assert task["uri"] in str(event)
                    break


async def test_a_session_survives_a_restart_of_the_hub(tmp_path: Path) -> None:
    port = None
    headers: dict[str, str] = {}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
    with running_hub(tmp_path) as first:
        port, key = first.url, first.admin_key
        headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        async with httpx2.AsyncClient(headers=headers) as http:
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x"}}
            hello = {**body, "method": "initialize", "params": params}
            answer = await http.post(f"{first.url}/mcp/crossdock", json=hello)
            headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
    with running_hub(tmp_path) as second:
        assert second.url != port
        async with httpx2.AsyncClient(headers=headers) as http:
            answer = await http.post(f"{second.url}/mcp/crossdock", json=body)
        assert (answer.status_code, answer.json()["result"]) == (200, {})


async def test_without_a_credential_a_client_learns_where_to_look(hub: RunningHub) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.post(f"{hub.url}/mcp/crossdock", json={})
        told = answer.headers["www-authenticate"]
        assert answer.status_code == 401
        metadata = f"{hub.url}/.well-known/oauth-protected-resource/mcp/crossdock"
        assert f'resource_metadata="{metadata}"' in told
        assert (await http.get(metadata)).json()["resource"] == f"{hub.url}/mcp/crossdock"
        key = {"Authorization": f"Bearer {hub.admin_key}"}
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        unknown = await http.post(f"{hub.url}/mcp/nobody", json=ping, headers=key)
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -31404)


async def test_a_page_of_another_site_is_refused(hub: RunningHub) -> None:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {hub.admin_key}"}) as http:
        answer = await http.post(
            f"{hub.url}/mcp/crossdock", json={}, headers={"Origin": "https://evil.example"}
        )
        assert answer.status_code == 403
        answer = await http.post(f"{hub.url}/mcp/crossdock", json={}, headers={"Host": "evil.example"})
        assert answer.status_code == 421


async def test_a_body_has_a_limit(hub: RunningHub) -> None:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {hub.admin_key}"}) as http:
        large = b'{"jsonrpc":"2.0","x":"' + b"x" * (10 * 2**20) + b'"}'
        headers = {"Content-Type": "application/json"}
        answer = await http.post(f"{hub.url}/mcp/crossdock", content=large, headers=headers)
        assert answer.status_code == 413
