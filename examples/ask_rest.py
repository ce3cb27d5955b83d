"""Ask over REST: submit a task, follow it until it is final, print the answer. Any worker will do."""

import asyncio

from hub.client import Crossdock


async def main() -> None:
    async with Crossdock() as hub:  # CROSSDOCK_URL and CROSSDOCK_API_KEY say which hub, and who asks
        task = await hub.tasks.create("greet", input={"text": "hello, crossdock"})
        async for event in hub.tasks.follow(task.id):
            if event.type in ("task.created", "task.state_changed"):
                print(event.data["to_state"], flush=True)
        print((await hub.tasks.get(task.id)).output)


asyncio.run(main())

# Output:
# ready
# claimed
# in_progress
# completed
# HELLO, CROSSDOCK
