"""For `crossdock serve --demo`: a worker beside the hub, and a key for whoever tries it out.

It speaks to the hub over HTTP like every worker does; only its first key it makes inside.
"""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Self

from core.auth import CreateKey, create_key
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM
from core.platform import Platform
from hub.client import Crossdock
from hub.demo.scout import Scout
from hub.worker import WorkerConfig, run_worker
from schemas.vocabulary import Scope

KEY_LASTS = timedelta(days=1)
REGISTRATION_LASTS = timedelta(minutes=10)


class Attendant:
    """Scout, at work for as long as the context lasts. `key` is for a visitor."""

    def __init__(self, platform: Platform, url: str) -> None:
        self._platform = platform
        self._url = url
        self._stack = AsyncExitStack()
        self.key = ""

    async def __aenter__(self) -> Self:
        self.key = await self._mint(Scope.AGENT, "visitor", KEY_LASTS)
        registration = await self._mint(Scope.WORKER, "scout", REGISTRATION_LASTS)
        async with Crossdock(self._url, registration) as hub:
            agent = await hub.agents.register("scout")
        assert agent.api_key is not None
        own = await self._stack.enter_async_context(Crossdock(self._url, agent.api_key))
        config = WorkerConfig(
            url=self._url, api_key=agent.api_key, handler=Scout(own), name="scout", agent_id=agent.id
        )
        working = asyncio.create_task(run_worker(config))
        self._stack.push_async_callback(_end, working)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _mint(self, scope: Scope, owner: str, lasts: timedelta) -> str:
        expires = self._platform.now() + lasts
        command = CreateKey(scope, owner_id=f"demo-{owner}", label="serve --demo", expires_at=expires)
        new = await self._platform.write(SYSTEM(DEFAULT_TENANT), create_key, command)
        assert new.api_key is not None
        return new.api_key


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
