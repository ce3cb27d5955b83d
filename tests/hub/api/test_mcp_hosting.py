"""Hosting MCP servers over REST: who may, under which lease, and how a server comes to be verified by it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.store import open_store
from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub, running

PATH = "/mcp-hosting"


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub."""
    async with running(open_store(database_url)) as hub:
        yield hub


@pytest.fixture
async def worker(hub: Hub) -> str:
    """The key of a worker."""
    return await hub.key(Scope.WORKER, "worker")


async def hosted(hub: Hub, key: str, **members: Any) -> Mapping[str, Any]:
    """A hosting."""
    made = await hub.post(PATH, {"name": "Files", **members}, key=key)
    assert made.status == 201, made.body
    data: Mapping[str, Any] = made.data
    return data


class Host:
    """A worker that answers for a program with one tool."""

    def __init__(self, hub: Hub, key: str, hosting: Mapping[str, Any]) -> None:
        self._hub = hub
        self._key = key
        self._path = f"{PATH}/{hosting['server_id']}"
        self._lease = hosting["lease_id"]
        self._number = 0

    async def run(self) -> None:
        """Answer until cancelled."""
        taken: list[str] = []
        while True:
            asked = {"lease_id": self._lease, "taken": taken, "wait_seconds": 5}
            work = (await self._hub.post(f"{self._path}/next", asked, key=self._key)).data
            taken = [frame["id"] for frame in work["frames"]]
            for frame in work["frames"]:
                if frame["kind"] == "message":
                    await self._answer(frame["channel_id"], json.loads(frame["body"]))

    async def _answer(self, channel_id: str, message: Mapping[str, Any]) -> None:
        if "id" not in message:
            return
        if message["method"] == "initialize":
            result: dict[str, Any] = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "program", "version": "1"},
            }
        else:
            result = {"tools": [{"name": "read", "inputSchema": {"type": "object"}}]}
        self._number += 1
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        number = str(UUID(int=self._number))
        frame = {"id": number, "channel_id": channel_id, "kind": "message", "body": body}
        told = {"lease_id": self._lease, "frames": [frame]}
        assert (await self._hub.post(f"{self._path}/messages", told, key=self._key)).status == 204


async def test_a_hosted_server_is_verified_through_its_worker(hub: Hub, worker: str) -> None:
    hosting = await hosted(hub, worker, description="What is here", places=2)
    assert hosting["slug"] == "files"
    path = f"/remote-mcp-servers/{hosting['server_id']}"
    working = asyncio.ensure_future(Host(hub, worker, hosting).run())
    try:
        async with asyncio.timeout(20):
            while (server := (await hub.get(path)).data)["verification_status"] != "verified":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert (server["kind"], server["verified_transport"]) == ("hosted", "stdio")
    assert (server["endpoint_url"], server["description"]) == ("", "What is here")
    assert [tool["original_name"] for tool in server["discovered_tools_snapshot"]] == ["read"]
    lease = {"lease_id": hosting["lease_id"]}
    assert (await hub.post(f"{PATH}/{hosting['server_id']}/release", lease, key=worker)).status == 204
    looked = (await hub.post(f"{path}/reverify")).data
    assert (looked["health"], looked["verification_status"]) == ("unreachable", "verified")
    assert looked["health_error"] == "no worker hosts it now"


async def test_only_its_own_worker_hosts_a_server_and_only_with_the_last_lease(hub: Hub, worker: str) -> None:
    first = await hosted(hub, worker)
    again = await hosted(hub, worker)
    assert (again["server_id"], again["lease_id"] == first["lease_id"]) == (first["server_id"], False)
    path = f"{PATH}/{first['server_id']}"
    lost = await hub.post(f"{path}/next", {"lease_id": first["lease_id"]}, key=worker)
    assert (lost.status, lost.reason) == (409, "lease_lost")
    stranger = await hub.key(Scope.WORKER, "stranger")
    taken = await hub.post(PATH, {"name": "Files"}, key=stranger)
    assert (taken.status, taken.reason) == (409, "name_taken")
    spoof = await hub.post(f"{path}/next", {"lease_id": again["lease_id"]}, key=stranger)
    assert spoof.status == 404
    assert (await hub.post(f"{path}/next", {"lease_id": again["lease_id"]}, key=worker)).data[
        "frames"
    ] is not None


async def test_an_agent_hosts_nothing_and_bad_requests_are_told(hub: Hub, worker: str) -> None:
    agent = await hub.key(Scope.AGENT)
    assert (await hub.post(PATH, {"name": "Files"}, key=agent)).status == 403
    lease = {"lease_id": str(uuid4())}
    assert (await hub.post(f"{PATH}/{UNLIKELY}/next", lease, key=worker)).status == 404
    assert (await hub.post(f"{PATH}/{UNLIKELY}/release", lease, key=worker)).status == 204
    for body in (
        {},
        {"name": "x", "places": 0},
        {"name": "x", "command": "rm"},
        {"name": "x", "slug": "A B"},
    ):
        assert (await hub.post(PATH, body, key=worker)).status == 422
    assert (await hub.post(PATH, {"name": "Crossdock"}, key=worker)).status == 400
    hosting = await hosted(hub, worker)
    frames = {"lease_id": hosting["lease_id"], "frames": []}
    assert (await hub.post(f"{PATH}/{hosting['server_id']}/messages", frames, key=worker)).status == 422
