"""`crossdock worker --mcp` and a real hub, in processes of their own: sessions, deaths, nothing left over."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.hub.client.real_hub import ADMIN_KEY, HUB, Hub, real_hub

PROGRAM = Path(__file__).with_name("mcp_program.py")
PATIENCE = 30.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt its descendants")


@pytest.fixture(name="hub")
async def _hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with real_hub(tmp_path) as hub:
        yield hub


@pytest.fixture(name="http")
async def _http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as http:
        yield http


@asynccontextmanager
async def hosting(hub: Hub, *arguments: str, status: int | None = 0) -> AsyncIterator[Process]:
    """`crossdock worker --mcp`; after the block it must end by itself when told to."""
    program = f"{sys.executable} -I -S {PROGRAM}"
    environ = {**hub.environ, "FAMILY": "yes"}
    process = await asyncio.create_subprocess_exec(
        *(*HUB, "worker", "--mcp", program, "--name", "Program", "--env", "FAMILY", *arguments),
        env=environ,
        stderr=PIPE,
    )
    try:
        yield process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.communicate()
        assert status is None or process.returncode == status
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def api(
    hub: Hub, http: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any] | None = None
) -> Any:
    """The data of an answer."""
    async with http.request(method, f"{hub.url}/api/v1{path}", json=body) as response:
        told = await response.json()
        assert response.status < 300, told
        return told["data"]


async def server_that(hub: Hub, http: aiohttp.ClientSession, **wanted: str) -> Mapping[str, Any]:
    """The hosted server, once it is as wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for server in await api(hub, http, "GET", "/remote-mcp-servers"):
                if all(server[name] == value for name, value in wanted.items()):
                    found: Mapping[str, Any] = server
                    return found
            await asyncio.sleep(0.05)


async def granted(hub: Hub, http: aiohttp.ClientSession) -> None:
    """Let the operator call the server."""
    me = (await api(hub, http, "GET", "/auth/me"))["principal_id"]
    subject = {"kind": "principal", "id": me}
    await api(hub, http, "POST", "/mcp-grants", {"subject": subject, "server": "program"})


async def called(hub: Hub, http: aiohttp.ClientSession, tool: str) -> Mapping[str, Any]:
    """What the gateway answers to a call of a tool."""
    prefix = "io.modelcontextprotocol/"
    meta = {f"{prefix}protocolVersion": "2026-07-28", f"{prefix}clientCapabilities": {}}
    params = {"name": tool, "arguments": {}, "_meta": meta}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with http.post(f"{hub.url}/mcp/program", json=message, headers=headers) as response:
        text = await response.text()
    data = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: {")]
    answer: Mapping[str, Any] = json.loads(data[-1] if data else text)
    return answer


async def text_of(hub: Hub, http: aiohttp.ClientSession, tool: str) -> str:
    """What a tool says."""
    answer = await called(hub, http, tool)
    text: str = answer["result"]["content"][0]["text"]
    return text


async def called_at_last(hub: Hub, http: aiohttp.ClientSession, tool: str) -> str:
    """What a tool says, once its server can be reached again."""
    async with asyncio.timeout(PATIENCE):
        while "result" not in (answer := await called(hub, http, tool)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    text: str = answer["result"]["content"][0]["text"]
    return text


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state not in "ZX":
                parents[int(entry.name)] = int(parent)
    found = [pid] if pid in parents else []
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


async def gone(pids: list[int]) -> None:
    """Wait until none of them is there."""
    async with asyncio.timeout(PATIENCE):
        while any(family(pid) for pid in pids):  # noqa: ASYNC110  nothing announces another's end
            await asyncio.sleep(0.02)


async def test_its_tools_are_granted_and_called_and_when_it_is_told_to_stop_its_programs_end(
    hub: Hub, http: aiohttp.ClientSession
) -> None:
    async with hosting(hub):
        server = await server_that(hub, http, verification_status="verified", health="ok")
        assert (server["kind"], server["slug"], server["verified_transport"]) == (
            "hosted",
            "program",
            "stdio",
        )
        assert server["discovered_tool_count"] == 4
        assert (await called(hub, http, "pid"))["error"]  # nobody was granted it
        await granted(hub, http)
        first = await text_of(hub, http, "pid")
        assert await text_of(hub, http, "pid") == first  # one session, one program
        environ = json.loads(await text_of(hub, http, "env"))
        assert "CROSSDOCK_API_KEY" not in environ
        assert "FAMILY" in environ
        assert len(await text_of(hub, http, "flood")) == 1_000_000
        died = await called(hub, http, "die")
        assert died.get("error") or died["result"]["isError"]
        last = await called_at_last(hub, http, "pid")
        assert last != first  # the next session has a program of its own
    assert family(int(last)) == []
    looked = await api(hub, http, "POST", f"/remote-mcp-servers/{server['id']}/reverify", {})
    assert (looked["health"], looked["verification_status"]) == ("unreachable", "verified")
    assert looked["discovered_tool_count"] == 4


@linux
async def test_a_killed_worker_leaves_no_program_and_the_server_is_unreachable_until_it_is_back(
    hub: Hub, http: aiohttp.ClientSession
) -> None:
    async with hosting(hub, status=None) as worker:
        await server_that(hub, http, verification_status="verified")
        await granted(hub, http)
        pid = int(await text_of(hub, http, "pid"))
        below = family(pid)
        assert len(below) > 1
        worker.kill()
        await worker.communicate()
        await gone(below)
    async with hosting(hub):
        await server_that(hub, http, verification_status="verified", health="ok")
        assert await called_at_last(hub, http, "pid") != str(pid)


async def test_who_hosts_last_hosts_and_the_other_worker_ends(hub: Hub, http: aiohttp.ClientSession) -> None:
    async with hosting(hub, status=1) as first:
        await server_that(hub, http, verification_status="verified")
        async with hosting(hub):
            async with asyncio.timeout(PATIENCE):
                await first.wait()
            assert first.returncode == 1


async def test_a_hub_that_is_killed_finds_its_host_again(hub: Hub, http: aiohttp.ClientSession) -> None:
    async with hosting(hub):
        await server_that(hub, http, verification_status="verified")
        await granted(hub, http)
        await text_of(hub, http, "pid")
        await hub.kill()
        async with asyncio.timeout(PATIENCE):
            await hub.start()
        assert int(await called_at_last(hub, http, "pid")) > 0
