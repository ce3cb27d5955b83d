"""Stopping, repeating and judging tasks, and approvals, over REST."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import Hub

Json = Mapping[str, Any]


async def asked(hub: Hub, agent: Json, task: Json, **fields: Any) -> Json:
    """An approval that the executor asks for."""
    body = {"lease_id": task["lease_id"], "title": "May I?", "kind": "permission", **fields}
    answer = await hub.post(f"/tasks/{task['id']}/approvals", body, key=agent["api_key"])
    assert answer.status == 201, answer.body
    data: Json = answer.data
    return data


async def test_a_task_is_cancelled_once(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "x"})).data
    cancelled = (await hub.post(f"/tasks/{task['id']}/cancel", {"reason": "enough"})).data
    assert cancelled["state"] == "cancelled"
    assert (await hub.post(f"/tasks/{task['id']}/cancel")).data == cancelled


async def test_who_submitted_a_task_may_cancel_it_and_nobody_else_may(hub: Hub) -> None:
    mine, other = await hub.key(Scope.AGENT), await hub.key(Scope.AGENT)
    task = (await hub.post("/tasks", {"title": "x"}, key=mine)).data
    assert (await hub.post(f"/tasks/{task['id']}/cancel", key=other)).status == 404
    assert (await hub.post(f"/tasks/{task['id']}/cancel", key=mine)).data["state"] == "cancelled"


async def test_a_failed_task_is_done_again(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent, input={"a": 1})
    error = {"category": "x", "message": "y"}
    await hub.post(
        f"/tasks/{task['id']}/fail", {"lease_id": task["lease_id"], "error": error}, key=agent["api_key"]
    )
    again = await hub.post(f"/tasks/{task['id']}/retry", {"override_input": {"b": 2}})
    assert again.status == 200
    assert (again.data["state"], again.data["input"]) == ("ready", {"a": 1, "b": 2})
    refused = await hub.post(f"/tasks/{task['id']}/retry", {})
    assert (refused.status, refused.code) == (409, "INVALID_STATE_TRANSITION")


@pytest.mark.parametrize(
    ("what", "body", "state"), [("approve", {}, "ready"), ("reject", {"feedback": "no"}, "failed")]
)
async def test_a_task_waits_for_leave_to_start(hub: Hub, what: str, body: Json, state: str) -> None:
    task = (await hub.post("/tasks", {"title": "x", "requires_approval": True})).data
    assert task["state"] == "awaiting_approval"
    assert task["requires_approval"] is True
    listed = (await hub.get("/approvals")).data
    assert [approval["kind"] for approval in listed["approvals"]] == ["start"]
    assert [waiting["id"] for waiting in listed["task_approvals"]] == [task["id"]]
    assert listed["stage_gates"] == []
    assert (await hub.post(f"/tasks/{task['id']}/{what}", body)).data["state"] == state
    again = await hub.post(f"/tasks/{task['id']}/{what}", body)
    assert (again.status, again.code) == (409, "INVALID_STATE_TRANSITION")


@pytest.mark.parametrize(
    ("what", "body", "state"),
    [
        ("approve-output", {}, "completed"),
        ("reject", {"feedback": "no"}, "failed"),
        ("rework", {"feedback": "shorter"}, "ready"),
        ("request-changes", {"feedback": "shorter"}, "ready"),
    ],
)
async def test_an_output_that_does_not_fit_waits_for_a_judgement(
    hub: Hub, what: str, body: Json, state: str
) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent, output_schema={"type": "object"}, input={"a": 1})
    result = {"lease_id": task["lease_id"], "output": "text"}
    waiting = await hub.post(f"/tasks/{task['id']}/complete", result, key=agent["api_key"])
    assert waiting.data["state"] == "output_pending_assessment"
    own = await hub.post(f"/tasks/{task['id']}/{what}", body, key=agent["api_key"])
    assert (own.status, own.code) == (403, "FORBIDDEN")
    judged = (await hub.post(f"/tasks/{task['id']}/{what}", body)).data
    assert judged["state"] == state
    if state == "ready":
        assert (judged["rework_count"], judged["input"]["assessment_feedback"]) == (1, "shorter")


async def test_a_permission_is_asked_for_and_given_by_an_option(hub: Hub) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    options = [
        {"id": "yes", "name": "Yes", "kind": "allow_once"},
        {"id": "never", "name": "Never", "kind": "reject_always"},
    ]
    approval = await asked(hub, agent, task, subject={"rm": "-rf"}, options=options)
    assert (approval["status"], approval["options"]) == ("pending", options)
    path = f"/approvals/{approval['id']}"
    holder = await hub.post(path, {"option_id": "yes"}, key=agent["api_key"])
    assert (holder.status, holder.code) == (403, "FORBIDDEN")
    assert (await hub.post(path, {"option_id": "maybe"})).status == 400
    decided = (await hub.post(path, {"option_id": "never", "remember": True})).data
    assert (decided["status"], decided["option_id"], decided["remember"]) == ("rejected", "never", True)
    assert decided["decided_via"] == "rest"
    late = await hub.post(path, {"action": "approve"})
    assert (late.status, late.reason) == (409, "already_decided")
    assert (await hub.get(path, key=agent["api_key"])).data == decided
    of_task = await hub.get(f"/tasks/{task['id']}/approvals")
    assert (of_task.data, of_task.json["meta"]["total"]) == ([decided], 1)
    assert (await hub.get("/approvals")).data["approvals"] == []
    assert (await hub.get("/approvals?status=rejected&kind=permission")).data["approvals"] == [decided]


async def test_the_decision_wakes_whoever_waits_for_it(hub: Hub) -> None:
    agent = await hub.agent()
    approval = await asked(hub, agent, await hub.claimed(agent))
    path = f"/approvals/{approval['id']}"
    waiting = asyncio.ensure_future(hub.get(f"{path}?wait_seconds=30", key=agent["api_key"]))
    await hub.waited_for(f"approval:{approval['id']}")
    await hub.post(path, {"action": "approve", "feedback": "fine"})
    async with asyncio.timeout(10):
        decided = (await waiting).data
    assert (decided["status"], decided["feedback"]) == ("approved", "fine")


async def test_whoever_waits_too_long_is_told_that_it_is_pending(hub: Hub, clock: FakeClock) -> None:
    agent = await hub.agent()
    approval = await asked(hub, agent, await hub.claimed(agent))
    waiting = asyncio.ensure_future(hub.get(f"/approvals/{approval['id']}?wait_seconds=5"))
    await hub.waited_for(f"approval:{approval['id']}")
    clock.advance(6)
    async with asyncio.timeout(10):
        assert (await waiting).data["status"] == "pending"


@pytest.mark.parametrize("body", [{}, {"action": "approve", "option_id": "approve"}, {"action": "maybe"}])
async def test_a_decision_is_an_option_or_an_action(hub: Hub, body: Json) -> None:
    agent = await hub.agent()
    approval = await asked(hub, agent, await hub.claimed(agent))
    assert (await hub.post(f"/approvals/{approval['id']}", body)).status == 422


async def test_the_first_of_many_decisions_wins(hub: Hub) -> None:
    agent = await hub.agent()
    approval = await asked(hub, agent, await hub.claimed(agent))
    actions = ["approve", "reject"] * 5
    answers = await asyncio.gather(
        *(hub.post(f"/approvals/{approval['id']}", {"action": action}) for action in actions)
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9


async def test_a_foreign_approval_is_not_there(hub: Hub) -> None:
    agent = await hub.agent()
    approval = await asked(hub, agent, await hub.claimed(agent))
    stranger = await hub.key(Scope.AGENT)
    assert (await hub.get(f"/approvals/{approval['id']}", key=stranger)).status == 404
    assert (await hub.post(f"/approvals/{approval['id']}", {"action": "approve"}, key=stranger)).status == 404
    assert (await hub.get("/approvals", key=stranger)).data["approvals"] == []
