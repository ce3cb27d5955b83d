"""A reader that takes nothing, on a real socket: it is dropped, and loses nothing."""

import asyncio
import socket

import pytest

from core.store import open_store
from hub import sse
from hub.app import build
from hub.server import Serving
from hub.settings import Settings
from tests.hub.api.hub import ADMIN_KEY, SECRET, Hub

EVENTS = 80


async def written(hub: Hub) -> None:
    """Events of 60 kB, more than all buffers of a connection hold."""
    for n in range(EVENTS):
        task = (await hub.post("/tasks", {"title": f"number {n}"})).data
        await hub.post(f"/tasks/{task['id']}/messages", {"parts": [{"text": "x" * 60_000}]})
    async with hub.stream("/events/stream?after=0&event_type=task.created") as stream:
        await stream.until(f'"title":"number {EVENTS - 1}"')


async def unread_stream(port: int) -> socket.socket:
    """A connection that asked for the whole log, and reads nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    head = f"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    await loop.sock_sendall(connection, f"{head}Authorization: Bearer {ADMIN_KEY}\r\n\r\n".encode())
    return connection


async def rest_of(connection: socket.socket) -> bytes:
    """What comes until the connection ends."""
    loop = asyncio.get_running_loop()
    found = b""
    try:
        while chunk := await loop.sock_recv(connection, 65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


async def test_a_reader_that_takes_nothing_is_dropped_and_loses_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "STALL_SECONDS", 0.2)
    app = build(Settings(admin_api_key=ADMIN_KEY), SECRET, store=open_store(database_url))
    async with Serving(app.asgi, stopping=app.stopping) as serving:
        hub = Hub(app)
        await written(hub)
        connection = await unread_stream(serving.port)
        async with asyncio.timeout(20):
            while app.streams.total == 0:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            while app.streams.total:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            cut = await rest_of(connection)
        connection.close()
        assert cut.count(b"event: task.created") < EVENTS
        async with hub.stream("/events/stream?after=0&event_type=task.created") as stream:
            await stream.until(f'"title":"number {EVENTS - 1}"')
        assert len(stream.events()) == EVENTS
