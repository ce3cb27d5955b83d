"""Workers over REST: registered with their agents, heard of, signalled, drained, and gone."""

from collections.abc import Mapping
from typing import Any

import pytest

from core.jobs.runner import SWEEPS, Clockwork
from core.workers.records import MOVES
from schemas.vocabulary import Scope, WorkerStatus
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Answer, Hub

Json = Mapping[str, Any]
TWO = [{"name": "writer", "routing_tags": ["writing"]}, {"name": "reader", "max_concurrent": 2}]


async def registered(hub: Hub, **fields: Any) -> Json:
    """A worker with two agents; the answer has its keys."""
    answer = await hub.post("/workers/register", {"name": "rack", "agents": TWO, **fields})
    assert answer.status == 201, answer.body
    data: Json = answer.data
    return data


async def beat(hub: Hub, worker: Json, **fields: Any) -> Answer:
    """A heartbeat with the worker's own key."""
    path = f"/workers/{worker['worker_id']}/heartbeat"
    return await hub.post(path, fields, key=worker["worker_api_key"])


async def state(hub: Hub, worker: Json) -> str:
    data: Json = (await hub.get(f"/workers/{worker['worker_id']}")).data
    status: str = data["status"]
    return status


async def kinds(hub: Hub) -> list[str]:
    """What the log says of workers, oldest first."""
    told = (await hub.get("/events?after=0&limit=100&entity_type=worker")).data
    return [event["type"] for event in told]


async def test_a_worker_comes_with_its_agents_and_goes_with_them(hub: Hub) -> None:
    worker = await registered(hub, routing_tags=["gpu"], host_info={"os": "linux"})
    assert [agent["name"] for agent in worker["agents"]] == ["writer", "reader"]
    assert worker["agents"][0]["routing_tags"] == ["gpu", "writing"]
    path = f"/workers/{worker['worker_id']}"
    read = (await hub.get(path)).data
    assert (read["status"], read["host_info"], read["connection_mode"]) == (
        "online",
        {"os": "linux"},
        "polling",
    )
    listed = await hub.get("/workers")
    assert (listed.data, listed.json["meta"]["total"]) == ([read], 1)
    for secret in (worker["worker_api_key"], *(agent["api_key"] for agent in worker["agents"])):
        assert secret not in str(listed.json) + str((await hub.get("/events?after=0")).json)
    agent = (await hub.get(f"/agents/{worker['agents'][0]['id']}")).data
    assert agent["worker_id"] == worker["worker_id"]
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(path)).status == 404
    assert (await beat(hub, worker)).status == 401
    assert (await hub.get(f"/agents/{worker['agents'][0]['id']}")).status == 404
    assert await kinds(hub) == ["worker.registered", "worker.deregistered"]


async def test_a_repeated_registration_makes_one_worker_and_shows_no_key_again(hub: Hub) -> None:
    first, again = await registered(hub, request_id="r"), await registered(hub, request_id="r")
    assert first["worker_id"] == again["worker_id"]
    assert (again["worker_api_key"], again["agents"][0]["api_key"]) == (None, None)
    other = {"name": "rack", "agents": [], "request_id": "r"}
    assert (await hub.post("/workers/register", other)).status == 409


async def test_an_agent_registers_no_worker_and_nobody_speaks_for_another(hub: Hub) -> None:
    worker, other = await registered(hub), await registered(hub)
    agent_key = worker["agents"][0]["api_key"]
    assert (await hub.post("/workers/register", {"name": "x"}, key=agent_key)).status == 403
    for what in ("heartbeat", "next", f"signals/{UNLIKELY}/ack"):
        path = f"/workers/{worker['worker_id']}/{what}"
        assert (await hub.post(path, key=other["worker_api_key"])).status == 403, what
    foreign = await hub.key(Scope.ADMIN, tenant_id=hub.platform.new_id())
    assert (await hub.get(f"/workers/{worker['worker_id']}", key=foreign)).status == 404


async def test_an_agent_is_bound_to_a_worker_that_is_there(hub: Hub) -> None:
    worker = await registered(hub)
    bound = await hub.agent(worker_id=worker["worker_id"])
    assert bound["worker_id"] == worker["worker_id"]
    assert (await hub.post("/agents/register", {"name": "x", "worker_id": UNLIKELY})).status == 404


@pytest.mark.parametrize("present", MOVES, ids=str)
async def test_a_heartbeat_moves_a_worker_as_the_table_says(hub: Hub, present: WorkerStatus) -> None:
    worker = await registered(hub)
    assert (await beat(hub, worker, status=present)).status == 200
    for target in WorkerStatus:
        if target is present or target in MOVES[present]:
            continue
        refused = await beat(hub, worker, status=target)
        assert (refused.status, refused.code) == (409, "INVALID_STATE_TRANSITION")
        assert (await hub.get(f"/workers/{worker['worker_id']}")).data["status"] == present
    for target in MOVES[present]:
        assert (await beat(hub, worker, status=target)).data["status"] == target
        break


async def test_a_signal_is_told_until_it_is_acknowledged(hub: Hub) -> None:
    worker = await registered(hub)
    body = {"type": "config_update", "data": {"level": 3}}
    sent = await hub.post(f"/workers/{worker['worker_id']}/signal", body)
    assert sent.status == 200
    signal = sent.data["signal_id"]
    for _ in range(2):
        told = (await beat(hub, worker)).data["pending_signals"]
        assert [one["id"] for one in told] == [signal]
        assert (told[0]["type"], told[0]["data"]) == ("config_update", {"level": 3})
    ack = f"/workers/{worker['worker_id']}/signals/{signal}/ack"
    for _ in range(2):
        assert (await hub.post(ack, key=worker["worker_api_key"])).status == 204
    assert (await beat(hub, worker)).data["pending_signals"] == []
    assert await kinds(hub) == ["worker.registered", "worker.signaled"]


async def test_a_worker_is_told_only_so_much_at_a_time(hub: Hub) -> None:
    worker = await registered(hub)
    path = f"/workers/{worker['worker_id']}/signal"
    for _ in range(100):
        assert (await hub.post(path, {"type": "config_update"})).status == 200
    assert (await hub.post(path, {"type": "config_update"})).status == 409


async def test_a_draining_worker_finishes_and_is_given_nothing_more(hub: Hub) -> None:
    worker = await registered(hub)
    key, path = worker["worker_api_key"], f"/workers/{worker['worker_id']}"
    for title in ("one", "two"):
        await hub.post("/tasks", {"title": title})
    held = (await hub.post(f"{path}/next", key=key)).data
    assert held["title"] == "one"
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 409
    await hub.post(f"{path}/signal", {"type": "drain"})
    assert await state(hub, worker) == "draining"
    assert (await hub.post(f"{path}/next", key=key)).status == 204
    assert (await hub.post("/tasks/next", key=key)).status == 204
    started = await hub.post(f"/tasks/{held['id']}/start", {"lease_id": held["lease_id"]}, key=key)
    assert started.status == 200, started.body
    done = await hub.post(f"/tasks/{held['id']}/complete", {"lease_id": held["lease_id"]}, key=key)
    assert done.data["state"] == "completed"


async def test_a_worker_asks_for_one_of_its_agents_or_for_any(hub: Hub) -> None:
    worker = await registered(hub)
    writer, reader = (agent["id"] for agent in worker["agents"])
    await hub.post("/tasks", {"title": "write", "required_tags": ["writing"]})
    key = worker["worker_api_key"]
    assert (await hub.post("/tasks/next", {"agent_id": reader}, key=key)).status == 204
    held = await hub.post("/tasks/next", {}, key=key)
    assert (held.status, held.data["assigned_agent_id"]) == (200, writer)
    again = await hub.post("/tasks/next", {"agent_id": writer}, key=key)
    assert (again.data["lease_id"], again.headers["x-claim-replayed"]) == (held.data["lease_id"], "true")


async def test_a_heartbeat_renews_what_it_lists(hub: Hub, clock: FakeClock) -> None:
    worker = await registered(hub)
    await hub.post("/tasks", {"title": "long"})
    held = (await hub.post("/tasks/next", key=worker["worker_api_key"])).data
    clock.advance(40)
    assert (await beat(hub, worker, current_task_id=held["id"])).status == 200
    clock.advance(40)
    await swept(hub, "lost leases")
    assert (await hub.get(f"/tasks/{held['id']}")).data["state"] == "claimed"
    clock.advance(40)
    await swept(hub, "lost leases")
    assert (await hub.get(f"/tasks/{held['id']}")).data["state"] == "ready"


async def swept(hub: Hub, name: str) -> None:
    """One look of the hub's clockwork."""
    (sweep,) = (sweep for sweep in SWEEPS if sweep.name == name)
    await Clockwork(hub.platform).sweep(sweep)


async def test_an_idle_worker_gives_back_what_it_claimed_and_never_started(
    hub: Hub, clock: FakeClock
) -> None:
    worker = await registered(hub)
    await hub.post("/tasks", {"title": "forgotten"})
    held = (await hub.post("/tasks/next", key=worker["worker_api_key"])).data
    for _ in range(2):
        clock.advance(1)
        state_now = (await hub.get(f"/tasks/{held['id']}")).data["state"]
        assert state_now == "claimed"
        await beat(hub, worker, current_tasks=[])
    assert (await hub.get(f"/tasks/{held['id']}")).data["state"] == "ready"


async def test_a_silent_worker_degrades_disconnects_and_is_lost_and_any_call_revives_it(
    hub: Hub, clock: FakeClock
) -> None:
    worker = await registered(hub)
    for seconds, expected in ((31, "degraded"), (30, "disconnected"), (300, "offline")):
        clock.advance(seconds)
        await swept(hub, "silent workers")
        assert await state(hub, worker) == expected
    assert await kinds(hub) == ["worker.registered", "worker.disconnected", "worker.offline"]
    assert (await beat(hub, worker)).data["status"] == "online"
