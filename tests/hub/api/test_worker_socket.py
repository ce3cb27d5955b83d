"""Work pushed over a WebSocket, to clients that nobody here wrote: `websockets` and aiohttp."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import websockets

from core.store import open_store
from hub import worker_socket
from hub.app import build
from hub.server import Serving
from hub.settings import Settings
from schemas.vocabulary import Scope
from tests.hub.api.hub import ADMIN_KEY, SECRET, Hub

PATIENCE = 10
Start = Callable[[], Any]


@pytest.fixture
async def start(database_url: str) -> AsyncIterator[Start]:
    """Starts a hub on a socket: a second one is a replica on PostgreSQL."""
    async with AsyncExitStack() as stack:

        async def started() -> tuple[Hub, str]:
            app = build(Settings(admin_api_key=ADMIN_KEY), SECRET, store=open_store(database_url))
            serving = await stack.enter_async_context(
                Serving(app.asgi, stopping=app.stopping, drain_seconds=1)
            )
            return Hub(app), f"ws://127.0.0.1:{serving.port}/api/v1/events"

        yield started


async def registered(hub: Hub, **agent: Any) -> Any:
    """A worker with one agent."""
    body = {"name": "rack-7", "agents": [{"name": "writer", **agent}]}
    return (await hub.post("/workers/register", body)).data


def connect(url: str, key: str) -> Any:
    """A socket with that key."""
    return websockets.connect(
        url, additional_headers={"Authorization": f"Bearer {key}"}, open_timeout=PATIENCE
    )


async def frame(socket: Any, kind: str) -> Any:
    """The next frame of that type."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = json.loads(await socket.recv())
            if found["type"] == kind:
                return found


async def reached(hub: Hub, task_id: str, state: str) -> Any:
    """The task once it is in that state."""
    async with asyncio.timeout(PATIENCE):
        while True:
            task = (await hub.get(f"/tasks/{task_id}")).data
            if task["state"] == state:
                return task
            await asyncio.sleep(0.02)


async def test_a_task_is_pushed_acknowledged_started_and_done(start: Start) -> None:
    hub, url = await start()
    worker = await registered(hub, routing_tags=["writing"])
    key, agent = worker["worker_api_key"], worker["agents"][0]
    async with connect(url, key) as socket:
        ready = await frame(socket, "connection.ready")
        assert ready["reconnect"]["min_ms"] == 1000
        await hub.post("/tasks", {"title": "not for it", "required_tags": ["painting"]})
        task = (await hub.post("/tasks", {"title": "x", "required_tags": ["writing"]})).data
        assigned = await frame(socket, "task.assigned")
        assert assigned["task"]["id"] == task["id"]
        assert assigned["task"]["assigned_worker_id"] == worker["worker_id"]
        assert assigned["ack_timeout_ms"] == 15_000
        ack = {"type": "task.assignment_ack", "task_id": task["id"], "agent_id": agent["id"]}
        await socket.send(json.dumps(ack))
        held = {"lease_id": assigned["task"]["lease_id"]}
        assert (await hub.post(f"/tasks/{task['id']}/start", held, key=key)).status == 200
        await socket.send(json.dumps({"type": "worker.heartbeat", "current_task_id": task["id"]}))
        done = await hub.post(f"/tasks/{task['id']}/complete", {**held, "output": 1}, key=key)
        assert done.data["state"] == "completed"
        await socket.send(json.dumps(ack))
        assert (await frame(socket, "error"))["task_id"] == task["id"]


async def test_what_is_not_acknowledged_in_time_goes_back_and_is_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_socket, "ACK_SECONDS", 0.2)
    hub, url = await start()
    worker = await registered(hub)
    async with connect(url, worker["worker_api_key"]) as socket:
        task = (await hub.post("/tasks", {"title": "x"})).data
        first = await frame(socket, "task.assigned")
        second = await frame(socket, "task.assigned")
        assert second["task"]["id"] == first["task"]["id"] == task["id"]
        assert second["task"]["lease_id"] != first["task"]["lease_id"]
        assert second["task"]["retry_count"] == 0
        events = (await hub.get(f"/events?entity_id={task['id']}&after=0&limit=100")).data
        assert "task.dispatch_timeout" in [event["type"] for event in events]
        held = {"lease_id": first["task"]["lease_id"]}
        late = await hub.post(f"/tasks/{task['id']}/start", held, key=worker["worker_api_key"])
        assert late.status == 409


async def test_what_a_closed_socket_had_not_acknowledged_is_ready_again(start: Start) -> None:
    hub, url = await start()
    worker = await registered(hub)
    async with connect(url, worker["worker_api_key"]) as socket:
        task = (await hub.post("/tasks", {"title": "x"})).data
        await frame(socket, "task.assigned")
    assert (await reached(hub, task["id"], "ready"))["retry_count"] == 0


async def test_signals_come_at_once_and_a_draining_worker_is_pushed_nothing(start: Start) -> None:
    hub, url = await start()
    worker = await registered(hub)
    path, key = f"/workers/{worker['worker_id']}", worker["worker_api_key"]
    session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})
    async with session, session.ws_connect(url) as socket:
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "connection.ready"
        told = (await hub.post(f"{path}/signal", {"type": "drain"})).data["signal_id"]
        signal = await socket.receive_json(timeout=PATIENCE)
        assert (signal["type"], signal["id"], signal["signal_type"]) == (
            "worker.signal",
            told,
            "set_draining",
        )
        task = (await hub.post("/tasks", {"title": "x"})).data
        await socket.send_json({"type": "signal.ack", "signal_id": told})
        await socket.send_json({"type": "signal.ack", "signal_id": task["id"]})
        refused = await socket.receive_json(timeout=PATIENCE)
        assert (refused["type"], refused["code"]) == ("error", "NOT_FOUND")
        heard = (await hub.post(f"{path}/heartbeat", {}, key=key)).data
        assert (heard["status"], heard["pending_signals"]) == ("draining", [])
        assert (await hub.get(f"/tasks/{task['id']}")).data["state"] == "ready"


async def test_only_a_registered_workers_own_key_opens_it_and_only_while_it_is_valid(start: Start) -> None:
    hub, url = await start()
    worker = await registered(hub)
    for key in (ADMIN_KEY, worker["agents"][0]["api_key"], await hub.key(Scope.WORKER)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(url, key)
        assert refused.value.response.status_code == 403
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(url, "xd_worker_nobody-knows-this-secret-at-all")
    assert refused.value.response.status_code == 401
    async with connect(url, worker["worker_api_key"]) as socket:
        await frame(socket, "connection.ready")
        gone = await hub.send("DELETE", f"/api/v1/workers/{worker['worker_id']}")
        assert gone.status == 204
        assert (await frame(socket, "error"))["code"] in ("UNAUTHORIZED", "NOT_FOUND")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_frames_that_mean_nothing_are_refused_and_change_nothing(start: Start) -> None:
    hub, url = await start()
    worker = await registered(hub)
    async with connect(url, worker["worker_api_key"]) as socket:
        for text in ("", "[]", '{"type":"x"}', '{"type":"signal.ack"}', '{"type":"worker.heartbeat","x":1}'):
            await socket.send(text)
            assert (await frame(socket, "error"))["code"] == "INVALID_PAYLOAD"


async def test_many_tasks_over_two_hubs_with_sockets_cut_at_random_end_exactly_once(
    start: Start, database_url: str
) -> None:
    first = await start()
    hubs = [first, first if database_url.startswith("sqlite") else await start()]
    hub = first[0]
    workers = [await registered(hub, max_concurrent=3) for _ in range(3)]
    made = await hub.post("/tasks/batch", {"tasks": [{"title": str(n)} for n in range(30)]})
    ids = {item["data"]["id"] for item in made.data}
    done: list[str] = []

    async def run(worker: Any, url: str, number: int) -> None:
        key, seen = worker["worker_api_key"], number
        while len(done) < len(ids):
            async with connect(url, key) as socket:
                while len(done) < len(ids):
                    try:
                        async with asyncio.timeout(1):
                            said = json.loads(await socket.recv())
                    except TimeoutError:
                        continue
                    if said["type"] != "task.assigned":
                        continue
                    seen += 1
                    if seen % 5 == 0:
                        break  # it dies with an offer in its hands
                    task = said["task"]
                    await socket.send(json.dumps({"type": "task.assignment_ack", "task_id": task["id"]}))
                    held = {"lease_id": task["lease_id"]}
                    if (await hub.post(f"/tasks/{task['id']}/start", held, key=key)).status == 200:
                        path = f"/tasks/{task['id']}/complete"
                        if (await hub.post(path, {**held, "output": 1}, key=key)).status == 200:
                            done.append(task["id"])

    async with asyncio.timeout(30):
        await asyncio.gather(*(run(each, hubs[n % 2][1], n) for n, each in enumerate(workers)))
    assert sorted(done) == sorted(ids)
