"""A workflow of many tasks in a random graph, while its workers and its hub are killed at random.

At the end the workflow is completed, every step was made once and done once, after all that it depends on,
and every output is what it must be.
"""

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.client import Crossdock
from schemas.vocabulary import TaskState
from tests.crash.dag_worker import answer
from tests.crash.hub_process import ADMIN_KEY, ROOT, HubProcess
from tests.crash.run import left_behind
from tests.properties import law

NEAR = 60
"""How far back a task may depend on another."""


@dataclass
class Report:
    """What happened, and what was wrong with it."""

    database: str
    seconds: float
    figures: dict[str, int]
    faults: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """The figures by name."""
        return {**self.figures, "faults": len(self.faults)}


@dataclass(frozen=True)
class Graph:
    """Which task depends on which."""

    needs: Mapping[str, Sequence[str]]

    @classmethod
    def random(cls, tasks: int, seed: int) -> "Graph":
        """A graph without circles: each task depends on up to four that stand a little before it."""
        chance, needs = random.Random(seed), {}
        for n in range(tasks):
            before = range(max(0, n - NEAR), n)
            chosen = chance.sample(before, min(len(before), chance.randint(0, 4)))
            needs[f"t{n}"] = [f"t{m}" for m in sorted(chosen)]
        return cls(needs)

    def definition(self) -> dict[str, Any]:
        """The playbook: a task that is lost is done again as often as need be."""
        retry = {
            "max_attempts": 100,
            "backoff_strategy": "fixed",
            "initial_backoff_seconds": 0,
            "retryable_categories": ["infrastructure"],
        }
        tasks = [
            {
                "name": name,
                "depends_on": [*needs],
                "input": {"of": [f"{{{{ tasks.{need}.output.sum }}}}" for need in needs]},
                "retry_policy": retry,
            }
            for name, needs in self.needs.items()
        ]
        return {"stages": [{"name": "sums", "tasks": tasks}]}

    def answers(self) -> dict[str, int]:
        """What each task must come to."""
        found: dict[str, int] = {}
        for name, needs in self.needs.items():
            found[name] = answer([found[need] for need in needs])
        return found


class Workforce:
    """Workers in processes of their own. Each has an agent, which outlives it."""

    def __init__(self, url: str, pause: float) -> None:
        self._url = url
        self._pause = pause
        self._agents: list[tuple[str, str]] = []
        self._running: list[asyncio.subprocess.Process] = []

    async def hire(self, client: Crossdock, count: int) -> None:
        """Register so many agents, and let them work."""
        for n in range(count):
            agent = await client.agents.register(f"adder-{n}")
            self._agents.append((agent.id, str(agent.raw["api_key"])))
            self._running.append(await self._start(n))

    async def _start(self, n: int) -> asyncio.subprocess.Process:
        agent_id, key = self._agents[n]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.crash.dag_worker", agent_id),
            cwd=ROOT,
            env={
                **os.environ,
                "CROSSDOCK_URL": self._url,
                "CROSSDOCK_API_KEY": key,
                "PAUSE": str(self._pause),
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self, n: int) -> None:
        """SIGKILL one, whatever it does, and start it again."""
        await self._end(n)
        self._running[n] = await self._start(n)

    async def dismiss(self) -> None:
        """End them all."""
        for n in range(len(self._running)):
            await self._end(n)

    async def _end(self, n: int) -> None:
        process = self._running[n]
        if process.returncode is None:
            process.kill()
        await process.wait()


async def run(
    directory: Path, url: str, *, tasks: int, workers: int, kills: int, seed: int, pause: float = 0.01
) -> Report:
    """Run such a workflow on an empty database, with so many kills of the hub and of workers."""
    graph, chance, began = Graph.random(tasks, seed), random.Random(seed), time.monotonic()
    hub = HubProcess(directory, url)
    await hub.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(hub.kill)
        client = await stack.enter_async_context(Crossdock(hub.url, ADMIN_KEY, retry_seconds=60))
        workspace = await client.playbooks.workspace("crash")
        playbook = await client.playbooks.create("sums", "all is added up", graph.definition())
        made = await client.workflows.create(playbook["id"], workspace["id"], "sums", request_id="once")
        force = Workforce(hub.url, pause)
        stack.push_async_callback(force.dismiss)
        await force.hire(client, workers)
        over = asyncio.ensure_future(_over(client, made["id"]))
        killed = Counter[str]()
        for _ in range(kills):
            if (await asyncio.wait({over}, timeout=chance.uniform(0.3, 1.5)))[0]:
                break
            if chance.random() < 0.5:
                killed["kills of the hub"] += 1
                await hub.kill()
                await hub.start()
            else:
                killed["kills of a worker"] += 1
                await force.kill(chance.randrange(workers))
        await over
        ended = await client.workflows.get(made["id"])
    snapshot = await left_behind(url)
    report = Report(url.partition(":")[0], time.monotonic() - began, {**killed})
    _judge(report, graph, ended, snapshot)
    return report


async def _over(client: Crossdock, workflow_id: str) -> None:
    async for _ in client.workflows.follow(workflow_id):
        pass


def _judge(report: Report, graph: Graph, ended: Mapping[str, Any], snapshot: law.Snapshot) -> None:
    rows = {row["title"]: row for row in snapshot.rows["task"]}
    attempts = snapshot.rows["attempt"]
    outcomes = Counter(attempt["outcome"] for attempt in attempts)
    report.figures |= {
        "tasks": len(snapshot.rows["task"]),
        "attempts": len(attempts),
        "attempts lost": outcomes["expired"],
        "events": len(snapshot.rows["event"]),
    }
    faults = report.faults
    if ended["state"] != "completed":
        faults.append(f"the workflow is {ended['state']}: {ended['failure']}")
    if len(snapshot.rows["task"]) != len(graph.needs):
        faults.append(f"{len(snapshot.rows['task'])} tasks were made of {len(graph.needs)} steps")
    done = Counter(attempt["task_id"] for attempt in attempts if attempt["outcome"] == "completed")
    answers = graph.answers()
    for name, needs in graph.needs.items():
        row = rows.get(name)
        if row is None:
            faults.append(f"{name} was never made")
            continue
        if row["state"] != TaskState.COMPLETED or done[row["id"]] != 1:
            faults.append(f"{name} is {TaskState(row['state']).wire}, completed {done[row['id']]} times")
        elif row["output"] != {"sum": answers[name]}:
            faults.append(f"{name} came to {row['output']}, and not to {answers[name]}")
        late = [need for need in needs if need in rows and rows[need]["finished_at"] > row["created_at"]]
        if late:
            faults.append(f"{name} was made before {late[0]} was done")
    faults.extend(str(offence) for offence in law.offences(snapshot))
