"""What an attempt keeps is there for the next one."""

from typing import Any

import pytest

from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Hub


async def keep(hub: Hub, agent: Any, task: Any, state: Any, **more: Any) -> Any:
    """Keep a checkpoint under the task's lease."""
    body = {"lease_id": task["lease_id"], "state": state}
    return await hub.post(f"/tasks/{task['id']}/checkpoint", body, key=agent["api_key"], **more)


@pytest.mark.parametrize("state", [{"pages_read": 12}, [1, None], "half", 0])
async def test_the_next_attempt_gets_what_the_last_one_kept(hub: Hub, clock: FakeClock, state: Any) -> None:
    agent = await hub.agent()
    task = await hub.claimed(agent)
    assert task["checkpoint"] is None
    assert (await keep(hub, agent, task, {"pages_read": 1})).data["attempt"] == 1
    kept = (await keep(hub, agent, task, state)).data
    assert kept["version"] == (await hub.get(f"/tasks/{task['id']}")).data["version"]
    held = {"lease_id": task["lease_id"], "reason": "not now", "requeue": True}
    await hub.post(f"/tasks/{task['id']}/refuse", held, key=agent["api_key"])
    request = {"agent_id": agent["id"], "wait_seconds": 5}
    clock.advance(2)
    again = (await hub.post("/tasks/claim", request, key=agent["api_key"])).data
    assert (again["id"], again["attempt"], again["checkpoint"]) == (task["id"], 2, state)
    late = await keep(hub, agent, task, {"pages_read": 99})
    assert (late.status, late.reason) == (409, "task_ownership_moved")
    events = (await hub.get(f"/events?entity_id={task['id']}&after=0&limit=100")).data
    assert [event["type"] for event in events].count("task.checkpointed") == 2
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))


async def test_only_the_executor_keeps_one_and_none_without_bound(hub: Hub) -> None:
    agent, other = await hub.agent(), await hub.agent()
    task = await hub.claimed(agent)
    assert (await keep(hub, other, task, 1)).status == 404
    assert (await keep(hub, agent, {**task, "id": UNLIKELY}, 1)).status == 404
    assert (await keep(hub, agent, task, "x" * 300_000)).status == 413
