"""Ask over A2A with the official client: send a message, stream what happens. Any worker will do."""

import asyncio
import os
from uuid import uuid4

import httpx
from a2a.client import ClientConfig, create_client
from a2a.types.a2a_pb2 import Message, Part, Role, SendMessageRequest, TaskState

URL = os.environ.get("CROSSDOCK_URL", "http://127.0.0.1:8080")
KEY = os.environ["CROSSDOCK_API_KEY"]


async def main() -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as http:
        client = await create_client(URL, ClientConfig(httpx_client=http))
        words = Message(message_id=uuid4().hex, role=Role.ROLE_USER, parts=[Part(text="hello, crossdock")])
        async for update in client.send_message(SendMessageRequest(message=words)):
            if update.HasField("task"):
                print(TaskState.Name(update.task.status.state), flush=True)
            elif update.HasField("status_update"):
                print(TaskState.Name(update.status_update.status.state))
            elif update.HasField("artifact_update"):
                artifact = update.artifact_update.artifact
                print(f"{artifact.name}: {''.join(part.text for part in artifact.parts)}")


asyncio.run(main())

# Output:
# TASK_STATE_SUBMITTED
# TASK_STATE_WORKING
# output: HELLO, CROSSDOCK
# TASK_STATE_COMPLETED
