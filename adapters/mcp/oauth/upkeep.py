"""Goes on with flows that nobody asks about: asks for devices, takes over what a stopped hub left, and lets
what nobody answered expire. Every replica runs one; the lease of a flow decides who works on it.
"""

import asyncio
import logging
from typing import Final
from uuid import UUID

from adapters.mcp.oauth.engine import OAuthEngine
from core.caller import SYSTEM
from core.errors import HubError
from core.mcp_oauth.flow_records import CHANGED, due_flows
from core.platform import Platform

_AT_ONCE: Final = 8
_BACKSTOP: Final = 15.0
_log = logging.getLogger(__name__)


class OAuthUpkeep:
    """The background job of the OAuth client."""

    def __init__(self, platform: Platform, engine: OAuthEngine) -> None:
        self._platform = platform
        self._engine = engine
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="oauth upkeep")

    async def stop(self) -> None:
        """End; a step under way is taken again by whoever comes next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            with self._platform.hints.listen([CHANGED]) as changed:
                try:
                    seconds = await self.once()
                except HubError as error:
                    _log.warning("open authorizations were not looked at: %s", error.message)
                    seconds = _BACKSTOP
                except Exception:
                    _log.exception("open authorizations were not looked at")
                    seconds = _BACKSTOP
                await changed.wait(seconds)

    async def once(self) -> float:
        """Take the steps that are due; tells in how many seconds there will be more."""
        due = await self._platform.read(SYSTEM(UUID(int=0)), due_flows, _AT_ONCE)
        if due.flows:
            await asyncio.gather(
                *(self._engine.advance(tenant_id, flow_id) for tenant_id, flow_id in due.flows)
            )
            due = await self._platform.read(SYSTEM(UUID(int=0)), due_flows, _AT_ONCE)
        if due.next_at is None:
            return _BACKSTOP
        return max(0.2, min(_BACKSTOP, (due.next_at - self._platform.now()).total_seconds()))
