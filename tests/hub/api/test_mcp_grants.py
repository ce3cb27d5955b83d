"""Grants and calls over REST, and the token of a task."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM, Caller
from core.exchange import Exchange
from core.gateway import calls
from core.gateway.calls import Wanted
from core.gateway.task_tokens import ClaimCredentials
from core.keyring import Keyring
from core.store.tx import Tx
from schemas.vocabulary import Scope
from tests.core.gateway.servers import add_server
from tests.fakes import FakeClock
from tests.hub.api.hub import SECRET, UNLIKELY, Hub

GRANT = {"subject": {"kind": "role", "name": "researcher"}, "server": "files", "tool": "get_*"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


async def server(hub: Hub, slug: str = "files") -> UUID:
    """A registered server."""
    id = uuid4()

    async def add(tx: Tx, _: None) -> None:
        await add_server(tx, id, slug)

    await hub.platform.write(SYSTEM(DEFAULT_TENANT), add, None)
    return id


async def credentials(hub: Hub, agent: Any, held: Any, **more: Any) -> Any:
    """What the claim's handle gives."""
    body = {**held["credentials"], "lease_id": held["lease_id"], **more}
    return await hub.post(f"/tasks/{held['id']}/claim-credentials", body, key=agent["api_key"])


async def status(hub: Hub, path: str, token: str, method: str = "POST") -> int:
    """How a request with that token is answered."""
    headers = {"accept": "application/json, text/event-stream"}
    json = LIST if method == "POST" else None
    return (await hub.send(method, path, key=token, json=json, headers=headers)).status


async def test_a_grant_is_given_read_and_taken(hub: Hub) -> None:
    server_id = await server(hub)
    answer = await hub.post("/mcp-grants", {**GRANT, "effect": "approve", "calls_per_minute": 3})
    assert answer.status == 201
    made = answer.data
    assert (made["server"], made["server_id"]) == ("files", str(server_id))
    assert made["subject"] == {"kind": "role", "id": None, "name": "researcher"}
    listed = await hub.get("/mcp-grants?server=files&subject_kind=role")
    assert listed.data == [made]
    path = f"/mcp-grants/{made['id']}"
    assert (await hub.get(path)).data == made
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(path)).status == 404


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"server": "other"}, 404),
        ({"server": str(uuid4())}, 404),
        ({"subject": {"kind": "agent", "id": UNLIKELY}}, 404),
        ({"subject": {"kind": "role", "id": UNLIKELY}}, 400),
        ({"subject": {"kind": "task", "name": "x"}}, 400),
        ({"subject": {"kind": "nobody", "name": "x"}}, 422),
        ({"effect": "maybe"}, 422),
        ({"tool": ""}, 422),
    ],
)
async def test_a_wrong_grant_is_refused(hub: Hub, change: dict[str, Any], status: int) -> None:
    await server(hub)
    assert (await hub.post("/mcp-grants", {**GRANT, **change})).status == status


async def test_an_agent_gives_no_grants(hub: Hub) -> None:
    await server(hub)
    key = await hub.key(Scope.AGENT)
    assert (await hub.post("/mcp-grants", GRANT, key=key)).status == 403
    assert (await hub.get("/mcp-grants", key=key)).status == 403


async def test_the_handle_of_a_claim_gives_the_token_of_its_task(hub: Hub) -> None:
    agent = await hub.agent()
    held = await hub.claimed(agent)
    answer = await credentials(hub, agent, held)
    assert answer.headers["cache-control"] == "no-store"
    gateway = answer.data["gateway"]
    assert gateway["url"].endswith("/mcp")
    token = gateway["token"]
    assert await status(hub, "/mcp", token) != 401
    assert await status(hub, "/api/v1/tasks", token, "GET") == 401
    assert await status(hub, "/a2a", token) == 401
    assert await status(hub, "/mcpx", token) == 401
    assert await status(hub, "/mcp/crossdock", token) == 404  # what the hub itself offers is not the task's


async def test_a_handle_is_its_holders_alone(hub: Hub) -> None:
    agent, other = await hub.agent(), await hub.agent()
    held = await hub.claimed(agent)
    assert (await credentials(hub, other, held)).status == 404
    wrong = await credentials(hub, agent, held, gateway_claim_handle=f"gateway:{uuid4()}")
    assert wrong.status == 422
    wrong = await credentials(hub, agent, held, gateway_claim_handle="x", lease_id=None)
    assert wrong.status == 422


async def test_a_token_dies_with_its_lease(hub: Hub, clock: FakeClock) -> None:
    agent = await hub.agent()
    held = await hub.claimed(agent)
    token = (await credentials(hub, agent, held)).data["gateway"]["token"]
    body = {"lease_id": held["lease_id"], "output": "done"}
    await hub.post(f"/tasks/{held['id']}/complete", body, key=agent["api_key"])
    clock.advance(3)  # what was proven is believed for two seconds
    assert await status(hub, "/mcp", token) == 401
    assert (await credentials(hub, agent, held)).status == 409


async def test_a_token_dies_with_the_key_that_asked_for_it(hub: Hub) -> None:
    agent = await hub.agent()
    held = await hub.claimed(agent)
    token = (await credentials(hub, agent, held)).data["gateway"]["token"]
    assert await status(hub, "/mcp", token) != 401
    keys = (await hub.get("/api-keys?per_page=100")).data
    (own,) = [key["id"] for key in keys if key["principal_id"] == agent["id"]]
    assert (await hub.send("DELETE", f"/api/v1/api-keys/{own}")).status < 300
    assert await status(hub, "/mcp", token) == 401


async def test_calls_are_read_by_whoever_may(hub: Hub) -> None:
    server_id = await server(hub)
    await hub.post("/mcp-grants", {**GRANT, "tool": "*"})
    agent = await hub.agent(routing_tags=["role:researcher"])
    held = await hub.claimed(agent, role="researcher")
    agent_id, task_id, lease_id = (UUID(id) for id in (agent["id"], held["id"], held["lease_id"]))
    caller = Caller(
        agent_id, DEFAULT_TENANT, Scope.AGENT, "agent", str(agent_id), task_id=task_id, lease_id=lease_id
    )
    wanted = Wanted(hub.platform.new_id(), server_id, "files", "get_x", "h", {"a": 1}, "d", "{}")
    assert await hub.platform.write(caller, calls.begin, wanted) is not None
    of_task = (await hub.get(f"/tasks/{held['id']}/mcp-calls")).data
    (one,) = (await hub.get("/mcp-calls?state=started")).data
    assert of_task == [one]
    assert (one["tool"], one["arguments"], one["principal_id"]) == ("get_x", {"a": 1}, agent["id"])
    assert (await hub.get(f"/mcp-calls/{one['id']}", key=agent["api_key"])).data == one
    stranger = await hub.key(Scope.AGENT)
    assert (await hub.get("/mcp-calls", key=stranger)).data == []
    assert (await hub.get(f"/mcp-calls/{one['id']}", key=stranger)).status == 404
    assert (await hub.get(f"/tasks/{held['id']}/mcp-calls", key=stranger)).status == 404


async def test_a_token_for_another_audience_opens_no_gateway(hub: Hub) -> None:
    agent = await hub.agent()
    held = await hub.claimed(agent)
    agent_id, task_id, lease_id = (UUID(id) for id in (agent["id"], held["id"], held["lease_id"]))
    caller = Caller(agent_id, DEFAULT_TENANT, Scope.AGENT, "agent", str(agent_id))
    command = ClaimCredentials(task_id, held["credentials"]["gateway_claim_handle"], lease_id)
    elsewhere = Exchange(hub.platform, Keyring(SECRET.key), "https://other.example")
    tokens = [(await elsewhere.open_task(caller, command)).token.text]
    granted = (await hub.post("/auth/token", {"api_key": agent["api_key"]}, key=None)).data
    tokens.append(granted["refresh_token"])
    for token in tokens:
        for path in ("/mcp", "/mcp/files", "/mcp/crossdock"):
            assert await status(hub, path, token) == 401
    assert await status(hub, "/mcp", granted["token"]) != 401
