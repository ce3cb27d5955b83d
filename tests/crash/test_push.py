"""A hub that is killed while it tells a receiver loses no notification; it may tell one twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.adapters.a2a.receiver import Receiver
from tests.conftest import POSTGRES
from tests.crash.hub_process import ADMIN_KEY, HubProcess
from tests.crash.run import postgres_database

TASKS = 8
HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}", "A2A-Version": "1.0"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes its time, so that a kill finds requests under way."""
    receiver = Receiver(lambda n: (0.15, 200))
    await receiver.start()
    yield receiver
    await receiver.stop()


async def call(session: aiohttp.ClientSession, url: str, method: str, params: object) -> dict[str, object]:
    """One A2A call, which must succeed."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with session.post(f"{url}/a2a", json=body) as answer:
        told = await answer.json()
    assert "result" in told, told
    result: dict[str, object] = told["result"]
    return result


async def told_of(receiver: Receiver, directory: Path, url: str, kills: int) -> None:
    """Tasks come and are cancelled; the hub dies while it tells of them."""
    hub = HubProcess(directory, url, CROSSDOCK_OUTBOUND_ALLOW=f"127.0.0.1:{receiver.port}")
    await hub.start()
    try:
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            for n in range(TASKS):
                said = {"messageId": uuid4().hex, "role": "ROLE_USER", "parts": [{"text": "go"}]}
                wanted = {"taskPushNotificationConfig": {"url": receiver.url(f"{n}")}}
                configuration = {"returnImmediately": True, **wanted}
                sent = {"message": said, "configuration": configuration}
                task = (await call(session, hub.url, "SendMessage", sent))["task"]
                assert isinstance(task, dict)
                await call(session, hub.url, "CancelTask", {"id": task["id"]})
        for n in range(kills):
            await receiver.until(lambda n=n: len(receiver.requests) > 4 * n, 45.0)  # type: ignore[misc]
            await hub.kill()
            await hub.start()
        await receiver.until(lambda: all(len(receiver.bodies(f"{n}")) == 2 for n in range(TASKS)), 100.0)
    finally:
        await hub.kill()
    for n in range(TASKS):
        first, last = receiver.bodies(f"{n}")
        assert first["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"
        assert last["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"


@pytest.mark.timeout(180)
async def test_a_killed_hub_tells_everything_on_sqlite(receiver: Receiver, tmp_path: Path) -> None:
    async with asyncio.timeout(60):  # alone on its database, it need not wait for leases of the dead
        await told_of(receiver, tmp_path, f"sqlite:///{tmp_path}/hub.db", kills=3)


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(180)
async def test_a_killed_hub_tells_everything_on_postgresql(receiver: Receiver, tmp_path: Path) -> None:
    assert POSTGRES is not None
    async with postgres_database(POSTGRES) as url:
        await told_of(receiver, tmp_path, url, kills=1)
