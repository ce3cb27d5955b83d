"""`crossdock worker --acp` and a real hub, in processes of their own, on SQLite."""

import asyncio
import json
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hub.cli.worker import worker
from hub.client import Crossdock, Event, Task
from tests.conformance.hub_process import RunningHub, running_hub
from tests.hub.client.real_hub import ADMIN_KEY, CLEAN, HUB, Hub, real_hub
from tests.hub.worker.acp.stage import AGENT

ROOT = Path(__file__).parents[4]


def environ_of(url: str, key: str, directory: Path) -> dict[str, str]:
    """What a worker beside a hub needs to know."""
    said = {"CROSSDOCK_URL": url, "CROSSDOCK_API_KEY": key, "PYTHONPATH": str(ROOT)}
    return {**CLEAN, **said, "AGENT_STATE": str(directory), "XDG_STATE_HOME": str(directory / "state")}


def command(directory: Path) -> list[str]:
    """The worker with the scripted agent."""
    (directory / "work").mkdir(exist_ok=True)
    agent = f"{sys.executable} -I -S {AGENT}"
    return [*HUB, "worker", "--acp", agent, "--env", "AGENT_STATE", "--workspace", str(directory / "work")]


@pytest.fixture(scope="module", name="hub")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with a worker, for all tests that kill nothing."""
    directory = tmp_path_factory.mktemp("hub")
    with running_hub(directory) as hub, (directory / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command(directory), env=environ_of(hub.url, hub.admin_key, directory), stderr=log
        )
        try:
            yield hub
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, (directory / "worker.log").read_text()
        finally:
            process.kill()
            process.wait(20)


@pytest.fixture(name="client")
async def _client(hub: RunningHub) -> AsyncIterator[Crossdock]:
    async with Crossdock(hub.url, hub.admin_key, environ={}) as client:
        yield client


@asynccontextmanager
async def working(hub: Hub, directory: Path) -> AsyncIterator[Process]:
    """A worker; after the block it must end by itself when told to drain."""
    environ = environ_of(hub.url, ADMIN_KEY, directory)
    process = await asyncio.create_subprocess_exec(*command(directory), env=environ, stderr=PIPE)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def transcript(client: Crossdock, task: Task) -> list[dict[str, Any]]:
    """Every update of a task, from the log."""
    found: list[dict[str, Any]] = []
    async for event in client.events.all(entity_type="task", entity_id=task.id):
        if event.type == "acp.update":
            found += event.data["updates"]
    return found


async def _happened(client: Crossdock, task: Task, kind: str) -> Event:
    async with asyncio.timeout(30):
        async for event in client.tasks.follow(task.id):
            if event.type == kind or (kind == "asked" and event.data.get("to_state") == "input_required"):
                return event
    raise AssertionError(f"no {kind}")


async def test_a_task_is_done_by_the_agent_and_all_it_says_is_in_the_log(client: Crossdock) -> None:
    task = await client.tasks.create("say one two three", required_tags=["acp"])
    done = await client.tasks.wait(task.id, timeout=30)
    assert done.state == "completed"
    assert done.output["text"] == "one two three "
    assert done.output["stopReason"] == "end_turn"
    said = await transcript(client, task)
    assert [update["update"]["content"]["text"] for update in said] == ["one ", "two ", "three "]


async def test_leave_is_asked_over_any_door_and_the_answer_reaches_the_agent(client: Crossdock) -> None:
    for option in ("once", "no"):
        task = await client.tasks.create("ask git push")
        event = await _happened(client, task, "approval.requested")
        assert event.data["subject"]["toolCall"]["rawInput"] == {"command": "git push"}
        await client.approvals.decide(event.data["approval_id"], option_id=option)
        done = await client.tasks.wait(task.id, timeout=30)
        assert done.output["text"] == f"chosen {option}"


async def test_the_example_asks_before_it_shouts(hub: RunningHub, client: Crossdock, tmp_path: Path) -> None:
    example = f"{sys.executable} {ROOT / 'examples' / 'acp' / 'agent.py'}"
    environ = environ_of(hub.url, hub.admin_key, tmp_path)
    arguments = ["worker", "--acp", example, "--workspace", str(tmp_path), "--tag", "shouting"]
    process = await asyncio.create_subprocess_exec(*HUB, *arguments, env=environ, stderr=PIPE)
    try:
        for option, text in (("yes", "HELLO, CROSSDOCK "), ("no", "(silence) ")):
            task = await client.tasks.create("hello, crossdock", required_tags=["shouting"])
            event = await _happened(client, task, "approval.requested")
            await client.approvals.decide(event.data["approval_id"], option_id=option)
            done = await client.tasks.wait(task.id, timeout=30)
            assert done.output == {"text": text, "stopReason": "end_turn"}
    finally:
        process.kill()
        await process.communicate()


async def test_a_question_holds_the_lease_until_it_is_answered(client: Crossdock) -> None:
    task = await client.tasks.create("elicit Which word?")
    await _happened(client, task, "asked")
    await client.tasks.input(task.id, "yes")
    done = await client.tasks.wait(task.id, timeout=30)
    assert json.loads(done.output["text"]) == {"action": "accept", "content": {"word": "yes"}}
    assert done.raw["attempt"] == 1


async def test_a_cancelled_turn_is_confirmed_with_what_was_still_said(client: Crossdock) -> None:
    task = await client.tasks.create("stream 100000 0.01")
    await _happened(client, task, "acp.update")
    await client.tasks.cancel(task.id, grace_seconds=10)
    done = await client.tasks.wait(task.id, timeout=30)
    assert done.state == "cancelled"
    numbers = "".join(u["update"]["content"]["text"] for u in await transcript(client, task)).split()
    assert [int(n) for n in numbers] == list(range(len(numbers)))


async def test_a_hub_that_is_killed_in_mid_turn_loses_nothing_of_it(tmp_path: Path) -> None:
    async with real_hub(tmp_path) as hub, working(hub, tmp_path), hub.client() as client:
        task = await client.tasks.create("stream 150 0.01")
        await _happened(client, task, "acp.update")
        await hub.kill()
        async with asyncio.timeout(30):
            await hub.start()
        done = await client.tasks.wait(task.id, timeout=30)
        assert done.output["text"] == "".join(f"{n} " for n in range(150))
        said = "".join(u["update"]["content"]["text"] for u in await transcript(client, task))
        assert said == done.output["text"]
        assert done.raw["attempt"] == 1


async def test_a_worker_that_comes_back_is_the_agent_it_was(tmp_path: Path) -> None:
    async with real_hub(tmp_path) as hub, hub.client() as client:
        for n in range(2):
            async with working(hub, tmp_path):
                task = await client.tasks.create(f"say {n}")
                await client.tasks.wait(task.id, timeout=30)
        assert len((await client.agents.list()).items) == 1
    (file,) = (tmp_path / "state" / "crossdock" / "agents").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say one of --exec CMD, --acp CMD"),
        (("--exec", "true", "--acp", "true"), "say one of --exec CMD, --acp CMD"),
        (("--exec", "true", "--allow", "read"), "for --acp"),
        (("--acp", "true", "--allow", ":"), "is no rule"),
        (("--acp", "no-such-agent acp"), "--acp: there is no command"),
        (("--acp", "true", "--profile", "none"), "none"),
    ],
)
def test_a_command_line_that_makes_no_sense_says_why(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(worker, arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
