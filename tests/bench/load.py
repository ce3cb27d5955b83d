"""The load generator: sixteen keep-alive connections on raw sockets, in a process and on a core of its own.

Each connection follows a script, a generator that yields request bytes and is sent the answer. Run as
`python -m tests.bench.load SPEC`, where SPEC is JSON; the result is JSON on standard output, with the share
of its core that the generator itself used, so that a reader can see that it was not the bottleneck.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import uvloop

Script = Generator[bytes, tuple[int, bytes], None]


@dataclass
class Tally:
    """What the scripts achieved."""

    until: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.perf_counter() >= self.until

    def done(self, began: float) -> None:
        """Count one, with how long it took."""
        self.latencies.append(time.perf_counter() - began)

    def failed(self, status: int, body: bytes) -> None:
        """Count an answer that is not the wanted one."""
        self.errors += 1
        self.first_error = self.first_error or f"{status} {body[:300]!r}"


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, script: Script, finished: asyncio.Future[None]) -> None:
        self._script = script
        self._finished = finished
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(next(self._script))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = content_length(buffer[:head])
        if len(buffer) < head + 4 + length:
            return
        self._buffer = b""
        status, body = int(buffer[9:12]), buffer[head + 4 :]
        try:
            self._transport.write(self._script.send((status, body)))
        except StopIteration:
            self._transport.close()
            self._finished.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._finished.done():
            self._finished.set_exception(error or ConnectionError("the server hung up"))


def content_length(head: bytes) -> int:
    """How long the body behind this head is."""
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return 0
    end = lower.find(b"\r\n", at)
    return int(lower[at + 15 : end if end > 0 else len(lower)])


class Requests:
    """Request bytes for one server and key."""

    def __init__(self, url: str, key: str | None) -> None:
        base = urlsplit(url)
        assert base.hostname is not None
        assert base.port is not None
        self.host, self.port = base.hostname, base.port
        credential = f"Authorization: Bearer {key}\r\n" if key else ""
        self._rest = (
            f"Host: {base.netloc}\r\n{credential}A2A-Version: 1.0\r\n"
            "Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: "
        ).encode()

    def post(self, path: str, body: bytes, extra: bytes = b"") -> bytes:
        """A POST. `extra` are whole header lines."""
        return b"POST %b HTTP/1.1\r\n%b%b%d\r\n\r\n%b" % (path.encode(), extra, self._rest, len(body), body)


def send_message(text: str, number: str, *, blocking: bool) -> bytes:
    """A JSON-RPC SendMessage, of about 420 bytes."""
    message = {"messageId": f"m-{number}", "role": "ROLE_USER", "parts": [{"text": text}]}
    params = {"message": message, "configuration": {"returnImmediately": not blocking}}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "SendMessage", "params": params}).encode()


TEXT = "Summarise the following report in three sentences. " * 5


def _sending(spec: Mapping[str, Any], requests: Requests, tally: Tally, n: int) -> Script:
    number = 0
    mark = f"{spec['run']}-{n}-"
    # One template, cut where the number goes: building JSON anew would cost more than the server's read.
    template = send_message(TEXT, "NUMBER", blocking=spec["blocking"])
    while not tally.over:
        number += 1
        body = template.replace(b"NUMBER", f"{mark}{number}".encode())
        began = time.perf_counter()
        status, answer = yield requests.post(spec["path"], body)
        if status == 200 and b'"result"' in answer and (not spec["blocking"] or b"COMPLETED" in answer):
            tally.done(began)
        else:
            tally.failed(status, answer)


def _getting(spec: Mapping[str, Any], requests: Requests, tally: Tally, n: int) -> Script:
    ids = spec["ids"][n % len(spec["ids"])]
    bodies = [
        requests.post(
            spec["path"],
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task_id}}).encode(),
        )
        for task_id in ids
    ]
    turn = n
    while not tally.over:
        turn = (turn + 1) % len(bodies)
        began = time.perf_counter()
        status, answer = yield bodies[turn]
        if status == 200 and b'"result"' in answer:
            tally.done(began)
        else:
            tally.failed(status, answer)


def _submitting(spec: Mapping[str, Any], requests: Requests, tally: Tally, n: int) -> Script:
    body = json.dumps({"title": "bench", "input": {"text": TEXT}}).encode()
    request = requests.post("/api/v1/tasks", body)
    while not tally.over:
        began = time.perf_counter()
        status, answer = yield request
        if status == 201:
            tally.done(began)
        else:
            tally.failed(status, answer)


def _cycling(spec: Mapping[str, Any], requests: Requests, tally: Tally, n: int) -> Script:
    at_once = spec["at_once"]
    wish = {"agent_id": spec["agents"][n % len(spec["agents"])], "start": at_once}
    claim = requests.post("/api/v1/tasks/claim", json.dumps(wish).encode())
    while not tally.over:
        began = time.perf_counter()
        status, answer = yield claim
        if status != 200:
            tally.failed(status, answer)
            continue
        task_id, lease = _of(answer, b'"id":"'), _of(answer, b'"lease_id":"')
        under = b'{"lease_id":"%b"' % lease
        path = f"/api/v1/tasks/{task_id.decode()}"
        if not at_once:
            status, answer = yield requests.post(f"{path}/start", under + b"}")
            if status != 200:
                tally.failed(status, answer)
                continue
        prefer = b"Prefer: return=minimal\r\n" if at_once else b""
        output = under + b',"output":{"text":"done"}}'
        status, answer = yield requests.post(f"{path}/complete", output, prefer)
        if status in (200, 204):
            tally.done(began)
        else:
            tally.failed(status, answer)


def _of(answer: bytes, name: bytes) -> bytes:
    at = answer.index(name) + len(name)
    return answer[at : answer.index(b'"', at)]


SCRIPTS: Mapping[str, Callable[[Mapping[str, Any], Requests, Tally, int], Script]] = {
    "send": _sending,
    "get": _getting,
    "submit": _submitting,
    "cycle": _cycling,
}


async def _run(spec: Mapping[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    tally = Tally(until=time.perf_counter() + spec["seconds"])
    began, used = time.perf_counter(), time.process_time()
    finished = []
    for n in range(spec["connections"]):
        keys = spec["keys"]
        requests = Requests(spec["url"], keys[n % len(keys)] if keys else None)
        done = loop.create_future()
        finished.append(done)
        script = SCRIPTS[spec["script"]](spec, requests, tally, n)
        await loop.create_connection(partial(Connection, script, done), requests.host, requests.port)
    await asyncio.gather(*finished)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    latencies = sorted(tally.latencies)
    return {
        "rate": len(latencies) / seconds,
        "seconds": seconds,
        "p50_ms": quantile(latencies, 0.5) * 1000,
        "p99_ms": quantile(latencies, 0.99) * 1000,
        "errors": tally.errors,
        "first_error": tally.first_error,
        "load_cpu": cpu / seconds,
    }


def quantile(ordered: list[float], q: float) -> float:
    """A quantile of sorted values; 0 of none."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def pin(core: int) -> None:
    """Stay on one core, where the machine has several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


if __name__ == "__main__":
    pin(1)
    uvloop.install()
    print(json.dumps(uvloop.run(_run(json.loads(sys.argv[1])))))
