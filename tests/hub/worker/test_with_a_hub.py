"""The command line's worker and a real hub, in two processes, on SQLite."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.client import Crossdock, Task
from schemas.vocabulary import TaskState
from tests.hub.client.real_hub import HUB, Hub, real_hub


@pytest.fixture(name="hub")
async def _hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with real_hub(tmp_path) as hub:
        yield hub


@asynccontextmanager
async def _worker(hub: Hub, *arguments: str) -> AsyncIterator[Process]:
    """`crossdock worker`; after the block it must end by itself when told to drain."""
    process = await asyncio.create_subprocess_exec(*HUB, "worker", *arguments, env=hub.environ, stderr=PIPE)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _said(client: Crossdock, task: Task, text: str) -> None:
    """Wait until an executor has said it."""
    async with asyncio.timeout(30):
        async for event in client.tasks.follow(task.id):
            if event.type == "task.message_sent" and any(
                text in message.text for message in (await client.tasks.messages(task.id)).items
            ):
                return


async def test_lines_files_and_output_arrive_where_they_belong(hub: Hub) -> None:
    script = "sh -c 'echo one; mkdir d; printf hello > d/a.txt; echo two'"
    async with _worker(hub, "--exec", script), hub.client() as client:
        task = await client.tasks.create("work", input={"text": "hi"})
        done = await client.tasks.wait(task.id, timeout=30)
        assert (done.state, done.output) == ("completed", "one\ntwo")
        messages = (await client.tasks.messages(task.id)).items
        assert "\n".join(message.text for message in messages if message.role == "agent") == "one\ntwo"
        (artifact,) = (await client.tasks.artifacts(task.id)).items
        assert (artifact.raw["logical_path"], artifact.raw["size_bytes"]) == ("d/a.txt", 5)


async def test_a_command_outlives_a_killed_hub_and_its_task_is_done_once(hub: Hub, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"sh -c 'echo before; cat {go}; echo after; echo x >> {tmp_path}/runs'"
    async with _worker(hub, "--exec", script), hub.client() as client:
        task = await client.tasks.create("count")
        await _said(client, task, "before")
        await hub.kill()
        await asyncio.to_thread(go.write_text, "meanwhile\n")
        async with asyncio.timeout(30):
            await hub.start()
        done = await client.tasks.wait(task.id, timeout=30)
        assert (done.state, done.output) == ("completed", "before\nmeanwhile\nafter")
        assert done.raw["attempt"] == 1
        states = [event.data.get("to_state") async for event in client.tasks.follow(task.id)]
    assert states.count(TaskState.COMPLETED.wire) == 1
    assert await asyncio.to_thread((tmp_path / "runs").read_text) == "x\n"


async def test_a_cancelled_task_stops_its_command_at_once(hub: Hub) -> None:
    async with _worker(hub, "--exec", "sh -c 'echo $$; exec sleep 1000'"), hub.client() as client:
        task = await client.tasks.create("long")
        await _said(client, task, "")
        (message,) = (await client.tasks.messages(task.id)).items
        pid = int(message.text)
        await client.tasks.cancel(task.id)
        async with asyncio.timeout(5):  # the lease alone would take twenty seconds to tell
            while _runs(pid):  # noqa: ASYNC110  nothing announces the end of another's child
                await asyncio.sleep(0.01)


async def test_a_cancellation_with_grace_is_confirmed_by_the_worker(hub: Hub) -> None:
    script = "sh -c 'trap \"echo bye; exit\" TERM; echo on; sleep 1000 & wait'"
    async with _worker(hub, "--exec", script), hub.client() as client:
        task = await client.tasks.create("long")
        await _said(client, task, "on")
        await client.tasks.cancel(task.id, grace_seconds=30)
        done = await client.tasks.wait(task.id, timeout=10)
        assert done.state == "cancelled"
        assert (await client.tasks.messages(task.id)).items[-1].text == "bye"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
