"""Schedules over REST: made, read, changed, paused, run, removed; and approvals that are routed."""

from typing import Any

import pytest

from schemas.vocabulary import Scope
from tests.hub.api.hub import UNLIKELY, Hub

CRON = {"name": "nightly", "cron": "0 3 * * *", "task": {"title": "tidy up"}}


async def test_a_schedule_lives_from_its_making_to_its_end(hub: Hub) -> None:
    made = (await hub.post("/schedules", {**CRON, "timezone": "Europe/Berlin"})).data
    assert (made["missed"], made["overlap"], made["is_active"]) == ("latest", "allow", True)
    path = f"/schedules/{made['id']}"
    assert (await hub.get(path)).data == made
    assert (await hub.get("/schedules")).data == [made]
    assert (await hub.post(f"{path}/pause")).data["is_active"] is False
    assert (await hub.post(f"{path}/resume")).data["is_active"] is True
    run = (await hub.post(f"{path}/run")).data
    assert run["status"] == "started"
    assert (await hub.get(f"/tasks/{run['task_id']}")).data["title"] == "tidy up"
    assert (await hub.get(f"{path}/runs")).data == [run]
    changed = (await hub.send("PATCH", f"/api/v1{path}", json={"cron": "0 4 * * *", "overlap": "skip"})).data
    assert (changed["cron"], changed["overlap"]) == ("0 4 * * *", "skip")
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(path)).status == 404


async def test_a_repeated_creation_makes_one(hub: Hub) -> None:
    body = {"name": "once", "delay_seconds": 60, "task": {"title": "x"}, "request_id": "k"}
    first, again = (await hub.post("/schedules", body)), (await hub.post("/schedules", body))
    assert first.data["id"] == again.data["id"]
    assert len((await hub.get("/schedules")).data) == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"cron": None}, 422),
        ({"start_at": "2030-01-01T00:00:00Z"}, 422),
        ({"task": None}, 422),
        ({"task": {"title": "x", "unknown": 1}}, 422),
        ({"task": {"title": "{{ event.id }}"}}, 400),
        ({"cron": "a b c d e"}, 400),
        ({"timezone": "Nowhere/Land"}, 400),
    ],
)
async def test_what_cannot_be_kept_is_refused(hub: Hub, fields: dict[str, Any], status: int) -> None:
    assert (await hub.post("/schedules", {**CRON, **fields})).status == status


async def test_schedules_are_for_operators(hub: Hub) -> None:
    for scope in (Scope.AGENT, Scope.WORKER):
        key = await hub.key(scope)
        assert (await hub.post("/schedules", CRON, key=key)).status == 403
    assert (await hub.post(f"/schedules/{UNLIKELY}/run")).status == 404


async def test_votes_are_shown_and_the_refused_are_told_why(hub: Hub) -> None:
    keys = [await hub.key(Scope.ADMIN, f"boss-{n}") for n in range(2)]
    policy = {"quorum": 2, "separation_of_duties": True, "form": {"type": "object", "required": ["why"]}}
    wish = {"title": "x", "requires_approval": True, "approval_policy": policy}
    task = (await hub.post("/tasks", wish)).data
    assert task["approval_policy"]["quorum"] == 2
    (asked,) = (await hub.get(f"/tasks/{task['id']}/approvals")).data
    path = f"/approvals/{asked['id']}"
    answer = {"action": "approve", "data": {"why": "because"}}
    own = await hub.post(path, answer)
    assert (own.status, own.reason) == (403, "separation_of_duties")
    assert (await hub.post(path, {"action": "approve"}, key=keys[0])).status == 422
    assert (await hub.post(path, answer, key=keys[0])).data["status"] == "pending"
    twice = await hub.post(path, {"action": "reject"}, key=keys[0])
    assert (twice.status, twice.reason) == (409, "already_voted")
    assert (await hub.post(path, answer, key=keys[1])).data["status"] == "approved"
    seen = (await hub.get(path)).data
    assert [vote["status"] for vote in seen["votes"]] == ["approved", "approved"]
    assert seen["data"] == {"why": "because"}
    assert (await hub.get(f"/tasks/{task['id']}")).data["input"]["approval_answer"] == {"why": "because"}


async def test_a_policy_that_cannot_be_kept_is_refused(hub: Hub) -> None:
    for policy in (
        {"deadline_seconds": 5},
        {"default": "approve"},
        {"quorum": 2, "deciders": {"principals": [UNLIKELY]}},
        {"form": {"type": "nothing"}},
    ):
        wish = {"title": "x", "requires_approval": True, "approval_policy": policy}
        assert (await hub.post("/tasks", wish)).status == 422
