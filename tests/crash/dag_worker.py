"""A worker of the workflow's crash test, in a process of its own: `-m tests.crash.dag_worker AGENT_ID`.

It does sums: the output of a task is one more than the sum of what its input holds.
"""

import asyncio
import os
import sys
from typing import Any

from hub.client import Claim, Crossdock
from hub.worker.reporter import Reporter
from hub.worker.worker import Worker

LEASE_SECONDS = 5
MODULUS = 1_000_003


def answer(of: list[int]) -> int:
    """What a task comes to."""
    return (1 + sum(of)) % MODULUS


async def handle(claim: Claim, _: Reporter) -> Any:
    """Take a little time, and add."""
    await asyncio.sleep(float(os.environ.get("PAUSE", "0")))
    return {"sum": answer(claim.input["of"])}


async def main(agent_id: str) -> None:
    async with Crossdock() as hub:
        await Worker(hub, handle, agent_id=agent_id, lease_seconds=LEASE_SECONDS).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
