"""Turns of editors' sessions while hub, worker and agent are killed: what must hold afterwards.

Each turn ends once; its transcript has no gap, and what was told live is what is loaded; leave that was asked
for is asked for again; and no process is left of anything that was killed.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hub.client import FINAL, Conflict, Crossdock, NotFound
from tests.conformance.acp_editor import editor, told
from tests.crash.hub_process import ADMIN_KEY, ROOT, HubProcess
from tests.hub.client.real_hub import CLEAN
from tests.hub.worker.acp.stage import AGENT

PATIENCE = 90.0
NUMBERS = 200


class Victim(StrEnum):
    """Who is killed, in the middle of a turn."""

    HUB = "hub"
    WORKER = "worker"
    AGENT = "agent"
    BOTH = "both"
    """Hub and worker, at once."""


@dataclass
class Scene:
    """A hub with a worker in a directory, each to be killed and started again."""

    directory: Path
    database_url: str
    rng: random.Random
    worker: "subprocess.Popen[bytes] | None" = None
    faults: list[str] = field(default_factory=list)
    left: set[int] = field(default_factory=set)
    """Processes that must be gone by the end."""

    def __post_init__(self) -> None:
        (self.directory / "work").mkdir()
        self.hub = HubProcess(self.directory, self.database_url)

    @property
    def workspace(self) -> str:
        """Where the agent works."""
        return str(self.directory / "work")

    def start_worker(self) -> None:
        """Start it, as the agent that it was."""
        said = {"CROSSDOCK_URL": self.hub.url, "CROSSDOCK_API_KEY": ADMIN_KEY, "PYTHONPATH": str(ROOT)}
        state = {"AGENT_STATE": str(self.directory), "XDG_STATE_HOME": str(self.directory / "state")}
        with (self.directory / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "hub", "worker"),
                    *("--acp", f"{sys.executable} -I -S {AGENT}", "--env", "AGENT_STATE"),
                    *("--workspace", self.workspace, "--lease", "5"),
                ],
                env={**CLEAN, **said, **state},
                stderr=log,
            )

    def kill_worker(self) -> None:
        """kill -9."""
        if self.worker is not None:
            self.worker.send_signal(signal.SIGKILL)
            self.worker.wait(20)

    def client(self) -> Crossdock:
        """A client with the operator's key, which outlives the hub."""
        return Crossdock(self.hub.url, ADMIN_KEY, retry_seconds=PATIENCE, environ={})

    async def kill(self, victim: Victim, agent_pid: int) -> None:
        """Kill, and start again what does not start by itself."""
        if victim in (Victim.HUB, Victim.BOTH):
            await self.hub.kill()
        if victim in (Victim.WORKER, Victim.BOTH):
            self.kill_worker()
        if victim is Victim.AGENT:
            with suppress(ProcessLookupError):
                os.kill(agent_pid, signal.SIGKILL)
        if victim in (Victim.HUB, Victim.BOTH):
            await self.hub.start()
        if victim in (Victim.WORKER, Victim.BOTH):
            self.start_worker()


async def scenario(scene: Scene, victims: Sequence[Victim]) -> list[str]:
    """A few turns at once for each victim; what did not hold, in words."""
    await scene.hub.start()
    scene.start_worker()
    try:
        for number, victim in enumerate(victims):
            await _round(scene, victim, f"{number}. {victim.value}")
        if scene.worker is not None:
            scene.worker.send_signal(signal.SIGTERM)
            if await asyncio.to_thread(scene.worker.wait, 30) != 0:
                scene.faults.append("the worker did not end by itself")
        await _gone(scene)
    finally:
        scene.kill_worker()
        await scene.hub.kill()
    return scene.faults


async def _round(scene: Scene, victim: Victim, name: str) -> None:
    """Two turns that speak and one that waits for leave; then somebody dies."""
    async with scene.client() as client:
        async with editor(scene.hub.url, ADMIN_KEY) as front:
            sessions: list[str] = []
            for text in (f"spawn {NUMBERS} 0.01", f"spawn {NUMBERS} 0.01", "ask go on"):
                opened = await front.call("session/new", {"cwd": scene.workspace, "mcpServers": []})
                sessions.append(opened["sessionId"])
                meta = {"crossdock/idempotencyKey": f"{name} {len(sessions)}"}
                await front.prompt(sessions[-1], text, **meta)
            await front.until(lambda: front.asked)
            heard = scene.rng.randrange(2, NUMBERS // 2)
            await front.until(lambda: len(front.text.split()) > 8 + heard)
            await scene.kill(victim, int(front.text.split()[0]))
        recent = (await client.tasks.list(per_page=10)).items
        tasks = {session: [t.id for t in recent if t.context_id == session] for session in sessions}
        deciding = asyncio.create_task(_decide(client, {ids[0] for ids in tasks.values()}))
        try:
            async with asyncio.timeout(PATIENCE):
                for ids in tasks.values():
                    await client.tasks.wait(ids[0])
        finally:
            deciding.cancel()
            await asyncio.gather(deciding, return_exceptions=True)
        for session, ids in tasks.items():
            if len(ids) != 1:
                scene.faults.append(f"{name}: one prompt made {len(ids)} turns")
            await _check(scene, client, session, ids[0], name)


async def _decide(client: Crossdock, task_ids: set[str]) -> None:
    """Say yes to whatever is asked; an attempt that died in the meantime hears it from the next one again."""
    while True:
        for approval in (await client.approvals.list()).items:
            if approval.task_id in task_ids:
                with suppress(Conflict, NotFound):
                    await client.approvals.decide(approval.id, option_id="once")
        await asyncio.sleep(0.2)


async def _check(scene: Scene, client: Crossdock, session_id: str, task_id: str, name: str) -> None:
    events = [event async for event in client.events.all(entity_type="task", entity_id=task_id)]
    versions = [event.version for event in events]
    if versions != list(range(1, len(versions) + 1)):
        scene.faults.append(f"{name}: the log has a gap or a repeat: {versions}")
    ends = [
        event.data["to_state"] for event in events if event.data.get("to_state") in FINAL and _moves(event)
    ]
    task = await client.tasks.get(task_id)
    if ends != [task.state] or task.state != "completed":
        scene.faults.append(f"{name}: it ended as {ends}, and is {task.state}: {task.error}")
        return
    attempts: list[str] = []
    for event in events:
        if _moves(event) and event.data["move"] == "claim":
            attempts.append("")
        elif event.type == "acp.update":
            attempts[-1] += "".join(
                said["update"]["content"]["text"]
                for said in event.data["updates"]
                if said["update"]["sessionUpdate"] == "agent_message_chunk"
            )
    if task.output["text"] != attempts[-1]:
        scene.faults.append(f"{name}: the output is not what was said")
    if attempts[-1] != "chosen once":
        _check_numbers(scene, name, attempts)
    async with editor(scene.hub.url, ADMIN_KEY) as front:
        await front.call("session/load", {"sessionId": session_id, "cwd": scene.workspace, "mcpServers": []})
        loaded = "".join(
            update["content"]["text"]
            for update in told(front.updates)
            if update["sessionUpdate"] == "agent_message_chunk"
        )
    if loaded != "".join(attempts):
        scene.faults.append(f"{name}: what is loaded is not what was said")


def _check_numbers(scene: Scene, name: str, attempts: Sequence[str]) -> None:
    for number, text in enumerate(attempts):
        words = [int(word) for word in text.split()]
        scene.left.update(words[:4])
        numbers = words[4:]
        if numbers != list(range(len(numbers))):
            scene.faults.append(f"{name}: attempt {number + 1} has a gap or a repeat: {text[-200:]}")
        if number == len(attempts) - 1 and len(numbers) != NUMBERS:
            scene.faults.append(f"{name}: the last attempt said {len(numbers)} of {NUMBERS}")


def _moves(event: Any) -> bool:
    return bool(event.type == "task.state_changed")


async def _gone(scene: Scene) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while alive := sorted(filter(_runs, scene.left)):
        if asyncio.get_running_loop().time() > deadline:
            scene.faults.append(f"processes are left: {alive}")
            return
        await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
