"""`make bench`: the hub against the A2A reference server, in one interleaved run.

Servers run on the machine's first core, whatever loads them on the second. Rounds go over all systems in
turn, so that a busy moment of the machine meets them alike; medians of the rounds are shown, and ratios.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import report
from tests.bench.backlog import claim_costs
from tests.bench.history import history_costs
from tests.bench.report import Results
from tests.bench.servers import Hub, Server, hub, reference
from tests.crash.run import postgres_database


@dataclass(frozen=True)
class Effort:
    """How long everything takes."""

    rounds: int
    seconds: float
    latencies: int
    depths: tuple[int, ...]
    claims: int
    finished: tuple[int, int]
    """Tasks in the history, each with ten events."""


STREAMS = 8
"""Streams at once."""
FULL = Effort(
    rounds=5,
    seconds=4.0,
    latencies=400,
    depths=(1_000, 100_000, 1_000_000),
    claims=600,
    finished=(10_000, 1_000_000),
)
QUICK = Effort(
    rounds=2, seconds=1.0, latencies=60, depths=(1_000, 100_000), claims=200, finished=(10_000, 100_000)
)


def main() -> int:
    """Run everything; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, for a first look")
    parser.add_argument("--rounds", type=int, help="of the comparison (5)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, too")
    parser.add_argument(
        "--postgres", metavar="URL", help="a server to measure as well; a database is made there and dropped"
    )
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    results = asyncio.run(_measure(effort, options.rounds or effort.rounds, options.postgres))
    report.show(results)
    if options.json:
        options.json.write_text(json.dumps(results.plain(), indent=2) + "\n")
    return 1 if results.missed() else 0


async def _measure(effort: Effort, rounds: int, postgres: str | None) -> Results:
    results = Results(_machine())
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-bench-")))
        _note("starting the servers")
        systems: list[Server] = [
            await stack.enter_async_context(reference("reference, memory", "memory")),
            await stack.enter_async_context(reference("reference, SQLite", f"{directory}/reference.db")),
        ]
        hubs = {"hub, SQLite": f"sqlite:///{directory}/%s.db"}
        pairs: dict[str, tuple[Hub, Hub]] = {}
        for name, url in hubs.items():
            pairs[name] = (
                await stack.enter_async_context(hub(name, directory / "queue", url % "queue")),
                await stack.enter_async_context(hub(name, directory / "work", url % "work")),
            )
        if postgres is not None:
            queue, work = [await stack.enter_async_context(postgres_database(postgres)) for _ in range(2)]
            pairs["hub, PostgreSQL"] = (
                await stack.enter_async_context(hub("hub, PostgreSQL", directory / "pg-queue", queue)),
                await stack.enter_async_context(hub("hub, PostgreSQL", directory / "pg-work", work)),
            )
        for n in range(1, rounds + 1):
            for system in systems:
                _note(f"round {n} of {rounds}: {system.name}")
                await _reference_round(system, effort, results)
            for name, (queue_hub, work_hub) in pairs.items():
                _note(f"round {n} of {rounds}: {name}")
                await _hub_round(queue_hub, work_hub, effort, results)
        for name, (_, work_hub) in pairs.items():
            _note(f"idle subscribers: {name}")
            results.idle[name] = await work_hub.idle(1_000)
            _note(f"latency: {name}")
            results.latency[name] = await work_hub.latency(effort.latencies)
    await _backlogs(effort, postgres, results)
    return results


async def _reference_round(system: Server, effort: Effort, results: Results) -> None:
    seconds = effort.seconds
    results.add("send, return at once", system.name, await system.load("send", seconds, blocking=False))
    results.add("send, blocking", system.name, await system.load("send", seconds, blocking=True))
    ids = await system.tasks(50)
    results.add("get task", system.name, await system.load("get", seconds, ids=ids))
    results.add("stream of 1,000 events", system.name, await system.stream(STREAMS, 1_000))


async def _hub_round(queue: Hub, work: Hub, effort: Effort, results: Results) -> None:
    name, seconds = queue.name, effort.seconds
    results.add("send, return at once", name, await queue.load("send", seconds, blocking=False))
    async with work.worker():
        results.add("send, blocking", name, await work.load("send", seconds, blocking=True))
    ids = await queue.tasks(50)
    results.add("get task", name, await queue.load("get", seconds, ids=ids))
    results.add("stream of 1,000 events", name, await work.stream(STREAMS, 1_000, work.agents))
    results.add("submit over REST", name, await queue.load("submit", seconds))
    results.add("claim, start, complete", name, await queue.cycles(seconds, at_once=False))
    results.add("claim and start, complete", name, await queue.cycles(seconds, at_once=True))


async def _backlogs(effort: Effort, postgres: str | None, results: Results) -> None:
    with tempfile.TemporaryDirectory(prefix="crossdock-bench-") as directory:
        _note("claims at a backlog: SQLite")
        url = f"sqlite:///{directory}/backlog.db"
        results.claims["hub, SQLite"] = await claim_costs(url, effort.depths, effort.claims)
        _note("beside a long history: SQLite")
        url = f"sqlite:///{directory}/history.db"
        results.history["hub, SQLite"] = await history_costs(url, effort.finished, effort.claims)
    if postgres is not None:
        _note("claims at a backlog: PostgreSQL")
        async with postgres_database(postgres) as url:
            results.claims["hub, PostgreSQL"] = await claim_costs(url, effort.depths, effort.claims)
        _note("beside a long history: PostgreSQL")
        async with postgres_database(postgres) as url:
            results.history["hub, PostgreSQL"] = await history_costs(url, effort.finished, effort.claims)


def _machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load before": os.getloadavg()[0],
    }


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
