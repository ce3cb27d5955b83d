"""The event log over a WebSocket, read by clients that nobody here wrote."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
import websockets

from schemas.vocabulary import Scope
from tests.hub.api.hub import ADMIN_KEY, Hub
from tests.hub.api.test_worker_socket import PATIENCE, Start, connect, frame, start

__all__ = ["start"]


async def ask(socket: Any, **members: Any) -> None:
    """Send one frame."""
    await socket.send(json.dumps(members))


async def created(hub: Hub, title: str, **more: Any) -> Any:
    """A new task."""
    return (await hub.post("/tasks", {"title": title}, **more)).data


async def test_it_is_the_same_log_with_the_same_cursor_as_the_history(start: Start) -> None:
    hub, url = await start()
    before = [await created(hub, str(n)) for n in range(3)]
    async with connect(f"{url}/ws", ADMIN_KEY) as socket:
        assert (await frame(socket, "connection.ready"))["requires_authentication"] is False
        await ask(socket, action="subscribe", filters={"event_types": ["task.created"]}, after=0)
        assert (await frame(socket, "subscribed"))["cursor"] == 0
        seen = [await frame(socket, "event") for _ in range(3)]
        assert [event["entity_id"] for event in seen] == [task["id"] for task in before]
        later = await created(hub, "later")
        assert (await frame(socket, "event"))["entity_id"] == later["id"]
    history = (await hub.get("/events?after=0&event_type=task.created&limit=3")).data
    assert [event["event_id"] for event in seen] == [event["id"] for event in history]
    async with connect(f"{url}/ws", ADMIN_KEY) as socket:
        cursor = seen[1]["event_id"]
        await ask(socket, action="subscribe", filters={"event_types": ["task.created"]}, after=cursor)
        again = [await frame(socket, "event") for _ in range(2)]
    assert [event["entity_id"] for event in again] == [before[2]["id"], later["id"]]


async def test_a_new_subscription_takes_the_place_of_the_one_before(start: Start) -> None:
    hub, url = await start()
    one, two = await created(hub, "one"), await created(hub, "two")
    session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    async with session, session.ws_connect(f"{url}/ws") as socket:

        async def next_of(kind: str) -> Any:
            async with asyncio.timeout(PATIENCE):
                while (found := await socket.receive_json())["type"] != kind:
                    pass
            return found

        for task in (one, two):
            filters = {"entity_id": task["id"]}
            await socket.send_json({"action": "subscribe", "filters": filters, "after": 0})
            assert (await next_of("event"))["entity_id"] == task["id"]
        await socket.send_json({"action": "unsubscribe"})
        await next_of("unsubscribed")
        await created(hub, "unheard")
        await socket.send_json({"action": "ping"})
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "pong"


async def test_nobody_hears_of_what_is_not_theirs(start: Start) -> None:
    hub, url = await start()
    key = await hub.key(Scope.AGENT)
    async with connect(f"{url}/ws", key) as socket:
        await ask(socket, action="subscribe")
        await frame(socket, "subscribed")
        await created(hub, "somebody else's")
        mine = await created(hub, "mine", key=key)
        assert (await frame(socket, "event"))["entity_id"] == mine["id"]


async def test_a_wrong_frame_is_refused_and_the_socket_goes_on(start: Start) -> None:
    _, url = await start()
    async with connect(f"{url}/ws", ADMIN_KEY) as socket:
        for said, code in (
            ({"action": "subscribe", "after": -1}, "INVALID_PAYLOAD"),
            ({"action": "subscribe", "filters": {"x": 1}}, "INVALID_PAYLOAD"),
            ({"action": "dance"}, "UNSUPPORTED_ACTION"),
        ):
            await socket.send(json.dumps(said))
            assert (await frame(socket, "error"))["code"] == code
        await ask(socket, action="ping")
        await frame(socket, "pong")


async def test_it_ends_with_its_credential_and_says_so(start: Start) -> None:
    hub, url = await start()
    agent = await hub.agent()
    async with connect(f"{url}/ws", agent["api_key"]) as socket:
        await frame(socket, "connection.ready")
        assert (await hub.send("DELETE", f"/api/v1/agents/{agent['id']}")).status == 204
        assert (await frame(socket, "error"))["code"] == "UNAUTHORIZED"
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE)


async def test_it_wants_a_credential(start: Start) -> None:
    _, url = await start()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{url}/ws", open_timeout=PATIENCE)
    assert refused.value.response.status_code == 401
