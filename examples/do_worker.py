"""A worker in thirty lines of plain Python: claims tasks, shouts their text, completes them. Ctrl-C ends it.

The key in CROSSDOCK_API_KEY is a worker's or an operator's; the agent that it registers has a key of its own.
"""

import asyncio
import os
from contextlib import suppress

import aiohttp

API = os.environ.get("CROSSDOCK_URL", "http://127.0.0.1:8080") + "/api/v1"


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['CROSSDOCK_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
        async with http.post(f"{API}/agents/register", json={"name": "shouter"}) as answer:
            agent = (await answer.json())["data"]
        http.headers["Authorization"] = f"Bearer {agent['api_key']}"
        ask = {"agent_id": agent["id"], "wait_seconds": 30, "start": True}
        while True:
            async with http.post(f"{API}/tasks/claim", json=ask) as answer:
                if answer.status == 204:
                    continue  # half a minute without work: ask again
                task = (await answer.json())["data"]
            result = {"lease_id": task["lease_id"], "output": task["input"]["text"].upper()}
            async with http.post(f"{API}/tasks/{task['id']}/complete", json=result) as answer:
                done = (await answer.json())["data"]
            print(f"{done['state']}: {done['output']}", flush=True)


with suppress(KeyboardInterrupt):
    asyncio.run(main())

# Output:
# completed: HELLO, CROSSDOCK
