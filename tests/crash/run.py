"""One crash run: load, kill, start again, many times over; then silence, and the verdict."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import sqlalchemy as sa

from core.store import open_store
from schemas.vocabulary import TaskState
from tests.crash import checker
from tests.crash.clients import (
    A2ASubmitter,
    Canceller,
    Client,
    Line,
    RestSubmitter,
    Subscriber,
    Worker,
    line,
    names,
)
from tests.crash.history import History, Reading
from tests.crash.hub_process import ADMIN_KEY, HubProcess
from tests.properties import law

DRAIN_SECONDS = 90.0
OPEN_STATES = [
    state.wire for state in TaskState if state.wire not in ("completed", "failed", "cancelled", "rejected")
]


@dataclass
class Report:
    """What happened, and what was wrong with it."""

    database: str
    kills: int
    seconds: float
    history: History
    snapshot: law.Snapshot
    faults: Sequence[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """The figures by name."""
        writes = self.history.writes
        states = Counter(TaskState(task["state"]).wire for task in self.snapshot.rows["task"])
        outcomes = Counter(attempt["outcome"] for attempt in self.snapshot.rows["attempt"])
        late = [write for write in writes if write.late]
        return {
            "kills": self.kills,
            "writes meant": len(writes),
            "writes acknowledged": sum(w.acknowledged for w in writes),
            "writes refused": sum(w.status is not None and not w.acknowledged for w in writes),
            "writes unanswered": sum(w.status is None for w in writes),
            "answers repeated": sum(len(w.answers) for w in writes),
            "tasks": len(self.snapshot.rows["task"]),
            **{f"tasks {state}": n for state, n in sorted(states.items())},
            "attempts": len(self.snapshot.rows["attempt"]),
            "attempts lost": outcomes["expired"],
            "writes with a dead lease": len(late),
            "of which accepted": sum(w.acknowledged for w in late),
            "events": len(self.snapshot.rows["event"]),
            "subscribers": len(self.history.readings),
            "events received": sum(len(r.seen) for r in self.history.readings),
            "subscriptions": sum(r.connections for r in self.history.readings),
            "faults": len(self.faults),
        }


async def run(
    directory: Path, url: str, *, kills: int, seed: int, mutant: str | None = None, stalls: float = 0.03
) -> Report:
    """Kill a hub on this empty database so many times under load, and judge what is left.

    `mutant` names a hub that is broken on purpose; `stalls` is how many tasks out of one are done too late.
    """
    chance = random.Random(seed)
    hub = HubProcess(directory, url, module=("tests.crash.mutant", mutant) if mutant else ("hub",))
    history = History()
    began = time.monotonic()
    await hub.start()
    try:
        async with AsyncExitStack() as stack:
            load = await _Load.begin(stack, hub, history, seed, stalls)
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.3, 1.6))
                await hub.kill()
                await hub.start()
            await load.end()
    finally:
        await hub.kill()
    snapshot = await left_behind(url)
    report = Report(url.partition(":")[0], kills, time.monotonic() - began, history, snapshot)
    report.faults = checker.faults(history, snapshot)
    return report


_ASKING: Sequence[tuple[type[Client], str, int]] = (
    (RestSubmitter, "rest", 4),
    (A2ASubmitter, "a2a", 2),
    (Canceller, "cancel", 2),
)


class _Load:
    """The sixteen clients and the subscribers."""

    def __init__(self, admin: Line, history: History) -> None:
        self._admin = admin
        self._history = history
        self._asking: list[Client] = []
        self._working: list[Worker] = []
        self._tasks: dict[Any, asyncio.Task[None]] = {}

    @classmethod
    async def begin(
        cls, stack: AsyncExitStack, hub: HubProcess, history: History, seed: int, stalls: float
    ) -> "_Load":
        """Everybody comes, and begins."""
        load = cls(await stack.enter_async_context(line(hub.url, ADMIN_KEY)), history)
        numbers = iter(range(seed * 1000, seed * 1000 + 1000))

        async def person(kind: type[Client], name: str, key: str) -> Any:
            own = await stack.enter_async_context(line(hub.url, key))
            return kind(name, own, history, next(numbers))

        key, user = await load._key()
        for kind, label, count in _ASKING:
            load._asking += [await person(kind, name, key) for name in names(label, count)]
        for name in names("worker", 8):
            agent = (await load._admin.ask("/api/v1/agents/register", {"name": name}))[1]["data"]
            worker = await person(Worker, name, agent["api_key"])
            worker.agent_id, worker.stalls = agent["id"], stalls
            load._working.append(worker)
        for client in (*load._asking, *load._working):
            load._tasks[client] = asyncio.create_task(client.run())
        for name, reader, sees in (("all", ADMIN_KEY, None), ("too", ADMIN_KEY, None), ("own", key, user)):
            reading = Reading(name, sees)
            history.readings.append(reading)
            own = await stack.enter_async_context(line(hub.url, reader))
            subscriber = Subscriber(own, reading, next(numbers))
            load._tasks[subscriber] = asyncio.create_task(subscriber.run())
        return load

    async def _key(self) -> tuple[str, UUID]:
        """A key for whoever submits, and whom it stands for."""
        owner = {"scope": "agent", "owner_type": "user", "owner_id": "submitter"}
        key: str = (await self._admin.ask("/api/v1/api-keys", owner))[1]["data"]["api_key"]
        async with line(self._admin._url, key) as own:
            first = await own.ask("/api/v1/tasks", {"title": str(uuid4())})
            return key, UUID(first[1]["data"]["origin"]["principal_id"])

    async def end(self) -> None:
        """Nobody asks for more, everything that is open is done, and all hear of it."""
        await self._stop(self._asking)
        for worker in self._working:
            worker.stalls = 0
        await _until(self._all_done, DRAIN_SECONDS, "every task to end")
        await self._stop(self._working)
        await _until(self._all_read, 15, "every subscriber to read to the end of the log")
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _stop(self, clients: Sequence[Client]) -> None:
        for client in clients:
            client.stopping.set()
        for client in clients:
            await self._tasks.pop(client)

    async def _all_done(self) -> bool:
        for state in OPEN_STATES:
            async with self._admin.open(f"/api/v1/tasks?state={state}&per_page=1", {}) as answer:
                if (await answer.json())["data"]:
                    return False
        return True

    async def _all_read(self) -> bool:
        async with self._admin.open("/api/v1/events?limit=1", {}) as answer:
            end = (await answer.json())["data"][0]["id"]
        return all(r.cursor >= end for r in self._history.readings if r.submitter_id is None)


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.1)


async def left_behind(url: str) -> law.Snapshot:
    """What the killed hub's database holds, once every event has its position."""
    store = open_store(url)
    await store.start()
    snapshot = await law.read(store)

    async def numbered() -> bool:
        nonlocal snapshot
        snapshot = await law.read(store)
        return not snapshot.outbox

    try:
        await _until(numbered, 10, "the sequencer")
    finally:
        await store.stop()
    return snapshot


@asynccontextmanager
async def postgres_database(address: str) -> AsyncIterator[str]:
    """An empty PostgreSQL database beside the one that is named, for as long as the block runs."""
    name = f"crossdock_crash_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(address)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield sa.make_url(address).set(database=name).render_as_string(hide_password=False)
        finally:
            await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()
