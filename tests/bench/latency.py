"""From a submit to its claim with a waiting worker on an idle hub: `python -m tests.bench.latency SPEC`.

Submitter and worker are one process, so that one clock measures both ends: from the first byte of the submit
to the claim's answer. JSON on standard output.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping
from typing import Any

import uvloop

from tests.bench.load import Connection, Requests, Script, content_length, pin, quantile


class _Race:
    """One task at a time on its way from the submitter to the worker."""

    def __init__(self) -> None:
        self.began = 0.0
        self.took: list[float] = []
        self.arrived = asyncio.Event()


def _waiting(race: _Race, requests: Requests, agent_id: str) -> Script:
    wish = {"agent_id": agent_id, "wait_seconds": 20, "start": True}
    claim = requests.post("/api/v1/tasks/claim", json.dumps(wish).encode())
    while True:
        status, answer = yield claim
        if status != 200:
            continue
        race.took.append(time.perf_counter() - race.began)
        task = json.loads(answer)["data"]
        done = json.dumps({"lease_id": task["lease_id"]}).encode()
        yield requests.post(f"/api/v1/tasks/{task['id']}/complete", done)
        race.arrived.set()


async def _run(spec: Mapping[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    race = _Race()
    requests = Requests(spec["url"], spec["key"])
    host, port = requests.host, requests.port
    worker = _waiting(race, Requests(spec["url"], spec["agent_key"]), spec["agent"])
    await loop.create_connection(lambda: Connection(worker, loop.create_future()), host, port)
    submit = requests.post("/api/v1/tasks", json.dumps({"title": "bench", "input": {"text": "x"}}).encode())
    reader, writer = await asyncio.open_connection(host, port)
    for _ in range(spec["samples"]):
        await asyncio.sleep(random.uniform(0.02, 0.06))
        race.arrived.clear()
        race.began = time.perf_counter()
        writer.write(submit)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(content_length(head))
        await asyncio.wait_for(race.arrived.wait(), 30)
    took = sorted(race.took)
    return {"p50_ms": quantile(took, 0.5) * 1000, "p99_ms": quantile(took, 0.99) * 1000, "samples": len(took)}


if __name__ == "__main__":
    pin(1)
    print(json.dumps(uvloop.run(_run(json.loads(sys.argv[1])))))
