"""Agents over REST."""

from uuid import UUID

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub


async def test_an_agent_is_registered_with_a_key_of_its_own(hub: Hub) -> None:
    answer = await hub.post(
        "/agents/register",
        {
            "name": "writer",
            "routing_tags": ["b", "a"],
            "tools": {"required": ["browser"]},
            "metadata": {"team": 1},
            "acp": {"transports": ["stdio"], "session_modes": ["run"]},
        },
    )
    assert answer.status == 201
    agent = answer.data
    assert agent["api_key"].startswith("xd_agent_")
    assert agent["routing_tags"] == ["a", "b"]
    assert agent["tools"] == {"required": ["browser"], "optional": []}
    assert agent["metadata"]["team"] == 1
    assert agent["metadata"]["acp"]["transports"] == ["stdio"]
    me = (await hub.get("/auth/me", key=agent["api_key"])).data
    assert (me["scope"], me["principal_id"], me["owner_type"]) == ("agent", agent["id"], "agent")
    read = (await hub.get(f"/agents/{agent['id']}", key=agent["api_key"])).data
    assert "api_key" not in read
    assert {**read, "api_key": agent["api_key"]} == agent


async def test_a_repeated_registration_makes_one_agent_and_hides_its_key(hub: Hub) -> None:
    body = {"name": "writer", "request_id": "r1"}
    first, again = await hub.post("/agents/register", body), await hub.post("/agents/register", body)
    assert (first.status, again.status) == (201, 201)
    assert again.data["id"] == first.data["id"]
    assert first.data["api_key"]
    assert again.data["api_key"] is None
    assert (await hub.get("/agents")).json["meta"]["total"] == 1


async def test_an_agent_may_do_without_a_key(hub: Hub) -> None:
    answer = await hub.post("/agents/register", {"name": "writer", "issue_api_key": False})
    assert answer.data["api_key"] is None


async def test_an_agents_key_registers_nothing(hub: Hub) -> None:
    agent = await hub.agent()
    answer = await hub.post("/agents/register", {"name": "another"}, key=agent["api_key"])
    assert (answer.status, answer.code) == (403, "FORBIDDEN")


async def test_a_worker_acts_for_the_agents_that_it_registered(hub: Hub) -> None:
    worker, other = await hub.key(Scope.WORKER), await hub.key(Scope.WORKER)
    agent = await hub.agent(key=worker)
    await hub.post("/tasks", {"title": "x"})
    request = {"agent_id": agent["id"]}
    assert (await hub.post("/tasks/claim", request, key=other)).status == 403
    assert (await hub.post("/tasks/claim", request, key=worker)).status == 200


async def test_a_heartbeat_is_acknowledged(hub: Hub) -> None:
    agent, other = await hub.agent(), await hub.agent()
    beat = await hub.send("POST", f"/api/v1/agents/{agent['id']}/heartbeat", key=agent["api_key"])
    assert beat.data == {"ack": True, "status": "active"}
    foreign = await hub.post(f"/agents/{agent['id']}/heartbeat", key=other["api_key"])
    assert (foreign.status, foreign.code) == (403, "FORBIDDEN")
    assert (await hub.post(f"/agents/{UNLIKELY}/heartbeat")).status == 404


async def test_agents_are_listed_by_page_within_their_tenant(hub: Hub) -> None:
    ids = [(await hub.agent())["id"] for _ in range(3)]
    page = await hub.get("/agents?per_page=2")
    assert [agent["id"] for agent in page.data] == [ids[2], ids[1]]
    assert page.json["meta"]["pages"] == 2
    elsewhere = await hub.key(Scope.ADMIN, tenant_id=UUID(int=7))
    assert (await hub.get("/agents", key=elsewhere)).data == []
    assert (await hub.get(f"/agents/{ids[0]}", key=elsewhere)).status == 404


async def test_only_an_idle_agent_is_removed(hub: Hub) -> None:
    agent, busy = await hub.agent(), await hub.agent()
    await hub.claimed(busy)
    assert (await hub.send("DELETE", f"/api/v1/agents/{agent['id']}")).status == 204
    assert (await hub.get(f"/agents/{agent['id']}")).status == 404
    refused = await hub.send("DELETE", f"/api/v1/agents/{busy['id']}")
    assert (refused.status, refused.reason) == (409, "agent_holds_work")
    assert (await hub.get("/tasks", key=agent["api_key"])).status == 401
    assert (await hub.get(f"/agents/{busy['id']}")).status == 200
