"""Gives tasks to agents that work elsewhere: one delegator in each hub process, for all remote agents.

It claims like any worker, so that a task is routed, leased and told of in one way whoever does it, and only
one replica holds it. A process that dies loses nothing: its leases fade, and whoever claims next finds the
delegations and goes on.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from adapters.a2a.remote.errand import Errand
from adapters.a2a.remote.pace import DEFAULT, Pace
from adapters.a2a.remote.peer import Peer, logger
from adapters.a2a.remote.upkeep import HUB, Upkeep
from adapters.a2a.sse import stop
from adapters.outbound import Outbound
from core.caller import SYSTEM
from core.delegation_upkeep import hand_back
from core.errors import HubError, NotFound, Unavailable
from core.platform import Platform
from core.remote_records import CHANGED, Standing, active_remotes
from core.tasks.claim import ClaimTasks, claim_waiting
from core.tasks.task import Claims
from core.trace import within

EVER = 10.0 * 365 * 24 * 3600
"""Seconds; longer than any lease."""

Presence = Callable[[UUID], None]
"""Hears that an agent is alive."""


@dataclass(eq=False)
class _Post:
    """Where the tasks of one remote agent are claimed and seen through."""

    peer: Peer
    claiming: "asyncio.Task[None] | None" = None
    errands: dict["asyncio.Task[None]", Errand] = field(default_factory=dict)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an errand has ended, or the agent has changed."""


class Delegator:
    """The errands of one hub process."""

    def __init__(
        self,
        platform: Platform,
        outbound: Outbound,
        *,
        presence: Presence = lambda agent_id: None,
        alone: bool = False,
        pace: Pace = DEFAULT,
    ) -> None:
        """`alone`: no other process serves this database, so that what is held at the start nobody holds."""
        self._platform = platform
        self._outbound = outbound
        self._presence = presence
        self._pace = pace
        self._alone = alone
        self._posts: dict[UUID, _Post] = {}
        self._upkeep = Upkeep(platform, self._peer, pace)
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to work."""
        if self._alone:
            await self._upkeep.free_what_nobody_renews(EVER)
        looks = (
            self._look,
            self._upkeep.free_what_nobody_renews,
            self._upkeep.cancel_what_nobody_wants,
            self._upkeep.look_at_questions,
        )
        self._running = [asyncio.create_task(self._every(look), name=look.__name__) for look in looks]

    async def stop(self) -> None:
        """Claim nothing more, let sends that are under way end, and hand everything back."""
        posts = list(self._posts.values())
        await stop(*self._running, *(post.claiming for post in posts if post.claiming is not None))
        errands = {task: errand for post in posts for task, errand in post.errands.items()}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.grace):
                await asyncio.gather(*(errand.quiet.wait() for errand in errands.values()))
        await stop(*errands)
        for post in posts:
            for errand in post.errands.values():
                await self._hand_back(post.peer, errand)
        self._running, self._posts = [], {}

    async def _every(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            with self._platform.hints.listen([CHANGED]) as woken:
                try:
                    await look()
                except Unavailable as error:
                    logger.warning("remote agents cannot be looked after: %s", error.message)
                except Exception:
                    logger.exception("looking after remote agents failed; it is tried again")
                await woken.wait(self._pace.sweep)

    async def _look(self) -> None:
        """Take up agents that are new or changed, and leave those that are switched off."""
        agents = {known.id: known for known in await self._platform.read(HUB, active_remotes, None)}
        for agent_id, post in list(self._posts.items()):
            if agent_id not in agents and post.claiming is not None:
                await stop(post.claiming)
                post.claiming = None
            if agent_id not in agents and not post.errands:
                del self._posts[agent_id]
        for known in agents.values():
            await self._take_up(known)

    async def _take_up(self, agent: Standing) -> None:
        post = self._posts.get(agent.id)
        try:
            if post is None:
                peer = await Peer.open(self._platform, self._outbound, agent.tenant_id, agent.id)
                post = self._posts[agent.id] = _Post(peer)
            elif (agent.revision, agent.health) != (post.peer.agent.revision, post.peer.agent.health):
                await post.peer.renew(self._outbound)
                post.free.set()
        except NotFound:
            return
        if post.claiming is None or post.claiming.done():
            post.claiming = asyncio.create_task(self._claim(post), name=f"claims for {agent.id}")

    async def _claim(self, post: _Post) -> None:
        """Claim as much as the agent may hold, while it is one to send work to."""
        pause = self._pace.probe
        while True:
            agent = post.peer.agent
            post.free.clear()
            if not agent.callable:
                pause = await self._recover(post, pause)
                continue
            pause = self._pace.probe
            self._presence(agent.id)
            if len(post.errands) >= agent.max_concurrent:
                await _wait(post.free, self._pace.claim_wait)
                continue
            try:
                claims = await self._claims(post)
            except HubError as error:
                logger.warning("nothing is claimed for remote agent %s: %s", agent.id, error.message)
                await _wait(post.free, self._pace.probe)
                continue
            if claims.replayed:  # other replicas hold as much as the agent may
                await _wait(post.free, self._pace.sweep)
                continue
            for claimed in claims.items:
                errand = Errand(post.peer, claimed, self._pace)
                if post.peer.agent.callable:
                    self._begin(post, errand)
                else:
                    await self._hand_back(post.peer, errand)

    async def _claims(self, post: _Post) -> Claims:
        """What a claim brings; nothing, when the agent turns out to be away while it waits."""
        peer = post.peer
        wanted = ClaimTasks(peer.agent.id, start=True, lease_seconds=self._pace.lease, include_context=True)
        peer.worse.clear()
        claiming = asyncio.ensure_future(
            claim_waiting(self._platform, peer.caller, wanted, self._pace.claim_wait)
        )
        worse = asyncio.ensure_future(peer.worse.wait())
        both: set[asyncio.Future[Any]] = {claiming, worse}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return claiming.result() if claiming.done() else Claims([])
        finally:
            await stop(*both)  # what a claim brings that is cancelled goes back

    async def _recover(self, post: _Post, pause: float) -> float:
        """Wait until the agent may be called again, and look whether it can be."""
        if await _wait(post.free, pause) or post.peer.agent.callable:
            return self._pace.probe
        if post.peer.agent.verified and await post.peer.probe():
            return self._pace.probe
        return min(pause * 2, self._pace.longest_probe)

    def _begin(self, post: _Post, errand: Errand) -> None:
        task = asyncio.create_task(self._run(post, errand), name=f"errand {errand.held.task_id}")
        post.errands[task] = errand

    async def _run(self, post: _Post, errand: Errand) -> None:
        try:
            with within(errand.trace):
                await errand.run()
        except Exception:
            logger.exception("an errand was interrupted")
        task = asyncio.current_task()
        assert task is not None, "it runs in a task"
        post.errands.pop(task, None)
        post.free.set()
        if not errand.ended:
            await self._hand_back(post.peer, errand)

    async def _hand_back(self, peer: Peer, errand: Errand) -> None:
        if errand.ended:
            return
        try:
            await self._platform.write(SYSTEM(peer.agent.tenant_id), hand_back, errand.held)
        except HubError as error:  # the lease fades by itself
            logger.info("task %s was not handed back: %s", errand.held.task_id, error.message)

    async def _peer(self, tenant_id: UUID, agent_id: UUID) -> Peer | None:
        """The remote agent, as it is worked with here, or opened for a moment when it is switched off."""
        post = self._posts.get(agent_id)
        if post is not None:
            return post.peer
        try:
            return await Peer.open(self._platform, self._outbound, tenant_id, agent_id)
        except NotFound:
            return None


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came in time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
