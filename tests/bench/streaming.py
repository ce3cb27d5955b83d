"""Streams of small events over A2A, from maker to reader: `python -m tests.bench.streaming SPEC`.

Readers send `stream N` and count what comes by SSE until the end. Where the server has no executor of its
own, this process also is the worker: a connection for each stream, which reports chunks as they gather.
With `readers` there are only those, who subscribe to one task and wait until stdin is closed.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import uvloop

from tests.bench.load import Connection, Requests, Script, pin

CHUNK = {"kind": "artifact", "last_chunk": False, "artifact_id": "a", "parts": [{"text": "a small event"}]}
GATHERED = 100
"""Events that gather, at most, while the hub is told of those before them."""


def _gathered(count: int) -> Iterator[range]:
    """The numbers of the events of each request: one, and then ever more, as a quick maker's gather."""
    done, size = 0, 1
    while done < count:
        yield range(done, min(done + size, count))
        done, size = done + size, min(2 * size, GATHERED)


def _working(requests: Requests, agent_id: str) -> Script:
    wish = {"agent_id": agent_id, "wait_seconds": 20, "start": True}
    claim = requests.post("/api/v1/tasks/claim", json.dumps(wish).encode())
    while True:
        status, answer = yield claim
        if status != 200:
            continue
        task = json.loads(answer)["data"]
        path, lease = f"/api/v1/tasks/{task['id']}", {"lease_id": task["lease_id"]}
        text: str = task["input"]["text"]
        if not text.startswith("stream "):  # left over from another measurement
            yield requests.post(f"{path}/complete", json.dumps(lease).encode())
            continue
        count = int(text.partition(" ")[2])
        # As `Reporter.chunks` does it: the first leaves at once, and what comes meanwhile gathers.
        for taken in _gathered(count):
            items = [{**CHUNK, "append": n > 0} for n in taken]
            status, answer = yield requests.post(
                f"{path}/progress", json.dumps({**lease, "items": items}).encode()
            )
            assert status == 201, answer
        yield requests.post(f"{path}/complete", json.dumps(lease).encode())


def _asking(method: str, params: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}).encode()


async def _read(requests: Requests, path: str, count: int, number: int) -> int:
    """The events of one stream; the last of them is its end."""
    reader, writer = await asyncio.open_connection(requests.host, requests.port)
    message = {
        "messageId": f"s-{number}-{time.time_ns()}",
        "role": "ROLE_USER",
        "parts": [{"text": f"stream {count}"}],
    }
    body = _asking("SendStreamingMessage", {"message": message})
    writer.write(requests.post(path, body).replace(b"Accept: application/json", b"Accept: text/event-stream"))
    seen, tail = 0, b""
    while b"TASK_STATE_COMPLETED" not in tail:
        data = await reader.read(65_536)
        assert data, "the stream ended before its task"
        whole = tail[-14:] + data
        seen += whole.count(b'"artifactUpdate"')
        tail = tail[-64:] + data
    writer.close()
    return seen


async def _stream(spec: Mapping[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    for agent, key in spec["agents"]:
        work = _working(Requests(spec["url"], key), agent)
        host = Requests(spec["url"], key)
        await loop.create_connection(partial(Connection, work, loop.create_future()), host.host, host.port)
    keys = spec["keys"] or [None]
    began, used = time.perf_counter(), time.process_time()
    readers = [
        _read(Requests(spec["url"], keys[n % len(keys)]), spec["path"], spec["events"], n)
        for n in range(spec["streams"])
    ]
    seen = sum(await asyncio.gather(*readers))
    seconds = time.perf_counter() - began
    assert seen == spec["streams"] * spec["events"], f"{seen} events came"
    cpu = (time.process_time() - used) / seconds
    zero = {"p50_ms": 0.0, "p99_ms": 0.0, "errors": 0, "first_error": ""}
    return {**zero, "rate": seen / seconds, "seconds": seconds, "load_cpu": cpu}


async def _idle(spec: Mapping[str, Any]) -> None:
    requests = Requests(spec["url"], spec["keys"][0])
    held = []
    for _ in range(spec["readers"]):
        reader, writer = await asyncio.open_connection(requests.host, requests.port)
        body = _asking("SubscribeToTask", {"id": spec["task"]})
        writer.write(
            requests.post(spec["path"], body).replace(
                b"Accept: application/json", b"Accept: text/event-stream"
            )
        )
        await reader.readuntil(b"data:")
        held.append(writer)
    sys.stdout.write("there\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    pin(1)
    given = json.loads(sys.argv[1])
    if "readers" in given:
        uvloop.run(_idle(given))
    else:
        print(json.dumps(uvloop.run(_stream(given))))
