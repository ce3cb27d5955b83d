"""An external worker on raw sockets: `python -m tests.bench.worker URL AGENT:KEY...`, a connection for each.

Every connection waits for tasks, starts up to sixteen with one claim, echoes them and completes them in one
batch, as a worker for many small tasks does. It prints nothing.
"""

import asyncio
import json
import sys
from functools import partial

import uvloop

from tests.bench.load import Connection, Requests, Script, pin


def _working(requests: Requests, agent_id: str) -> Script:
    wish = {"agent_id": agent_id, "wait_seconds": 20, "start": True, "limit": 16}
    claim = requests.post("/api/v1/tasks/claim", json.dumps(wish).encode())
    while True:
        status, answer = yield claim
        if status != 200:
            continue
        results = [
            {"task_id": task["id"], "lease_id": task["lease_id"], "output": {"text": task["input"]["text"]}}
            for task in json.loads(answer)["data"]
        ]
        yield requests.post("/api/v1/tasks/complete-batch", json.dumps({"results": results}).encode())


async def main(url: str, slots: list[str]) -> None:
    """Work until killed."""
    loop = asyncio.get_running_loop()
    endings = []
    for slot in slots:
        agent_id, _, key = slot.partition(":")
        requests, done = Requests(url, key), loop.create_future()
        script = _working(requests, agent_id)
        await loop.create_connection(partial(Connection, script, done), requests.host, requests.port)
        endings.append(done)
    await asyncio.gather(*endings)


if __name__ == "__main__":
    pin(1)
    uvloop.run(main(sys.argv[1], sys.argv[2:]))
