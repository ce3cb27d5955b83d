"""The servers under test, each on the machine's first core; the programs that load them, on the second."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests.bench.load import TEXT, send_message
from tests.crash.hub_process import ADMIN_KEY, ROOT, HubProcess

CONNECTIONS = 16
AGENTS = 24
"""As many as a hub registers at once, with two places each."""
PEOPLE = 4
"""Submitters: the hub limits how often each of them may call."""


@dataclass
class Server:
    """Something that speaks A2A over JSON-RPC."""

    name: str
    url: str
    path: str
    pid: int
    keys: Sequence[str] = ()

    async def tasks(self, each: int) -> list[list[str]]:
        """Ids of some tasks of each key's principal."""
        found = []
        async with aiohttp.ClientSession() as session:
            for key in self.keys or [""]:
                headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
                headers |= {"Authorization": f"Bearer {key}"} if key else {}
                ids = []
                for _ in range(each):
                    body = send_message(TEXT, uuid4().hex, blocking=False)
                    async with session.post(self.url + self.path, data=body, headers=headers) as answer:
                        ids.append((await answer.json())["result"]["task"]["id"])
                found.append(ids)
        return found

    async def load(self, script: str, seconds: float, **spec: Any) -> dict[str, Any]:
        """Run the load generator once."""
        whole = {
            "script": script,
            "seconds": seconds,
            "url": self.url,
            "path": self.path,
            "keys": list(self.keys),
            "connections": CONNECTIONS,
            "run": uuid4().hex[:8],
            **spec,
        }
        before = self._cpu()
        measured = await program("load", whole)
        done = measured["rate"] * measured["seconds"]
        return {**measured, "server_us": (self._cpu() - before) * 1e6 / max(done, 1)}

    async def stream(
        self, streams: int, events: int, agents: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Any]:
        """Some streams at once, each of so many small events."""
        spec = {
            "url": self.url,
            "path": self.path,
            "keys": list(self.keys),
            "agents": list(agents)[:streams],
            "streams": streams,
            "events": events,
        }
        before = self._cpu()
        measured = await program("streaming", spec)
        done = measured["rate"] * measured["seconds"]
        return {**measured, "server_us": (self._cpu() - before) * 1e6 / max(done, 1)}

    async def idle(self, readers: int) -> float:
        """MiB that so many subscribers take who wait for one task."""
        ((task, *_), *_) = await self.tasks(1)
        spec = {"url": self.url, "path": self.path, "keys": list(self.keys), "readers": readers, "task": task}
        before = self._resident()
        process = await _spawn("streaming", json.dumps(spec), stdin=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert (await process.stdout.readline()) == b"there\n"
        taken = self._resident() - before
        await process.communicate(b"")
        return taken

    def _resident(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _cpu(self) -> float:
        """Processor seconds that the server has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Hub(Server):
    """A hub, with agents whose work the benchmark does."""

    agents: Sequence[tuple[str, str]] = ()
    bulk: str | None = None
    """The agent of the external worker, and its key."""

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of its REST API, as an operator."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, json=body, headers=headers) as answer,
        ):
            told = await answer.json()
            assert answer.status < 300, told
            return told["data"]

    async def cycles(self, seconds: float, *, at_once: bool) -> dict[str, Any]:
        """Claim, start and complete, as often as it goes, with enough work put there before.

        By 16 workers with three requests each, or `at_once` by 48 with two: their claim starts the task, and
        they prefer a minimal answer.
        """
        await self.fill(int(2_500 * seconds))
        agent_keys = {"keys": [key for _, key in self.agents], "agents": [agent for agent, _ in self.agents]}
        workers = 2 * AGENTS if at_once else CONNECTIONS
        return await self.load("cycle", seconds, at_once=at_once, connections=workers, **agent_keys)

    async def fill(self, wanted: int) -> None:
        """Make at least so many tasks ready."""
        there = (await self.ask("GET", "/api/v1/tasks/queue-depth"))["ready"]
        for _ in range(there, wanted, 1_000):
            await self.ask("POST", "/api/v1/tasks/batch", {"tasks": [{"title": "bench"}] * 1_000})

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """An external worker with places for 64 tasks, while the block runs."""
        if self.bulk is None:
            made = await self.ask("POST", "/api/v1/agents/register", {"name": "echo", "max_concurrent": 64})
            self.bulk = f"{made['id']}:{made['api_key']}"
        process = await _spawn("worker", self.url, *[self.bulk] * 2)
        try:
            await asyncio.sleep(0.7)  # until all its claims wait
            yield
        finally:
            process.kill()
            await process.wait()

    async def latency(self, samples: int) -> dict[str, Any]:
        """From submit to claim, with one worker that waits."""
        agent, agent_key = self.agents[0]
        spec = {"url": self.url, "key": self.keys[0], "agent": agent, "agent_key": agent_key}
        return await program("latency", {**spec, "samples": samples})


def core(n: int) -> int:
    """The n-th core that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[n % len(cores)]


async def _spawn(name: str, *arguments: str, stdin: int | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", f"tests.bench.{name}", *arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
    )


async def program(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run one of the benchmark's programs; the JSON that it prints."""
    process = await _spawn(name, json.dumps(spec))
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{name} ended with {process.returncode}"
    result: dict[str, Any] = json.loads(output)
    return result


@asynccontextmanager
async def hub(name: str, directory: Path, url: str) -> AsyncIterator[Hub]:
    """A hub on an empty database."""
    directory.mkdir()  # noqa: ASYNC240
    process = HubProcess(directory, url, core=core(0))
    await process.start()
    try:
        served = Hub(name, process.url, "/a2a", process.pid)
        owners = [{"scope": "agent", "owner_type": "user", "owner_id": f"user{n}"} for n in range(PEOPLE)]
        served.keys = [(await served.ask("POST", "/api/v1/api-keys", owner))["api_key"] for owner in owners]
        made = [
            await served.ask("POST", "/api/v1/agents/register", {"name": f"a{n}", "max_concurrent": 2})
            for n in range(AGENTS)
        ]
        served.agents = [(agent["id"], agent["api_key"]) for agent in made]
        yield served
    finally:
        await process.kill()


@asynccontextmanager
async def reference(name: str, store: str) -> AsyncIterator[Server]:
    """The SDK's server on `memory` or on a SQLite file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await _spawn("reference", store, str(port))
    try:
        await _listening(port)
        yield Server(name, f"http://127.0.0.1:{port}", "/", process.pid)
    finally:
        process.kill()
        await process.wait()


async def _listening(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
