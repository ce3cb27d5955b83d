"""What delegations need though nobody holds their task: the sweeps of one hub process.

Every replica runs them. Each step compares what it read, so that two that do the same do it once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from adapters.a2a.remote.failures import Refused, RemoteError
from adapters.a2a.remote.pace import Pace
from adapters.a2a.remote.parting import part
from adapters.a2a.remote.peer import Peer, logger
from core.caller import SYSTEM
from core.delegation_upkeep import FadingBefore, Resume, fading, hand_back, orphaned, resume, waiting
from core.delegations import Delegation, Drop, LookAgain, drop, look_again
from core.errors import HubError, NotFound, Unavailable
from core.platform import Platform

FindPeer = Callable[[UUID, UUID], Awaitable[Peer | None]]
"""The remote agent of that tenant and id, active or not; None when it is gone."""
HUB = SYSTEM(UUID(int=0))
AT_ONCE = 16


class Upkeep:
    """The sweeps. `peers` finds whom to call. All of them raise Unavailable when the database is away."""

    def __init__(self, platform: Platform, peers: FindPeer, pace: Pace) -> None:
        self._platform = platform
        self._peers = peers
        self._pace = pace

    async def free_what_nobody_renews(self, within: float | None = None) -> None:
        """A holder was killed. Given back before the lease runs out, its tasks lose no attempt."""
        seconds = self._pace.fading if within is None else within
        for lost in await self._platform.read(HUB, fading, FadingBefore(seconds)):
            try:
                await self._platform.write(SYSTEM(lost.tenant_id), hand_back, lost.lease)
            except Unavailable:
                raise
            except HubError as error:
                logger.info("task %s was not handed back: %s", lost.lease.task_id, error.message)

    async def cancel_what_nobody_wants(self) -> None:
        """Tasks have ended here, and go on over there."""
        await self._each(await self._platform.read(HUB, orphaned, None), self._part)

    async def look_at_questions(self) -> None:
        """Remote agents may go on without our answer."""
        await self._each(await self._platform.read(HUB, waiting, None), self._look_at)

    async def _each(
        self, delegations: Sequence[Delegation], step: Callable[[Delegation], Awaitable[None]]
    ) -> None:
        """Several at a time: one slow agent must not keep the others waiting."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(delegation: Delegation) -> None:
            async with places:
                await step(delegation)

        async with asyncio.TaskGroup() as group:
            for delegation in delegations:
                group.create_task(one(delegation))

    async def _part(self, delegation: Delegation) -> None:
        peer = await self._peers(delegation.tenant_id, delegation.remote_agent_id)
        if peer is None:
            command = Drop(delegation.id, "the remote agent was removed")
            await self._platform.write(SYSTEM(delegation.tenant_id), drop, command)
        else:
            await part(peer, delegation, "nobody waits for it any more")

    async def _look_at(self, delegation: Delegation) -> None:
        """Somebody over there gave the answer, or ended the task: it is taken up again here."""
        system = SYSTEM(delegation.tenant_id)
        peer = await self._peers(delegation.tenant_id, delegation.remote_agent_id)
        if peer is not None and await self._still_waits(peer, delegation):
            await self._platform.write(system, look_again, LookAgain(delegation.id, self._pace.ask_again))
            return
        try:
            await self._platform.write(system, resume, Resume(delegation.task_id, delegation.remote_agent_id))
        except NotFound:
            return
        except Unavailable:
            raise
        except HubError as error:
            logger.info("task %s does not wait any more: %s", delegation.task_id, error.message)

    async def _still_waits(self, peer: Peer, delegation: Delegation) -> bool:
        try:
            task = await peer.client.get_task(str(delegation.remote_task_id))
        except Refused:
            return False  # whoever takes the task up finds out what has become of it
        except RemoteError as error:
            await peer.ill(error)
            return True
        return task.status.interrupted and task.status.identity == delegation.asked[-1]
