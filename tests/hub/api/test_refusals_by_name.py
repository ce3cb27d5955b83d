"""The refusals and rarer successes that routes document and that no story of their rooms meets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Answer, Hub

Json = Mapping[str, Any]
ONE_STAGE = {"stages": [{"name": "s"}]}
MINIMAL = {"prefer": "return=minimal"}
SERVER = {"name": "s", "endpoint_url": "https://93.184.216.34/mcp"}
ERROR = {"category": "x", "message": "y"}


async def changed(hub: Hub, method: str, path: str, json: Json) -> Answer:
    return await hub.send(method, f"/api/v1{path}", json=json)


async def failed(hub: Hub, agent: Json) -> Json:
    """A task that has failed."""
    task = await hub.claimed(agent)
    body = {"lease_id": task["lease_id"], "error": {**ERROR, "recoverable": False}}
    data: Json = (await hub.post(f"/tasks/{task['id']}/fail", body, key=agent["api_key"])).data
    return data


@pytest.mark.parametrize(
    ("path", "make", "method"),
    [
        ("/workspaces", lambda name: {"name": name, "slug": name}, "PATCH"),
        (
            "/playbooks",
            lambda name: {
                "name": name,
                "slug": name,
                "outcome": "o",
                "definition": {"stages": [{"name": "s"}]},
            },
            "PUT",
        ),
        ("/config/roles", lambda name: {"name": name}, "PUT"),
        (
            "/remote-mcp-oauth-client-profiles",
            lambda name: {"name": name, "token_endpoint": "https://93.184.216.34/token", "client_id": "c"},
            "PUT",
        ),
    ],
    ids=["workspaces", "playbooks", "roles", "profiles"],
)
async def test_a_name_that_another_has_is_refused_on_change_too(
    hub: Hub, path: str, make: Any, method: str
) -> None:
    first = await hub.post(path, make("one"))
    second = await hub.post(path, make("two"))
    assert (first.status, second.status) == (201, 201), (first.body, second.body)
    answer = await changed(hub, method, f"{path}/{second.data['id']}", make("one"))
    assert answer.status == 409, answer.body


async def test_what_was_said_once_under_a_request_id_is_not_said_otherwise(hub: Hub) -> None:
    for path, body, other in [
        ("/api-keys", {"scope": "service", "label": "a"}, {"scope": "service", "label": "b"}),
        ("/agents/register", {"name": "a"}, {"name": "b"}),
    ]:
        assert (await hub.post(path, {**body, "request_id": "r"})).status == 201
        assert (await hub.post(path, {**other, "request_id": "r"})).status == 409, path


async def test_what_a_reference_names_has_to_be_there(hub: Hub) -> None:
    agent = await hub.agent(protocol="acp", acp={"transports": ["stdio"], "session_modes": ["session"]})
    session = {"transport": "stdio", "mode": "session", "workspace_path": "/w"}
    for path, body in [
        ("/api-keys", {"scope": "agent", "owner_type": "agent", "owner_id": UNLIKELY}),
        ("/tasks", {"title": "x", "parent_id": UNLIKELY}),
        ("/acp/sessions", {"agent_id": UNLIKELY, **session}),
        ("/acp/claim", {"agent_id": UNLIKELY, "session": session}),
        ("/remote-mcp-servers/oauth/authorize", {**SERVER, "oauth_client_profile_id": UNLIKELY}),
    ]:
        answer = await hub.post(path, body)
        assert answer.status == 404, (path, answer.status, answer.body)
    assert agent["id"] != UNLIKELY


async def test_an_executor_that_prefers_it_is_answered_with_nothing(hub: Hub) -> None:
    agent = await hub.agent()
    bodies: Sequence[tuple[str, Json]] = (("fail", {"error": ERROR}), ("refuse", {"reason": "no"}))
    for what, body in bodies:
        task = await hub.claimed(agent)
        answer = await hub.post(
            f"/tasks/{task['id']}/{what}",
            {"lease_id": task["lease_id"], **body},
            key=agent["api_key"],
            headers=MINIMAL,
        )
        assert (answer.status, answer.body) == (204, b"")


async def test_a_claimed_task_is_started_by_a_call_of_its_own(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent, start=False)
    body = {"lease_id": task["lease_id"]}
    started = await hub.post(f"/tasks/{task['id']}/start", body, key=agent["api_key"])
    assert (started.status, started.data["state"]) == (200, "in_progress")


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("cancel", {"lease_id": UNLIKELY}),
        ("approve-output", {}),
        ("rework", {"feedback": "f"}),
        ("request-changes", {"feedback": "f"}),
        ("escalate", {"reason": "r"}),
        ("agent-escalate", {"reason": "r"}),
        ("resolve-escalation", {"instructions": "i"}),
    ],
)
async def test_a_move_from_a_state_that_does_not_have_it_is_refused(hub: Hub, what: str, body: Json) -> None:
    task = (await hub.post("/tasks", {"title": "nobody has begun it"})).data
    answer = await hub.post(f"/tasks/{task['id']}/{what}", body)
    assert answer.status == 409, (what, answer.status, answer.body)


async def test_what_is_told_late_is_refused(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    await hub.post(f"/tasks/{task['id']}/cancel")
    late = {"lease_id": task["lease_id"]}
    told: Sequence[tuple[str, str, Json]] = (
        ("POST", "updates", {"updates": [{"kind": "agent_message_chunk", "body": {}}]}),
        ("PUT", "session", {"agent_session_id": "s"}),
    )
    for method, what, body in told:
        path = f"/api/v1/tasks/{task['id']}/{what}"
        answer = await hub.send(method, path, json={**late, **body}, key=agent["api_key"])
        assert answer.status == 409, (what, answer.body)


async def test_credentials_are_for_whoever_holds_the_task(hub: Hub) -> None:
    agent, asker = await hub.agent(), await hub.key(Scope.AGENT)
    await hub.post("/tasks", {"title": "x"}, key=asker)
    claim = {"agent_id": agent["id"], "start": True}
    task = (await hub.post("/tasks/claim", claim, key=agent["api_key"])).data
    body = {"gateway_claim_handle": task["credentials"]["gateway_claim_handle"]}
    assert (await hub.post(f"/tasks/{task['id']}/claim-credentials", body, key=asker)).status == 403


async def test_an_escalation_is_asked_for_answered_and_over(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    raised = await hub.post(f"/tasks/{task['id']}/escalate", {"reason": "stuck"})
    assert (raised.status, raised.data["state"]) == (200, "escalated"), raised.body
    solved = await hub.post(f"/tasks/{task['id']}/resolve-escalation", {"instructions": "go left"})
    assert (solved.status, solved.data["state"]) == (200, "ready"), solved.body


async def test_a_task_of_another_face_is_done_again_as_a_new_one(hub: Hub) -> None:
    made = await hub.post("/a2a/tasks", {"task": {"title": "x"}})
    assert made.status == 201, made.body
    agent = await hub.agent()
    claim = {"agent_id": agent["id"], "start": True}
    held = (await hub.post("/tasks/claim", claim, key=agent["api_key"])).data
    body = {"lease_id": held["lease_id"], "error": {**ERROR, "recoverable": False}}
    await hub.post(f"/tasks/{held['id']}/fail", body, key=agent["api_key"])
    again = await hub.post(f"/tasks/{held['id']}/retry")
    assert (again.status, again.data["id"] != held["id"]) == (201, True)
