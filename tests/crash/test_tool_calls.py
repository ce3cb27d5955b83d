"""A call that needs leave reaches its server once at most, wherever hub, client or worker die.

The points are named after what has happened when the process dies. Between the call and its answer nobody can
know what became of it: then the record says so, and nothing is repeated. All of it stays on record.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from core.approvals import DecideApproval, decide
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM
from core.platform import Platform
from core.store import open_store
from tests.adapters.mcp.scripted_server import ScriptedServer, tool
from tests.adapters.mcp.support import ACCEPT, META, VERSION
from tests.conftest import POSTGRES
from tests.crash.hub_process import ADMIN_KEY, HubProcess
from tests.crash.run import postgres_database

SECONDS = 30.0
CALL = {"name": "pay", "arguments": {"amount": 5}}


@dataclass
class Till:
    """A server whose tool is called once at most, and whose answer a test may hold back."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    payments: int = 0

    def renew(self) -> None:
        """Begin anew."""
        self.arrived, self.free, self.answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.payments = 0

    async def pay(self, request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        """Take the money."""
        self.payments += 1
        self.arrived.set()
        await self.free.wait()
        result = {"content": [{"type": "text", "text": "paid"}]}
        response = web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})
        with contextlib.suppress(ConnectionError):  # whoever asked may be dead
            await response.prepare(request)
            await response.write_eof()
        self.answered.set()
        return response


@dataclass
class Scene:
    """A hub that will die, a server, and an agent with the token of its task."""

    hub: HubProcess
    till: Till
    http: aiohttp.ClientSession
    agent: Mapping[str, Any] = field(default_factory=dict)
    held: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""

    async def rest(self, method: str, path: str, body: Any = None, key: str = ADMIN_KEY) -> Any:
        """A call of REST, which must succeed."""
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.hub.url}/api/v1{path}"
        async with self.http.request(method, url, json=body, headers=headers) as answer:
            told = await answer.json()
            assert answer.status < 300, told
            return told["data"]

    async def task(self) -> None:
        """A new task that the agent does, with a till that has not been paid."""
        self.till.renew()
        await self.rest("POST", "/tasks", {"title": "pay", "role": "cashier"})
        await self.begin()

    async def begin(self) -> None:
        """Let the agent take the task, and fetch its token."""
        claim = {"agent_id": self.agent["id"], "start": True, "lease_seconds": 3600}
        self.held = await self.rest("POST", "/tasks/claim", claim, self.agent["api_key"])
        path = f"/tasks/{self.held['id']}/claim-credentials"
        given = await self.rest("POST", path, self.held["credentials"], self.agent["api_key"])
        self.token = given["gateway"]["token"]

    async def call(self) -> Mapping[str, Any]:
        """Ask for the payment: the result."""
        meta = {META + "protocolVersion": VERSION, META + "clientCapabilities": {}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**CALL, "_meta": meta}}
        headers = {"Authorization": f"Bearer {self.token}", "Accept": ACCEPT, "MCP-Protocol-Version": VERSION}
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "pay"}
        async with self.http.post(f"{self.hub.url}/mcp/till", json=body, headers=headers) as answer:
            text = await answer.text()
        if answer.headers["Content-Type"].startswith("text/event-stream"):
            text = [line[6:] for line in text.splitlines() if line.startswith("data: ")][-1]
        told: Mapping[str, Any] = json.loads(text)
        assert "result" in told, told
        result: Mapping[str, Any] = told["result"]
        return result

    async def calls(self) -> list[Mapping[str, Any]]:
        """The task's calls, oldest first."""
        found: list[Mapping[str, Any]] = await self.rest("GET", f"/tasks/{self.held['id']}/mcp-calls")
        return found[::-1]

    async def until(self, state: str, n: int = -1) -> Mapping[str, Any]:
        """A call of the task once it is in that state."""
        async with asyncio.timeout(SECONDS):
            while True:
                calls = await self.calls()
                if calls and calls[n]["state"] == state:
                    return calls[n]
                await asyncio.sleep(0.02)

    async def ask(self) -> Mapping[str, Any]:
        """Ask for the payment, and leave as soon as it is on record."""
        asking = asyncio.ensure_future(self.call())
        try:
            return await self.until("awaiting_approval")
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def approve(self, call: Mapping[str, Any]) -> None:
        """Give leave, over REST."""
        await self.rest("POST", f"/approvals/{call['approval_id']}", {"action": "approve"})

    async def approve_unseen(self, call: Mapping[str, Any]) -> None:
        """Give leave while no hub is there to act on it."""
        platform = Platform(open_store(self.hub.database_url))
        await platform.start()
        try:
            command = DecideApproval(UUID(call["approval_id"]), action="approve")
            await platform.write(SYSTEM(DEFAULT_TENANT), decide, command)
        finally:
            await platform.stop()


@asynccontextmanager
async def scene(directory: Path, url: str) -> AsyncIterator[Scene]:
    """Everything but a task."""
    till = Till()
    server = ScriptedServer(tools=[tool("pay")], faults={"tools/call": till.pay})
    await server.start()
    hub = HubProcess(directory, url, CROSSDOCK_OUTBOUND_ALLOW="127.0.0.1", CROSSDOCK_SECRET_KEY="s" * 48)
    await hub.start()
    try:
        async with aiohttp.ClientSession() as http:
            scene = Scene(hub, till, http)
            body = {"name": "till", "slug": "till", "endpoint_url": server.url}
            await scene.rest("POST", "/remote-mcp-servers", body)
            grant = {"subject": {"kind": "role", "name": "cashier"}, "server": "till", "effect": "approve"}
            await scene.rest("POST", "/mcp-grants", grant)
            agent = {"name": "ada", "routing_tags": ["role:cashier"], "max_concurrent": 10}
            scene.agent = await scene.rest("POST", "/agents/register", agent)
            yield scene
    finally:
        till.free.set()
        await hub.kill()
        await server.stop()


async def before_anybody_decided(scene: Scene) -> None:
    call = await scene.ask()
    await scene.hub.kill()
    await scene.hub.start()
    scene.till.free.set()
    asking = asyncio.ensure_future(scene.call())
    assert (await scene.until("awaiting_approval"))["id"] == call["id"]
    await scene.approve(call)
    assert (await asking)["content"][0]["text"] == "paid"


async def allowed_but_not_sent(scene: Scene) -> None:
    call = await scene.ask()
    await scene.hub.kill()
    await scene.approve_unseen(call)
    scene.till.free.set()
    await scene.hub.start()
    assert (await scene.until("succeeded"))["id"] == call["id"]
    assert (await scene.call())["content"][0]["text"] == "paid"


async def sent_but_not_answered(scene: Scene) -> None:
    call = await scene.ask()
    await scene.approve(call)
    await asyncio.wait_for(scene.till.arrived.wait(), SECONDS)
    await scene.hub.kill()
    scene.till.free.set()
    await scene.hub.start()
    assert (await scene.until("unknown"))["id"] == call["id"]
    told = await scene.call()
    assert told["isError"] is True
    assert told["_meta"]["crossdock/call"] == {
        "id": call["id"],
        "state": "unknown",
        "reason_code": "unknown",
    }
    assert (await scene.ask())["id"] != call["id"]  # once it was told, a person decides anew


async def answered_but_perhaps_not_written(scene: Scene) -> None:
    call = await scene.ask()
    await scene.approve(call)
    scene.till.free.set()
    await asyncio.wait_for(scene.till.answered.wait(), SECONDS)
    await scene.hub.kill()
    await scene.hub.start()
    async with asyncio.timeout(SECONDS):
        while (ended := (await scene.calls())[0])["state"] == "started":  # noqa: ASYNC110 - polling
            await asyncio.sleep(0.02)
    assert ended["state"] in ("succeeded", "unknown")
    told = await scene.call()
    assert told["_meta"]["crossdock/call"]["state"] == ended["state"]


async def written_but_not_told(scene: Scene) -> None:
    call = await scene.ask()  # whoever asked is gone
    await scene.approve(call)
    scene.till.free.set()
    await scene.until("succeeded")
    await scene.hub.kill()
    await scene.hub.start()
    assert (await scene.call())["content"][0]["text"] == "paid"


async def the_worker_died(scene: Scene) -> None:
    call = await scene.ask()
    path = f"/tasks/{scene.held['id']}/lease"
    lease = {"lease_id": scene.held["lease_id"], "extend_seconds": 5}
    await scene.rest("POST", path, lease, scene.agent["api_key"])
    ended = await scene.until("refused")
    assert (ended["id"], ended["error"]["reason_code"]) == (call["id"], "lease_expired")
    async with asyncio.timeout(SECONDS):
        path = f"/tasks/{scene.held['id']}"
        while (await scene.rest("GET", path))["state"] != "ready":  # noqa: ASYNC110 - polling
            await asyncio.sleep(0.05)
    await scene.begin()
    scene.till.free.set()
    again = await scene.ask()
    assert again["attempt"] == 2
    await scene.approve(again)
    assert (await scene.call())["content"][0]["text"] == "paid"


POINTS = {
    "nobody has decided": before_anybody_decided,
    "allowed, not sent": allowed_but_not_sent,
    "sent, not answered": sent_but_not_answered,
    "answered, perhaps not written": answered_but_perhaps_not_written,
    "written, not told": written_but_not_told,
    "the worker is lost": the_worker_died,
}
"""What has happened when somebody dies."""


async def trail(scene: Scene) -> None:
    """Every call that was decided about has its approval, with who decided."""
    approvals = await scene.rest("GET", f"/tasks/{scene.held['id']}/approvals")
    found = {approval["id"]: approval for approval in approvals}
    for call in await scene.calls():
        assert found[call["approval_id"]]["subject"]["arguments_digest"] == call["arguments_digest"]
        if call["state"] in ("succeeded", "unknown"):
            assert found[call["approval_id"]]["decided_by"] is not None


@pytest.mark.timeout(240)
async def test_a_call_reaches_its_server_once_on_sqlite(tmp_path: Path) -> None:
    async with scene(tmp_path, f"sqlite:///{tmp_path}/hub.db") as there:
        for point, happens in POINTS.items():
            await there.task()
            await happens(there)
            assert there.till.payments <= 1, point
            await trail(there)


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(180)
async def test_a_call_reaches_its_server_once_on_postgresql(tmp_path: Path) -> None:
    assert POSTGRES is not None
    async with postgres_database(POSTGRES) as url, scene(tmp_path, url) as there:
        await there.task()
        await allowed_but_not_sent(there)
        assert there.till.payments == 1
        await trail(there)
