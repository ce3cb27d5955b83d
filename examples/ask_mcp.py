"""Ask over MCP with the official client: submit with one tool, wait with another. Any worker will do."""

import asyncio
import os

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ.get("CROSSDOCK_URL", "http://127.0.0.1:8080")
KEY = os.environ["CROSSDOCK_API_KEY"]


async def main() -> None:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
    async with http, Client(streamable_http_client(f"{URL}/mcp/crossdock", http_client=http)) as hub:
        work = {"title": "Shout", "input": "hello, crossdock"}
        task = (await hub.call_tool("submit_task", work)).structured_content
        print(task["state"], flush=True)
        wait = {"task_id": task["id"], "wait_seconds": 30}
        task = (await hub.call_tool("get_task", wait)).structured_content
        print(task["state"], task["output"], sep=": ")


asyncio.run(main())

# Output:
# ready
# completed: HELLO, CROSSDOCK
