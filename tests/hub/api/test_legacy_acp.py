"""The older surface for ACP agents: sessions that agents keep, atomic claims, and nobody else's anything."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.adapters.acp.editor import connected
from tests.hub.api.hub import UNLIKELY, Hub

SESSION = {"transport": "stdio", "mode": "session", "workspace_path": "/home/ada/project"}


@pytest.fixture
async def agent(hub: Hub) -> Mapping[str, Any]:
    """An agent that speaks ACP."""
    profile = {"transports": ["stdio"], "session_modes": ["session"], "capabilities": {"load": True}}
    return await hub.agent(name="coder", protocol="acp", acp=profile, max_concurrent=2)


async def opened(hub: Hub, agent: Mapping[str, Any], **fields: Any) -> Any:
    """The answer to a request for a session."""
    return await hub.post(
        "/acp/sessions", {"agent_id": agent["id"], **SESSION, **fields}, key=agent["api_key"]
    )


async def test_a_session_is_made_and_used_again_while_it_is_open(hub: Hub, agent: Mapping[str, Any]) -> None:
    first = await opened(hub, agent, metadata={"editor": "zed"})
    assert (first.status, first.data["reused"], first.data["status"]) == (201, False, "initializing")
    assert first.data["metadata"] == {"editor": "zed", "protocol": "acp", "capabilities": {"load": True}}
    assert "workflow_id" not in first.data
    again = await opened(hub, agent)
    assert (again.status, again.data["id"], again.data["reused"]) == (200, first.data["id"], True)
    run = await opened(hub, agent, mode="run")
    assert (run.status, run.data["id"] != first.data["id"]) == (201, True)
    path = f"/acp/sessions/{first.data['id']}"
    closed = await hub.post(
        f"{path}/heartbeat", {"status": "closed", "metadata": {"n": 1}}, key=agent["api_key"]
    )
    assert (closed.data["status"], closed.data["metadata"]["n"]) == ("closed", 1)
    assert closed.data["metadata"]["editor"] == "zed"
    assert (await hub.get(path, key=agent["api_key"])).data["status"] == "closed"
    assert (await opened(hub, agent)).status == 201
    reopened = await hub.post(f"{path}/heartbeat", {"status": "idle"}, key=agent["api_key"])
    assert reopened.data["status"] == "idle"


async def test_of_those_who_open_at_once_all_get_the_same_session(hub: Hub, agent: Mapping[str, Any]) -> None:
    answers = await asyncio.gather(*(opened(hub, agent) for _ in range(8)))
    assert len({answer.data["id"] for answer in answers}) == 1
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]


async def test_claim_start_and_session_are_one_step(hub: Hub, agent: Mapping[str, Any]) -> None:
    body = {"agent_id": agent["id"], "session": SESSION}
    assert (await hub.post("/acp/claim", body, key=agent["api_key"])).status == 204
    sent = {"title": "Fix it", "description": "Fix the bug.", "required_tags": ["acp"], "input": {"a": 1}}
    task = (await hub.post("/tasks", sent)).data
    once = {"Idempotency-Key": "c1"}
    turn = (await hub.post("/acp/claim", body, key=agent["api_key"], headers=once)).data
    assert (await hub.post("/acp/claim", body, key=agent["api_key"], headers=once)).data == turn
    assert (turn["task"]["id"], turn["task"]["prompt"]) == (task["id"], "Fix the bug.")
    assert (turn["task"]["cwd"], turn["task"]["input"]["a"]) == ("/home/ada/project", 1)
    assert turn["session"]["agent_id"] == agent["id"]
    assert (await hub.get(f"/tasks/{task['id']}")).data["state"] == "in_progress"
    path = f"/acp/tasks/{task['id']}/output"
    said = {"session_id": turn["session"]["id"], "content": "Fixed.", "diff": "+", "metadata": {"k": 1}}
    wrong = await hub.post(path, {**said, "session_id": UNLIKELY}, key=agent["api_key"])
    assert wrong.status == 404
    done = (await hub.post(path, said, key=agent["api_key"])).data
    assert done["state"] == "completed"
    assert done["output"] == {
        "result": None,
        "content": "Fixed.",
        "terminal_output": None,
        "diff": "+",
        "protocol": "acp",
        "metadata": {"k": 1},
    }


async def test_a_claim_that_can_have_no_session_claims_nothing(hub: Hub, agent: Mapping[str, Any]) -> None:
    task = (await hub.post("/tasks", {"title": "t", "required_tags": ["acp"]})).data
    body = {"agent_id": agent["id"], "session": {**SESSION, "worker_id": UNLIKELY}}
    assert (await hub.post("/acp/claim", body, key=agent["api_key"])).status == 409
    assert (await hub.get(f"/tasks/{task['id']}")).data["state"] == "ready"


async def test_an_agent_that_speaks_no_acp_has_no_session(hub: Hub) -> None:
    plain = await hub.agent(name="plain")
    refused = await opened(hub, plain)
    assert (refused.status, refused.code) == (400, "VALIDATION_ERROR")
    body = {"agent_id": plain["id"], "session": SESSION}
    assert (await hub.post("/acp/claim", body, key=plain["api_key"])).status == 400


async def test_another_agent_neither_sees_nor_closes_nor_completes(
    hub: Hub, agent: Mapping[str, Any]
) -> None:
    other = await hub.agent(name="nosy", protocol="acp")
    far = await hub.key(Scope.AGENT, "somebody")
    session = (await opened(hub, agent)).data
    task = (await hub.post("/tasks", {"title": "t", "required_tags": ["acp"]})).data
    await hub.post("/acp/claim", {"agent_id": agent["id"], "session": SESSION}, key=agent["api_key"])
    for key in (other["api_key"], far):
        path = f"/acp/sessions/{session['id']}"
        assert (await hub.get(path, key=key)).status == 404
        assert (await hub.post(f"{path}/heartbeat", {"status": "closed"}, key=key)).status == 404
        mine = {"agent_id": agent["id"], **SESSION}
        assert (await hub.post("/acp/sessions", mine, key=key)).status == 403
        claim = {"agent_id": agent["id"], "session": SESSION}
        assert (await hub.post("/acp/claim", claim, key=key)).status == 403
        assert (await hub.post(f"/acp/tasks/{task['id']}/output", {}, key=key)).status in (403, 404)
    assert (await hub.get(f"/acp/sessions/{session['id']}", key=agent["api_key"])).data["status"] != "closed"
    assert (await hub.get(f"/acp/sessions/{UNLIKELY}", key=agent["api_key"])).status == 404


async def test_sessions_of_agents_are_no_sessions_of_editors(hub: Hub, agent: Mapping[str, Any]) -> None:
    await opened(hub, agent)
    async with connected(hub, agent["api_key"]) as editor:
        assert await editor.call("session/list") == {"sessions": []}
