"""Finds what stands behind a path of the gateway, and keeps what it needs running."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final
from uuid import UUID

from adapters.mcp import errors
from adapters.mcp.config import McpConfig
from adapters.mcp.errors import McpError
from adapters.mcp.exchange import McpServer
from adapters.mcp.gateway.aggregate import Aggregate
from adapters.mcp.gateway.bridge import Bridge
from adapters.mcp.gateway.calling import Calling
from adapters.mcp.gateway.desk import Desk
from adapters.mcp.gateway.executor import ToolAgents
from adapters.mcp.gateway.parking import Parking
from adapters.mcp.gateway.pool import Pool
from adapters.mcp.gateway.runner import Runner
from adapters.mcp.gateway.server import OneServer
from adapters.mcp.upstream import Upstream
from adapters.mcp.upstream.target import NO_CREDENTIALS, Credentials, Targets
from adapters.outbound import Outbound
from core.caller import Caller
from core.errors import NotFound
from core.gateway.catalogue import reach, reach_all
from core.platform import Platform

ROOT: Final = "/mcp"
SWEEP_SECONDS: Final = 30.0


class Gateway:
    """The gateway of one process. `own` is the hub's own server, `alone` says that no other hub shares its
    database."""

    def __init__(
        self,
        platform: Platform,
        config: McpConfig,
        outbound: Outbound,
        own: McpServer,
        *,
        credentials: Credentials = NO_CREDENTIALS,
        presence: Callable[[UUID], None] = lambda agent_id: None,
        alone: bool = False,
    ) -> None:
        self._own = own
        self._parking = Parking()
        bridge = Bridge(self._parking)
        self._calling = Calling(platform, config, bridge)
        self.desk = Desk(
            platform,
            config,
            Targets(platform, credentials),
            Upstream(outbound, platform),
            Pool(platform.monotonic),
            bridge,
            self._calling,
            {"name": "crossdock", "title": "Crossdock", "version": config.version},
        )
        self.runner = Runner(self.desk, alone)
        self.tool_agents = ToolAgents(self.desk, presence)
        self._sweeping: asyncio.Task[None] | None = None

    async def __call__(self, path: str, caller: Caller, query: str = "") -> McpServer:
        """What stands behind a path, for a caller.

        Raises:
            McpError: nothing; unknown and not granted are told alike.
        """
        slug = path.removeprefix(ROOT).removeprefix("/")
        if slug == "":
            own = None if caller.task_id is not None else self._own
            reached = await self.desk.platform.read(caller, reach_all, None)
            return Aggregate(self.desk, caller, reached, own, query)
        if slug == self._own.name:
            if caller.task_id is not None:
                raise _none()
            return self._own
        try:
            return OneServer(self.desk, caller, await self.desk.platform.read(caller, reach, slug))
        except NotFound:
            raise _none() from None

    async def start(self) -> None:
        """Begin to send what has got its leave."""
        await self.runner.start()
        await self.tool_agents.start()
        self._sweeping = asyncio.create_task(self._sweep(), name="upstream sessions")

    async def stop(self) -> None:
        """End every call and every session."""
        await self.tool_agents.stop()
        await self.runner.stop()
        await self._parking.close()
        await self._calling.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self.desk.pool.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.desk.pool.sweep()


def _none() -> McpError:
    return McpError(errors.NO_SUCH_SERVER, "No such MCP server, or not yours to use.")
