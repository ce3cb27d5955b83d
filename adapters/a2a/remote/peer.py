"""One remote agent as this process works with it: how it is called, in whose name, and how it is doing."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from uuid import UUID

from adapters.a2a.client import Client
from adapters.a2a.remote.credentials import Credentials
from adapters.a2a.remote.failures import BadAnswer, RemoteError, Unauthorized
from adapters.outbound import Outbound
from core.caller import SYSTEM, Caller
from core.errors import HubError
from core.platform import Platform
from core.remote_health import SetHealth, set_health
from core.remote_records import OpenRemote, RemoteAgent, RemoteId, get_remote, open_remote
from core.sealing import Unsealable
from schemas.vocabulary import Health, Scope

logger = logging.getLogger("crossdock.delegation")


@dataclass(eq=False)
class Peer:
    """A remote agent. What is known of it may change while its tasks are under way."""

    platform: Platform
    agent: RemoteAgent
    client: Client
    caller: Caller
    """The agent's own principal: as such it holds tasks, and may do no more than their executor."""
    worse: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it turns out that it cannot be called."""

    @classmethod
    async def open(cls, platform: Platform, outbound: Outbound, tenant_id: UUID, agent_id: UUID) -> "Peer":
        """A remote agent, its secret opened.

        Raises:
            HubError: it is gone, or the database is away.
        """
        caller = Caller(agent_id, tenant_id, Scope.AGENT, "agent", str(agent_id), face="system")
        found = await _opened(platform, tenant_id, agent_id)
        return cls(platform, found.agent, _client(outbound, found), caller)

    async def renew(self, outbound: Outbound) -> None:
        """Take over what has changed. Raises as `open`."""
        found = await _opened(self.platform, self.agent.tenant_id, self.agent.id)
        if found.agent.revision != self.agent.revision:
            self.client = _client(outbound, found)
        self.agent = found.agent

    async def well(self) -> None:
        """It has answered as it should."""
        if self.agent.health is not Health.OK:
            await self._note(Health.OK, None)

    async def ill(self, error: RemoteError) -> None:
        """It has not."""
        if isinstance(error, Unauthorized):
            await self._note(Health.NEEDS_REAUTH, str(error))
        elif isinstance(error, BadAnswer):
            await self._note(Health.DEGRADED, str(error))
        else:
            await self._note(Health.UNREACHABLE, str(error))

    async def probe(self) -> bool:
        """Whether it answers now."""
        try:
            await self.client.probe()
        except RemoteError as error:
            await self.ill(error)
            return False
        await self.well()
        return True

    async def _note(self, health: Health, error: str | None) -> None:
        if (self.agent.health, self.agent.health_error) == (health, error):
            return
        self.agent = replace(self.agent, health=health, health_error=error)
        if not self.agent.callable:
            self.worse.set()
        logger.warning("remote agent %s is %s: %s", self.agent.id, health.value, error or "it answers")
        try:
            command = SetHealth(self.agent.id, health, error)
            await self.platform.write(SYSTEM(self.agent.tenant_id), set_health, command)
        except HubError as failed:
            logger.warning("the health of a remote agent could not be noted: %s", failed.message)


async def _opened(platform: Platform, tenant_id: UUID, agent_id: UUID) -> OpenRemote:
    system, wanted = SYSTEM(tenant_id), RemoteId(agent_id)
    try:
        return await platform.read(system, open_remote, wanted)
    except Unsealable:
        logger.error("the secret for remote agent %s cannot be opened: give it again", agent_id)
        return OpenRemote(await platform.read(system, get_remote, wanted), None)


def _client(outbound: Outbound, found: OpenRemote) -> Client:
    agent = found.agent
    return Client(outbound, agent.interface, Credentials(outbound, agent.auth, found.secret))
