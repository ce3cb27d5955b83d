"""The way to one server for one caller: which session is its own, in which era, and what became of it."""

import hashlib
from collections.abc import Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from adapters.mcp.exchange import Call
from adapters.mcp.gateway.pool import Kept, Pool
from adapters.mcp.upstream import Client, NeedsAuth, OnMessage, Session, TimedOut, Unreachable, Upstream
from adapters.mcp.upstream.failures import UpstreamError
from adapters.mcp.upstream.target import Targets
from core.caller import SYSTEM
from core.mcp.health import Observed, check_callable, observe
from core.mcp.records import McpServer
from core.mcp.words import Era
from core.platform import Platform
from schemas.strict_json import dump_json
from schemas.vocabulary import Health

_PASSED_ON: Final = ("sampling", "elicitation", "roots", "experimental", "extensions")
"""Capabilities of a client that its servers are told of. No other, and none that it does not have."""


class Line:
    """The way to a server."""

    def __init__(
        self,
        server: McpServer,
        call: Call,
        *,
        platform: Platform,
        targets: Targets,
        upstream: Upstream,
        pool: Pool,
        info: Mapping[str, Any],
    ) -> None:
        self.server = server
        self.era = _era(server, call)
        self._platform = platform
        self._targets = targets
        self._upstream = upstream
        self._pool = pool
        self._info = info

    def session(self, call: Call, *, alone: bool = False) -> AbstractAsyncContextManager[Kept]:
        """The caller's own session with the server, opened if need be.

        Raises:
            HubError: the server may not be called now.
            UpstreamError: no session can be opened.
        """
        check_callable(self.server, self._platform.now())
        capabilities = {name: call.capabilities[name] for name in _PASSED_ON if name in call.capabilities}

        async def opens(heard: OnMessage) -> Session:
            _, target = await self._targets.find(SYSTEM(self.server.tenant_id), self.server.id)
            client = Client(self._info, capabilities)
            session = await self._upstream.open(target, client, era=self.era, on_message=heard)
            level = call.settings.get("logLevel")
            if level is not None and self.era is Era.LEGACY:
                await session.request("logging/setLevel", {"level": level})
            return session

        return self._pool.session(self.key(call, capabilities), opens, alone=alone)

    def key(self, call: Call, capabilities: Mapping[str, Any]) -> Hashable:
        """Whose session it is."""
        which = (self.server.id, self.server.revision, self.era)
        if self.era is Era.MODERN:  # it holds nothing: every request says everything
            return which
        if call.session is not None:
            return (call.session, *which)
        said = hashlib.sha256(dump_json(dict(capabilities))).hexdigest()
        return (call.caller.principal_id, call.caller.task_id, said, *which)

    async def answered(self) -> None:
        """Note that the server does well, where it did not."""
        if self.server.health is not Health.OK:
            await self._observe(Observed(self.server.id, Health.OK))

    async def observe(self, error: UpstreamError) -> None:
        """Note what a failure says about the server. A call that takes long says nothing."""
        if isinstance(error, TimedOut):
            return
        if isinstance(error, NeedsAuth):
            said = Observed(self.server.id, Health.NEEDS_REAUTH, error.message, error.challenge)
            await self._observe(said)
        elif isinstance(error, Unreachable):
            await self._observe(Observed(self.server.id, Health.UNREACHABLE, error.message))

    async def _observe(self, command: Observed) -> None:
        await self._platform.write(SYSTEM(self.server.tenant_id), observe, command)


def _era(server: McpServer, call: Call) -> Era:
    """The era to speak: the client's, where the server speaks both."""
    if server.speaks_both:
        return Era.MODERN if call.modern else Era.LEGACY
    return server.verified_era or Era.LEGACY
