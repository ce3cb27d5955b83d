"""An external worker on raw sockets: `python -m tests.bench.worker URL AGENT:KEY...`, one slot for each.

Every slot waits for a task, starts it with the claim, echoes it and asks for the next. It prints nothing.
"""

import asyncio
import json
import sys
from functools import partial

import uvloop

from tests.bench.load import Connection, Requests, Script, pin


def _working(requests: Requests, agent_id: str) -> Script:
    wish = {"agent_id": agent_id, "wait_seconds": 20, "start": True}
    claim = requests.post("/api/v1/tasks/claim", json.dumps(wish).encode())
    while True:
        status, answer = yield claim
        if status != 200:
            continue
        task = json.loads(answer)["data"]
        said = {"lease_id": task["lease_id"], "output": {"text": task["input"]["text"]}}
        yield requests.post(f"/api/v1/tasks/{task['id']}/complete", json.dumps(said).encode())


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
