"""Retention policy and legal hold over REST."""

import json
from typing import Any

import pytest

from core.retention import Retention
from hub.openapi import PATH
from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Hub


async def cancelled(hub: Hub) -> dict[str, Any]:
    """A workflow that is over, from the examples of the description."""
    paths = json.loads(PATH.read_text())["paths"]
    made: dict[str, Any] = {}
    for kind in ("workspaces", "playbooks", "workflows"):
        operation = paths[f"/api/v1/{kind}"]["post"]
        body = operation["requestBody"]["content"]["application/json"]["example"]
        for name in ("workspace", "playbook"):
            if f"{name}_id" in body:
                body[f"{name}_id"] = made[f"{name}s"]["id"]
        made[kind] = (await hub.post(f"/{kind}", body)).data
    workflow: dict[str, Any] = made["workflows"]
    answer = await hub.post(f"/workflows/{workflow['id']}/cancel", {"request_id": "c"})
    assert answer.status == 200, answer.body
    return workflow


async def test_a_policy_is_thirty_days_until_it_is_changed(hub: Hub) -> None:
    policy = (await hub.get("/governance/retention-policy")).data
    assert set(policy.values()) == {30}
    answer = await hub.send(
        "PUT", "/api/v1/governance/retention-policy", json={"execution_log_retention_days": 7}
    )
    assert answer.data == policy | {"execution_log_retention_days": 7}
    assert (await hub.get("/governance/retention-policy")).data == answer.data
    refused = await hub.send("PUT", "/api/v1/governance/retention-policy", json={"task_prune_after_days": 0})
    assert refused.status == 422
    assert (await hub.get("/governance/retention-policy", key=await hub.key(Scope.WORKER))).status == 403


@pytest.mark.parametrize("kind", ["task", "workspace"])
async def test_a_hold_is_set_read_and_released(hub: Hub, kind: str) -> None:
    made = {
        "task": ("/tasks", {"title": "x"}),
        "workspace": ("/workspaces", {"name": "w", "slug": "w"}),
    }[kind]
    thing = (await hub.post(*made)).data
    path = f"/api/v1/governance/legal-hold/{kind}/{thing['id']}"
    assert (await hub.send("GET", path)).data["legal_hold"] is False
    held = (await hub.send("PUT", path, json={"enabled": True})).data
    assert (held["legal_hold"], held["entity_type"]) == (True, kind)
    assert (await hub.send("GET", path)).data == held
    assert (await hub.send("PUT", path, json={"enabled": False})).data["set_at"] is None


async def test_only_what_is_there_can_be_held(hub: Hub) -> None:
    for kind in ("task", "workflow", "workspace", "nothing"):
        path = f"/api/v1/governance/legal-hold/{kind}/{UNLIKELY}"
        assert (await hub.send("PUT", path, json={"enabled": True})).status == 404


async def test_a_workflow_that_is_held_is_neither_removed_nor_cleared_away(
    hub: Hub, clock: FakeClock
) -> None:
    workflow = await cancelled(hub)
    path = f"/workflows/{workflow['id']}"
    hold = f"/api/v1/governance/legal-hold/workspace/{workflow['workspace_id']}"
    await hub.send("PUT", hold, json={"enabled": True})
    refused = await hub.send("DELETE", f"/api/v1{path}")
    assert (refused.status, refused.reason) == (409, "legal_hold")
    clock.advance(31 * 86_400)
    assert await Retention(hub.platform).round()
    assert (await hub.get(path)).status == 200
    await hub.send("PUT", hold, json={"enabled": False})
    clock.advance(3 * 3600)
    assert await Retention(hub.platform).round()
    assert (await hub.get(path)).status == 404
