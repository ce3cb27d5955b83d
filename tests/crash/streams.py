"""Readers of A2A streams whose hub is killed and started again: who heard what, and in which order.

Each task has some readers, which read in different ways and come back with the last id that they had; an
agent goes on writing meanwhile. What a reader keeps is what it was sent, with nothing taken out.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp

from tests.crash.hub_process import ADMIN_KEY, HubProcess

LEASE_SECONDS: Final = 3600
SETTLE_SECONDS: Final = 120.0
"""How long anything may take that only has to happen some time."""
_DOWN: Final = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)

Heard = tuple[str, str]
"""The id of an event, and its frame as canonical JSON."""


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class Site:
    """A hub that goes away now and then, and the credentials of one caller."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST to the REST API until it is answered; the data of the answer. `body` has a replay key."""
        while True:
            with contextlib.suppress(*_DOWN):
                async with self._session.post(
                    f"{self._url}/api/v1{path}", json=body, headers=self._headers
                ) as answer:
                    if answer.status < 300:
                        return (await answer.json())["data"]
                    if answer.status not in (429, 503):
                        raise AssertionError(f"{path}: {answer.status} {await answer.text()}")
            await asyncio.sleep(0.05)

    async def events(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, str]]:
        """The events of one stream, until it ends or breaks; none when it is refused for now."""
        with contextlib.suppress(*_DOWN):
            async with self._session.request(
                method, self._url + path, json=body, headers={**self._headers, **headers}
            ) as answer:
                if answer.status in (429, 503):
                    return
                kind = answer.headers.get("Content-Type", "")
                assert kind.startswith("text/event-stream"), (answer.status, await answer.text())
                fields: dict[str, str] = {}
                async for raw in answer.content:
                    line = raw.decode().rstrip("\n")
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                        continue
                    if "data" in fields:
                        yield fields
                    fields = {}


@dataclass(eq=False)
class Reader:
    """Somebody who follows one task until its end, whatever happens to the hub."""

    way: str
    site: Site
    task_id: str = ""
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    key: str = field(default_factory=lambda: uuid4().hex)

    async def run(self) -> None:
        """Read, and come back after each interruption, until the task is final."""
        while not self._over():
            before = self.connections
            async for event in self.site.events(*self._asked()):
                if self.connections == before:
                    self.connections += 1
                said = json.loads(event["data"])
                if "error" in said:  # the hub says goodbye
                    break
                self._take(event["id"], said.get("result", said))
            await asyncio.sleep(0.02)

    def _asked(self) -> tuple[str, str, Any, Mapping[str, str]]:
        resumed = {"Last-Event-ID": self.heard[-1][0]} if self.heard else {}
        headers = {"A2A-Version": "0.3" if self.way == "0.3" else "1.0", **resumed}
        if self.way == "rest":
            return "GET", f"/a2a/v1/tasks/{self.task_id}:subscribe", None, headers
        params: dict[str, Any] = {"id": self.task_id}
        method = "tasks/resubscribe" if self.way == "0.3" else "SubscribeToTask"
        if self.way == "send":
            method, headers = "SendStreamingMessage", {**headers, "Idempotency-Key": self.key}
            params = {"message": {"messageId": self.key, "role": "ROLE_USER", "parts": [{"text": "go"}]}}
        return "POST", "/a2a", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, headers

    def _take(self, id: str, frame: Any) -> None:
        self.heard.append((id, _canonical(frame)))
        if "task" in frame:
            self.task_id = frame["task"]["id"]
        self.begun.set()

    def _over(self) -> bool:
        return bool(self.heard) and any(
            f'"state": "{state}"' in self.heard[-1][1] for state in ("TASK_STATE_COMPLETED", "completed")
        )


WAYS: Final = ("send", "rpc", "rest", "0.3")


class Doer:
    """Whoever does the tasks: it goes on writing, each thing once, until it is told to end."""

    def __init__(self, site: Site, pause: float, seed: int) -> None:
        self._site = site
        self._pause = pause
        self._chance = random.Random(seed)
        self.ending = asyncio.Event()
        self.written: dict[str, list[str]] = {}
        """What was written of each task, in order."""

    async def take(self, tasks: int) -> Sequence[Mapping[str, Any]]:
        """Claim so many tasks."""
        made = {"name": "doer", "max_concurrent": tasks, "request_id": uuid4().hex}
        agent_id = (await self._site.post("/agents/register", made))["id"]
        held: list[Mapping[str, Any]] = []
        while len(held) < tasks:
            wanted = {"agent_id": agent_id, "start": True, "lease_seconds": LEASE_SECONDS, "limit": tasks}
            held += await self._site.post("/tasks/claim", {**wanted, "request_id": uuid4().hex}) or []
        return held

    async def do(self, held: Mapping[str, Any]) -> None:
        """See one task through: messages, and pieces of an artifact."""
        task, lease = f"/tasks/{held['id']}", {"lease_id": held["lease_id"]}
        tokens = self.written[held["id"]] = []
        pieces = 0
        while not self.ending.is_set():
            token = uuid4().hex
            tokens.append(token)
            body = {"parts": [{"text": token}], "request_id": token, **lease}
            if self._chance.random() < 0.5:
                await self._site.post(f"{task}/messages", body)
            else:
                piece = {"artifact_id": "x", "append": pieces > 0, "last_chunk": False}
                await self._site.post(f"{task}/artifacts", {**body, **piece})
                pieces += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0, 2 * self._pause)):
                    await self.ending.wait()
        end = {"output": "done", "request_id": uuid4().hex, **lease}
        await self._site.post(f"{task}/complete", end)


@dataclass
class Report:
    """What was heard, and what was wrong with it."""

    database: str
    kills: int
    seconds: float
    readers: Sequence[Reader]
    written: int
    faults: Sequence[str]

    def counts(self) -> dict[str, int]:
        """The figures by name."""
        return {
            "kills": self.kills,
            "tasks": len({reader.task_id for reader in self.readers}),
            "streams": len(self.readers),
            "connections": sum(reader.connections for reader in self.readers),
            "events written": self.written,
            "events heard": sum(len(reader.heard) for reader in self.readers),
            "faults": len(self.faults),
        }


async def run(directory: Path, url: str, *, tasks: int, kills: int, seed: int, pause: float = 0.5) -> Report:
    """Follow so many tasks by four readers each while the hub is killed; judge what each was sent."""
    chance, began = random.Random(seed), time.monotonic()
    hub = HubProcess(directory, url)
    await hub.start()
    try:
        async with AsyncExitStack() as stack:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=40)
            connector = aiohttp.TCPConnector(limit=0)
            session = await stack.enter_async_context(
                aiohttp.ClientSession(timeout=timeout, connector=connector)
            )
            site = Site(session, hub.url, ADMIN_KEY)
            readers = [Reader(way, site) for _ in range(tasks) for way in WAYS]
            doer = Doer(site, pause, seed)
            running = await _begin(stack, readers, doer, tasks)
            for _ in range(kills):
                await _everybody_hears(readers)
                await asyncio.sleep(chance.uniform(0, 0.5))
                await hub.kill()
                await hub.start()
            await _everybody_hears(readers)
            doer.ending.set()
            async with asyncio.timeout(SETTLE_SECONDS):
                await asyncio.gather(*running)
            faults = [fault for group in _by_task(readers) for fault in await _faults(site, group, doer)]
    finally:
        await hub.kill()
    written = sum(len(tokens) for tokens in doer.written.values())
    seconds = time.monotonic() - began
    return Report(url.partition(":")[0], kills, seconds, readers, written, faults)


async def _begin(
    stack: AsyncExitStack, readers: Sequence[Reader], doer: Doer, tasks: int
) -> Sequence["asyncio.Task[None]"]:
    """Every stream is open, and every task is being done."""
    running: list[asyncio.Task[None]] = []

    def start(work: Any) -> None:
        running.append(asyncio.create_task(work))
        stack.callback(running[-1].cancel)

    async with asyncio.timeout(SETTLE_SECONDS):
        for group in _by_task(readers):
            start(group[0].run())
        for sender, *others in _by_task(readers):
            await sender.begun.wait()
            for reader in others:
                reader.task_id = sender.task_id
                start(reader.run())
        for reader in readers:
            await reader.begun.wait()
        for held in await doer.take(tasks):
            start(doer.do(held))
    return running


def _by_task(readers: Sequence[Reader]) -> Sequence[Sequence[Reader]]:
    return [readers[n : n + len(WAYS)] for n in range(0, len(readers), len(WAYS))]


async def _everybody_hears(readers: Sequence[Reader]) -> None:
    """Return once every reader has heard something new."""
    before = [len(reader.heard) for reader in readers]
    async with asyncio.timeout(SETTLE_SECONDS):
        while any(len(reader.heard) == n for reader, n in zip(readers, before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _faults(site: Site, readers: Sequence[Reader], doer: Doer) -> Sequence[str]:
    """What the readers of one task heard otherwise than it happened."""
    sender = readers[0]
    anew = Reader("rpc", site, sender.task_id, [("1", "{}")])
    await anew.run()
    happened = anew.heard[1:]
    found = []
    told = [token for _, frame in happened for token in doer.written[sender.task_id] if token in frame]
    if told != doer.written[sender.task_id]:
        found.append(f"{sender.task_id}: the log has {len(told)} of what was written, or not in order")
    for reader in readers:
        first, *rest = reader.heard
        since = int(first[0])
        expected = [heard for heard in happened if int(heard[0].partition(".")[0]) > since]
        if reader.way == "0.3":  # it is told in other words
            expected, rest = [(id, "") for id, _ in expected], [(id, "") for id, _ in rest]
        if rest != expected:
            ids = [id for id, _ in rest]
            found.append(
                f"{sender.task_id}, {reader.way}: heard {len(rest)} of {len(expected)} events, "
                f"{len(ids) - len(set(ids))} of them twice, in {reader.connections} connections"
            )
    return found
