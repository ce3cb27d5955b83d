"""A webhook whose receiver fails, hangs and is restarted, while the hub is killed, too.

At the end every event has been accepted at least once with a signature that the library of Standard Webhooks
takes, and what is about one task was accepted in the order of its log.
"""

import asyncio
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from standardwebhooks import Webhook

from tests.crash.dag import Report
from tests.crash.hub_process import ADMIN_KEY, HubProcess

PER_TASK = 4
"""Events of a task that is made, claimed, started and completed."""
BATCH = 100
FAILING = 0.3
HANGING = 0.003
RETRIES = ",".join(["200ms", "500ms", "1s", *["2s"] * 30])
QUIET_SECONDS = 120.0


class Unreliable:
    """A receiver that takes what it accepts for good, and refuses much."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._runner: web.AppRunner | None = None
        self._arrived = asyncio.Event()
        self.port = 0
        self.secret = ""
        self.seen = self.refused = self.hung = self.restarts = self.forged = 0
        self.accepted: list[dict[str, Any]] = []

    async def start(self) -> None:
        """Begin to serve, on the same port as before."""
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Hang up, in mid-request too."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """Be away for a moment."""
        await self.stop()
        self.restarts += 1
        await self.start()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen += 1
        self._arrived.set()
        try:
            told = Webhook(self.secret).verify(body.decode(), dict(request.headers))
        except Exception:
            self.forged += 1
            return web.Response(status=401)
        fate = self._chance.random()
        if fate < HANGING:
            self.hung += 1
            await asyncio.Event().wait()
        if fate < FAILING:
            self.refused += 1
            return web.Response(status=self._chance.choice((500, 503, 429, 404)))
        self.accepted.append(told)
        return web.Response()

    async def until(self, expected: set[int]) -> None:
        """Return once all of these were accepted, or nothing more comes."""
        while not expected <= {told["pos"] for told in self.accepted}:
            self._arrived.clear()
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                return


class Work:
    """Tasks that are made and done, a batch at a time, over a hub that may be away."""

    def __init__(self, hub: HubProcess, session: aiohttp.ClientSession) -> None:
        self._hub = hub
        self._session = session

    async def post(self, path: str, body: Any, key: str) -> Any:
        """One call; it is repeated under the same key until the hub answers."""
        headers = {"Idempotency-Key": key}
        async with asyncio.timeout(60):
            while True:
                try:
                    url = f"{self._hub.url}/api/v1{path}"
                    async with self._session.post(url, json=body, headers=headers) as answer:
                        if answer.status < 500:
                            answer.raise_for_status()
                            return (await answer.json())["data"]
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)

    async def batch(self, agent_id: str, n: int) -> None:
        """So many tasks from their making to their end."""
        made = await self.post("/tasks/batch", {"tasks": [{"title": "x"}] * BATCH}, f"make-{n}")
        claim = {"agent_id": agent_id, "limit": BATCH, "start": True}
        held = await self.post("/tasks/claim", claim, f"claim-{n}")
        assert len(held) == len(made) == BATCH
        results = [{"task_id": one["id"], "lease_id": one["lease_id"], "output": n} for one in held]
        done = await self.post("/tasks/complete-batch", {"results": results}, f"complete-{n}")
        assert all("data" in one for one in done), done

    async def logged(self) -> set[int]:
        """Where the hub's log has what was to be told."""
        found: set[int] = set()
        query = {"after": "0", "limit": "100", "entity_type": "task"}
        while True:
            async with self._session.get(f"{self._hub.url}/api/v1/events", params=query) as answer:
                page = await answer.json()
            found |= {event["id"] for event in page["data"]}
            if not page["meta"]["has_more"]:
                return found
            query["after"] = str(page["meta"]["next_after"])


async def run(directory: Path, database_url: str, *, events: int, kills: int, seed: int) -> Report:
    """So many events, and so many deaths of hub and receiver in turn."""
    began, chance = time.monotonic(), random.Random(seed)
    receiver = Unreliable(chance)
    await receiver.start()
    hub = HubProcess(
        directory,
        database_url,
        CROSSDOCK_OUTBOUND_ALLOW=f"127.0.0.1:{receiver.port}",
        CROSSDOCK_DELIVERY_RETRIES=RETRIES,
    )
    await hub.start()
    batches = events // (PER_TASK * BATCH)
    try:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            work = Work(hub, session)
            wanted = {"url": f"http://127.0.0.1:{receiver.port}/hook", "event_types": ["task.*"]}
            receiver.secret = (await work.post("/webhooks", wanted, "hook"))["secret"]
            agent = {"name": "doer", "max_concurrent": BATCH}
            agent_id = (await work.post("/agents/register", agent, "agent"))["id"]
            deaths = {batches * (k + 1) // (kills + 1) for k in range(kills)}
            for n in range(batches):
                await work.batch(agent_id, n)
                if n in deaths:
                    await hub.kill()
                    await receiver.restart()
                    await hub.start()
            expected = await work.logged()
            await receiver.until(expected)
    finally:
        await hub.kill()
        await receiver.stop()
    report = _judged(database_url, time.monotonic() - began, receiver, expected)
    if len(expected) < batches * BATCH * PER_TASK:
        report.faults.append(f"the log has {len(expected):,} events only")
    return report


def _judged(url: str, seconds: float, receiver: Unreliable, expected: set[int]) -> Report:
    figures = {
        "events": len(expected),
        "requests": receiver.seen,
        "refused": receiver.refused,
        "left hanging": receiver.hung,
        "accepted": len(receiver.accepted),
        "receiver restarts": receiver.restarts,
    }
    report = Report(url.split(":")[0], seconds, figures)
    positions = {told["pos"] for told in receiver.accepted}
    if positions != expected:
        missing, more = len(expected - positions), len(positions - expected)
        report.faults.append(f"{missing:,} events were never accepted, and {more:,} are not in the log")
    if receiver.forged:
        report.faults.append(f"{receiver.forged} requests had a signature that does not verify")
    order: dict[str, list[int]] = defaultdict(list)
    for told in receiver.accepted:
        known = order[told["data"]["entity_id"]]
        if told["pos"] not in known:
            known.append(told["pos"])
    for entity, known in order.items():
        if known != sorted(known):
            report.faults.append(f"{entity} was told out of order: {known}")
    return report
