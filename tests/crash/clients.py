"""Sixteen clients that go on while their hub is killed, each on a connection of its own."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from tests.crash.history import History, Reading, Write

LEASE_SECONDS = 5
RETRY = {
    "max_attempts": 50,
    "backoff_strategy": "fixed",
    "initial_backoff_seconds": 0.2,
    "retryable_categories": ["infrastructure"],
}
_DOWN = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)
_LATER = frozenset({429, 503})


class Line:
    """One client's connection, which is made anew whenever it breaks."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "A2A-Version": "1.0"}

    async def ask(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """POST once: status and parsed body.

        Raises:
            one of `_DOWN`: nobody knows whether it happened.
        """
        async with self._session.post(
            self._url + path, json=body, headers={**self._headers, **(headers or {})}
        ) as answer:
            return answer.status, json.loads(await answer.read() or b"null")

    def open(self, path: str, headers: Mapping[str, str]) -> Any:
        """GET a stream."""
        return self._session.get(self._url + path, headers={**self._headers, **headers})


@asynccontextmanager
async def line(url: str, key: str) -> AsyncIterator[Line]:
    """A client's connection for as long as the block runs."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=40)
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Line(session, url, key)


class Client:
    """Somebody who writes, and says the same again until it is answered."""

    def __init__(self, name: str, line: Line, history: History, seed: int) -> None:
        self.name = name
        self.line = line
        self.history = history
        self.chance = random.Random(seed)
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Go on until told to stop."""
        raise NotImplementedError  # each kind of client does its own

    async def pause(self, longest: float) -> None:
        """Rest for a random while, shorter when everybody is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), self.chance.uniform(0, longest))

    async def write(
        self,
        write: Write,
        path: str,
        body: Mapping[str, Any],
        *,
        tries: int = 1_000,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send until it is answered, at most `tries` times; the answer, or None. Now and then once more."""
        told = None
        for _ in range(tries):
            with contextlib.suppress(*_DOWN):
                status, told = await self.line.ask(path, body, headers)
                if status not in _LATER:
                    write.status = status
                    break
            await asyncio.sleep(self.chance.uniform(0.02, 0.2))
        if write.status is None:
            return None
        write.answer = outcome(told)
        if write.acknowledged and told is not None and self.chance.random() < 0.05:
            with contextlib.suppress(*_DOWN):
                status, again = await self.line.ask(path, body, headers)
                if status not in _LATER:
                    write.answers.append((status, outcome(again)))
        return told


def outcome(told: Any) -> Mapping[str, Any]:
    """The part of an answer by which two answers to one request are the same."""
    if told is None:
        return {}
    if "jsonrpc" in told:
        result = told.get("result")
        if result is None:
            return {"error": told["error"]["code"]}
        return {"task_id": result["task"]["id"]}  # its state is the present one
    if "data" not in told:
        return {"error": told["error"]["code"], "reason": told["error"].get("details", {}).get("reason_code")}
    data = told["data"]
    found = data[0] if isinstance(data, list) else data
    names = ("id", "state", "version", "attempt", "lease_id", "output", "message_id")
    return {name: found[name] for name in names if name in found}


class RestSubmitter(Client):
    """Submits over REST."""

    tasks: list[UUID]

    async def run(self) -> None:
        """Submit until told to stop."""
        while not self.stopping.is_set():
            await self.submit(self.history.mean("submit", self.name, token=str(uuid4())))
            await self.pause(0.05)

    async def submit(self, write: Write) -> None:
        """One task."""
        body = {"title": write.token, "retry_policy": RETRY, "request_id": write.request_id}
        told = await self.write(write, "/api/v1/tasks", body)
        if write.acknowledged:
            write.task_id = UUID(told["data"]["id"])


class A2ASubmitter(RestSubmitter):
    """Submits over A2A."""

    async def submit(self, write: Write) -> None:
        """One message."""
        message = {"messageId": write.token, "role": "ROLE_USER", "parts": [{"text": write.token}]}
        params = {"message": message, "configuration": {"returnImmediately": True}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
        told = await self.write(write, "/a2a", body, headers={"Idempotency-Key": write.request_id})
        if told is not None and "result" in told:
            write.task_id = UUID(told["result"]["task"]["id"])
        elif write.status == 200:
            write.status = 400  # JSON-RPC refuses with 200


class Canceller(Client):
    """Cancels some of what the others have submitted, now and then with grace."""

    async def run(self) -> None:
        """Cancel until told to stop."""
        while not self.stopping.is_set():
            await self.pause(0.6)
            known = [w.task_id for w in self.history.writes[-60:] if w.kind == "submit" and w.task_id]
            if not known:
                continue
            task_id = self.chance.choice(known)
            write = self.history.mean("cancel", self.name, task_id=task_id)
            body = {"reason": "changed my mind", "request_id": write.request_id}
            await self.write(write, f"/api/v1/tasks/{task_id}/cancel", body)


class Worker(Client):
    """Claims, starts, says something, completes; stalls, hands back and vanishes in between."""

    agent_id: str
    stalls: float

    async def run(self) -> None:
        """Work until told to stop."""
        while not self.stopping.is_set():
            write = self.history.mean("claim", self.name)
            started = self.chance.random() < 0.5
            body = {
                "agent_id": self.agent_id,
                "wait_seconds": 1,
                "lease_seconds": LEASE_SECONDS,
                "start": started,
                "request_id": write.request_id,
            }
            told = await self.write(write, "/api/v1/tasks/claim", body)
            if not write.acknowledged or told is None:
                continue
            held = told["data"]
            write.task_id, write.lease_id = UUID(held["id"]), UUID(held["lease_id"])
            await self.work(held, held["state"] == "in_progress")

    async def work(self, held: Mapping[str, Any], started: bool) -> None:
        """Do one task in one of the ways in which tasks are done."""
        fate = self.chance.random()
        if self.chance.random() < self.stalls:
            await self.come_late(held)
            return
        if fate < 0.02 and self.stalls:
            return  # vanishes; its next claim finds the task again, or its lease runs out
        if not started and not await self.step("start", held, {}):
            return
        if fate < 0.10:
            await self.step("refuse", held, {"reason": "busy", "requeue": True})
            return
        if fate < 0.40:
            said = str(uuid4())
            await self.step("say", held, {"parts": [{"text": "half"}], "message_id": said}, token=said)
        output = str(uuid4())
        await self.step("complete", held, {"output": output}, token=output)

    async def come_late(self, held: Mapping[str, Any]) -> None:
        """Stall until the lease has run out, and then write all the same."""
        over = datetime.fromisoformat(held["lease_expires_at"])
        await asyncio.sleep(max(0.0, (over - datetime.now(UTC)).total_seconds()) + 0.2)
        said, output = str(uuid4()), str(uuid4())
        await self.step("say", held, {"parts": [{"text": "late"}], "message_id": said}, token=said, late=True)
        await self.step("complete", held, {"output": output}, token=output, late=True)

    async def step(
        self,
        kind: str,
        held: Mapping[str, Any],
        body: Mapping[str, Any],
        *,
        token: str = "",
        late: bool = False,
    ) -> bool:
        """One write under the lease; tells whether it was accepted."""
        lease_id = held["lease_id"]
        write = self.history.mean(
            kind, self.name, task_id=UUID(held["id"]), lease_id=UUID(lease_id), token=token, late=late
        )
        path = f"/api/v1/tasks/{held['id']}/{'messages' if kind == 'say' else kind}"
        body = {**body, "lease_id": lease_id, "request_id": write.request_id}
        # Some give up after a try or two, so that their writes stay a maybe.
        await self.write(write, path, body, tries=self.chance.choice([1, 2, 1_000]))
        return write.acknowledged


class Subscriber:
    """Follows the event stream, and comes back with its cursor whenever the stream ends."""

    def __init__(self, line: Line, reading: Reading, seed: int) -> None:
        self._line = line
        self._chance = random.Random(seed)
        self.reading = reading

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with contextlib.suppress(*_DOWN):
                async with asyncio.timeout(self._chance.uniform(0.5, 5)):
                    await self._follow()
            await asyncio.sleep(self._chance.uniform(0, 0.1))

    async def _follow(self) -> None:
        cursor = {"Last-Event-ID": str(self.reading.cursor)}
        async with self._line.open("/api/v1/events/stream", cursor) as answer:
            if answer.status != 200:
                return
            self.reading.connections += 1
            fields: dict[str, str] = {}
            async for raw in answer.content:
                text = raw.decode().rstrip("\n")
                if text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                    continue
                if "id" in fields:
                    self._take(fields)
                fields = {}

    def _take(self, fields: Mapping[str, str]) -> None:
        said = json.loads(fields["data"])
        self.reading.seen.append((int(fields["id"]), fields["event"], said["task_id"], said["version"]))


def names(kind: str, count: int) -> Sequence[str]:
    """Names of clients of one kind."""
    return [f"{kind}{n}" for n in range(1, count + 1)]
