"""Doing tasks over REST: claims, leases, reports."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Hub

Json = Mapping[str, Any]


async def report(hub: Hub, agent: Json, task: Json, what: str, **body: Any) -> Any:
    """Report on a claimed task under its lease."""
    path = f"/tasks/{task['id']}/{what}"
    return await hub.post(path, {"lease_id": task["lease_id"], **body}, key=agent["api_key"])


async def test_nothing_to_claim_answers_204_without_a_body(hub: Hub) -> None:
    agent = await hub.agent()
    for body in ({}, {"limit": 5}):
        answer = await hub.post("/tasks/claim", {"agent_id": agent["id"], **body}, key=agent["api_key"])
        assert (answer.status, answer.body) == (204, b"")
        assert "content-type" not in answer.headers


async def test_a_claim_with_a_limit_answers_a_list(hub: Hub) -> None:
    agent = await hub.agent(max_concurrent=10)
    for n in range(3):
        await hub.post("/tasks", {"title": str(n)})
    request = {"agent_id": agent["id"], "limit": 2, "start": True}
    claimed = (await hub.post("/tasks/claim", request, key=agent["api_key"])).data
    assert [task["title"] for task in claimed] == ["0", "1"]
    assert all(task["state"] == "in_progress" and task["attempt"] == 1 for task in claimed)
    assert len({task["lease_id"] for task in claimed}) == 2
    busy = await hub.post("/tasks/claim", {**request, "limit": 9}, key=agent["api_key"])
    assert (busy.status, busy.code) == (409, "AGENT_BUSY")


async def test_a_busy_agent_gets_its_own_task_again(hub: Hub) -> None:
    agent = await hub.agent()
    first = await hub.claimed(agent)
    again = await hub.post("/tasks/claim", {"agent_id": agent["id"]}, key=agent["api_key"])
    assert again.headers["x-claim-replayed"] == "true"
    assert (again.data["id"], again.data["lease_id"]) == (first["id"], first["lease_id"])


@pytest.mark.parametrize("prefer", ["return=minimal", "respond-async, Return=Minimal;x=1"])
async def test_an_executor_that_prefers_a_minimal_answer_gets_none(hub: Hub, prefer: str) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    for what, body in (("start", {}), ("complete", {"output": 1}), ("complete", {"output": 1})):
        answer = await hub.post(
            f"/tasks/{task['id']}/{what}",
            {"lease_id": task["lease_id"], **body},
            key=agent["api_key"],
            headers={"Prefer": prefer},
        )
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["preference-applied"] == "return=minimal"
    assert (await hub.get(f"/tasks/{task['id']}")).data["output"] == 1


async def test_what_is_refused_is_said_whatever_the_caller_prefers(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    late = {"lease_id": UNLIKELY, "output": 1}
    path = f"/tasks/{task['id']}/complete"
    answer = await hub.post(path, late, key=agent["api_key"], headers={"Prefer": "return=minimal"})
    assert (answer.status, answer.code) == (403, "FORBIDDEN")


async def test_the_conversation_comes_with_the_claim_when_asked_for(hub: Hub) -> None:
    agent = await hub.agent()
    await hub.post("/tasks", {"title": "x", "parts": [{"text": "hello"}], "resource_bindings": [1]})
    request = {"agent_id": agent["id"], "include_context": True}
    claimed = (await hub.post("/tasks/claim", request, key=agent["api_key"])).data
    assert [message["parts"] for message in claimed["messages"]] == [[{"text": "hello"}]]
    assert claimed["resource_bindings"] == [1]


async def test_a_waiting_claim_is_woken_by_a_new_task(hub: Hub) -> None:
    agent = await hub.agent()
    request = {"agent_id": agent["id"], "wait_seconds": 30}
    waiting = asyncio.ensure_future(hub.post("/tasks/claim", request, key=agent["api_key"]))
    await hub.waited_for(f"routes:{agent['tenant_id']}")
    made = (await hub.post("/tasks", {"title": "x"})).data
    async with asyncio.timeout(10):
        assert (await waiting).data["id"] == made["id"]


async def test_a_waiting_claim_answers_204_in_the_end(hub: Hub, clock: FakeClock) -> None:
    agent = await hub.agent()
    request = {"agent_id": agent["id"], "wait_seconds": 5}
    waiting = asyncio.ensure_future(hub.post("/tasks/claim", request, key=agent["api_key"]))
    await hub.waited_for(f"routes:{agent['tenant_id']}")
    clock.advance(6)
    async with asyncio.timeout(10):
        assert (await waiting).status == 204


async def test_a_stopping_hub_sends_waiting_claims_away(hub: Hub) -> None:
    agent = await hub.agent()
    request = {"agent_id": agent["id"], "wait_seconds": 30}
    waiting = asyncio.ensure_future(hub.post("/tasks/claim", request, key=agent["api_key"]))
    await hub.waited_for(f"routes:{agent['tenant_id']}")
    hub.app.stopping.set()
    async with asyncio.timeout(10):
        answer = await waiting
    assert (answer.status, answer.code) == (503, "SERVICE_UNAVAILABLE")
    assert "retry-after" in answer.headers


async def test_a_claim_whose_caller_hung_up_takes_nothing(hub: Hub) -> None:
    agent = await hub.agent()
    scope_key, asked = agent["api_key"], asyncio.Event()
    body = b'{"agent_id":"%b","wait_seconds":30}' % agent["id"].encode()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there to be answered")

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/api/v1/tasks/claim",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1:8080"),
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {scope_key}".encode()),
        ],
        "client": ("127.0.0.1", 1),
    }
    call = asyncio.ensure_future(hub.app.asgi(scope, receive, send))
    await hub.waited_for(f"routes:{agent['tenant_id']}")
    gone.set()
    async with asyncio.timeout(10):
        await call
    task = (await hub.post("/tasks", {"title": "x"})).data
    assert (await hub.get(f"/tasks/{task['id']}")).data["state"] == "ready"


async def test_an_agent_key_claims_for_itself_alone(hub: Hub) -> None:
    mine, other = await hub.agent(), await hub.agent()
    await hub.post("/tasks", {"title": "x"})
    answer = await hub.post("/tasks/claim", {"agent_id": other["id"]}, key=mine["api_key"])
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    unknown = await hub.post("/tasks/claim", {"agent_id": UNLIKELY}, key=mine["api_key"])
    assert (unknown.status, unknown.code) == (404, "NOT_FOUND")


async def test_a_lease_is_renewed(hub: Hub, clock: FakeClock) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    clock.advance(30)
    state = (await report(hub, agent, task, "lease", extend_seconds=600)).data
    assert state["lease_expires_at"] > task["lease_expires_at"]
    assert (state["cancel_requested"], state["state"]) == (False, "in_progress")


@pytest.mark.parametrize("grace", [0, 10])
async def test_a_waiting_lease_call_hears_of_a_cancellation_at_once(hub: Hub, grace: int) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    waiting = asyncio.ensure_future(report(hub, agent, task, "lease", wait_seconds=30))
    await hub.waited_for(f"task:{task['id']}")
    await hub.post(f"/tasks/{task['id']}/cancel", {"grace_seconds": grace})
    async with asyncio.timeout(10):
        answer = await waiting
    if grace:
        assert answer.data["cancel_requested"] is True
        confirmed = await report(hub, agent, task, "cancel")
        assert confirmed.data["state"] == "cancelled"
    else:
        assert (answer.status, answer.reason) == (409, "task_already_cancelled")


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("complete", {"output": 1}),
        ("fail", {"error": {"category": "x", "message": "y"}}),
        ("refuse", {"reason": "no"}),
        ("messages", {"parts": [{"text": "late"}]}),
        ("artifacts", {"parts": [{"text": "late"}]}),
        ("request-input", {"parts": [{"text": "late"}]}),
        ("approvals", {"title": "late?", "kind": "permission"}),
        ("lease", {}),
        ("start", {}),
    ],
)
async def test_an_expired_lease_changes_nothing_whatever_it_is_used_for(
    hub: Hub, clock: FakeClock, what: str, body: Json
) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent, start=what != "start")
    clock.advance(61)
    late = await report(hub, agent, task, what, **body)
    assert late.status == 409, late.body
    assert late.reason in ("lease_expired", "task_ownership_moved")
    read = (await hub.get(f"/tasks/{task['id']}")).data
    assert read["output"] is None
    assert read["state"] in ("in_progress", "claimed", "pending", "ready")
    assert [m["parts"] for m in (await hub.get(f"/tasks/{task['id']}/messages")).data] == []
    assert (await hub.get(f"/tasks/{task['id']}/artifacts")).data == []


async def test_whoever_never_held_a_task_may_not_execute_it(hub: Hub) -> None:
    agent, other = await hub.agent(), await hub.agent()
    owner = await hub.key(Scope.AGENT)
    task_id = (await hub.post("/tasks", {"title": "x"}, key=owner)).data["id"]
    claimed = (await hub.post("/tasks/claim", {"agent_id": agent["id"]}, key=agent["api_key"])).data
    body = {"lease_id": claimed["lease_id"]}
    assert (await hub.post(f"/tasks/{task_id}/start", body, key=other["api_key"])).status == 404
    submitter = await hub.post(f"/tasks/{task_id}/start", body, key=owner)
    assert (submitter.status, submitter.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize("output", [None, 0, False, "", "text", [], [1, {"a": None}], {"a": {"b": 1.5}}])
async def test_any_json_value_is_an_output(hub: Hub, output: Any) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    done = (await report(hub, agent, task, "complete", output=output)).data
    assert (done["state"], done["output"]) == ("completed", output)
    assert done["completed_at"] == done["finished_at"]
    same = await report(hub, agent, task, "complete", output=output)
    assert same.data == done
    other = await report(hub, agent, task, "complete", output={"else": 1})
    assert other.status == 409


async def test_reports_are_replayed_by_key_and_refused_for_another_content(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    first = await report(hub, agent, task, "complete", output=1, request_id="r1")
    again = await report(hub, agent, task, "complete", output=1, request_id="r1")
    assert again.data == first.data
    assert again.headers["idempotency-replayed"] == "true"
    other = await report(hub, agent, task, "complete", output=2, request_id="r1")
    assert (other.status, other.reason) == (409, "request_id_reused")


async def test_a_failure_is_final_or_retried_as_the_policy_says(hub: Hub) -> None:
    agent = await hub.agent()
    error = {"category": "network_error", "message": "no answer"}
    final = await hub.claimed(agent)
    failed = (await report(hub, agent, final, "fail", error=error)).data
    assert (failed["state"], failed["error"]) == ("failed", {**error, "recoverable": True})
    retried = await hub.claimed(agent, retry_policy={"max_attempts": 3})
    pending = (await report(hub, agent, retried, "fail", error=error)).data
    assert (pending["state"], pending["retry_count"]) == ("pending", 1)


@pytest.mark.parametrize(("requeue", "state"), [(False, "rejected"), (True, "pending")])
async def test_a_task_is_refused_for_good_or_given_to_others(hub: Hub, requeue: bool, state: str) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    refused = (await report(hub, agent, task, "refuse", reason="no access", requeue=requeue)).data
    assert refused["state"] == state


async def test_a_batch_of_results_answers_each_in_its_place(hub: Hub) -> None:
    agent = await hub.agent(max_concurrent=10)
    for n in range(3):
        await hub.post("/tasks", {"title": str(n)})
    request = {"agent_id": agent["id"], "limit": 3, "start": True}
    claimed = (await hub.post("/tasks/claim", request, key=agent["api_key"])).data
    results = [{"task_id": t["id"], "lease_id": t["lease_id"], "output": t["title"]} for t in claimed]
    results[1]["lease_id"] = UNLIKELY
    one, two, three = (
        await hub.post("/tasks/complete-batch", {"results": results}, key=agent["api_key"])
    ).data
    assert (one["data"]["output"], three["data"]["output"]) == ("0", "2")
    assert two["error"]["code"] in ("FORBIDDEN", "CONFLICT")
    assert (await hub.get(f"/tasks/{claimed[1]['id']}")).data["state"] == "in_progress"


@pytest.mark.parametrize("wait", [0, 20])
async def test_a_claim_with_a_replay_key_that_found_nothing_may_find_something_later(
    hub: Hub, wait: int
) -> None:
    agent = await hub.agent(max_concurrent=5)
    request = {"agent_id": agent["id"], "request_id": "c1"}
    assert (await hub.post("/tasks/claim", request, key=agent["api_key"])).status == 204
    made = (await hub.post("/tasks", {"title": "x"})).data
    request = {**request, "wait_seconds": wait}
    async with asyncio.timeout(5):
        first = await hub.post("/tasks/claim", request, key=agent["api_key"])
        again = await hub.post("/tasks/claim", request, key=agent["api_key"])
    assert first.data["id"] == made["id"]
    assert again.data["lease_id"] == first.data["lease_id"]
