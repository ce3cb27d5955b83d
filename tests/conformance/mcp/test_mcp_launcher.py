"""`crossdock mcp` under the official client: both eras over stdio, and a hub that dies in between."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from hub.launcher import credentials
from tests.conformance.hub_process import RunningHub, running_hub

ROOT = Path(__file__).parents[3]


def environment(directory: Path, key: str) -> dict[str, str]:
    """What a host gives to a command."""
    path = os.environ["PATH"]
    return {
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(directory),
        "CROSSDOCK_API_KEY": key,
        "PATH": path,
    }


@asynccontextmanager
async def host(url: str | None, key: str, mode: str, directory: Path) -> AsyncIterator[Client]:
    """The official client, with the launcher as its server."""
    command = ["-P", "-m", "hub", "mcp", *([] if url is None else ["--url", url])]
    server = StdioServerParameters(command=sys.executable, args=command, env=environment(directory, key))
    async with Client(server, mode=mode) as client:
        yield client


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_a_host_works_with_tasks_in_either_era(
    hub: RunningHub, mode: str, version: str, tmp_path: Path
) -> None:
    async with host(hub.url, hub.key_for(f"host-{mode}"), mode, tmp_path) as client:
        assert client.protocol_version == version
        names = [tool.name for tool in (await client.list_tools()).tools]
        tool = next(name for name in names if name.endswith("submit_task"))
        heard: list[float] = []

        async def heard_progress(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        work = {"title": "t", "input": "echo hello", "wait_seconds": 20}
        done = await client.call_tool(tool, work, progress_callback=heard_progress)
        assert done.structured_content is not None
        assert (done.structured_content["state"], done.structured_content["output"]) == ("completed", "hello")
        refused = await client.call_tool(tool, {})
        assert refused.is_error


async def test_a_restart_of_the_hub_goes_unnoticed(tmp_path: Path) -> None:
    known = credentials.path_of({"XDG_CONFIG_HOME": str(tmp_path)})
    with ExitStack() as first:
        hub = first.enter_context(running_hub(tmp_path))
        key = hub.key_for("host")
        credentials.keep(known, hub.url, key)
        async with host(None, "", "legacy", tmp_path) as client:
            before = {tool.name for tool in (await client.list_tools()).tools}
            first.close()
            asking = asyncio.ensure_future(client.list_tools())
            with running_hub(tmp_path) as second:
                credentials.keep(known, second.url, key)
                after = {tool.name for tool in (await asking).tools}
                tool = next(name for name in after if name.endswith("list_tasks"))
                done = await client.call_tool(tool, {})
    assert before == after
    assert not done.is_error


def test_without_a_key_stdout_has_the_protocol_alone(hub: RunningHub, tmp_path: Path) -> None:
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    }
    lines: list[Any] = [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, "no object"]
    said = subprocess.run(
        [sys.executable, "-P", "-m", "hub", "mcp", "--url", hub.url],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(tmp_path, ""),
        check=False,
    )
    told = [json.loads(line) for line in said.stdout.splitlines()]
    assert {answer["id"] for answer in told} == {1, None}
    assert all("error" in answer for answer in told)
    assert said.returncode == 0
    assert "does not let you in" in said.stderr
