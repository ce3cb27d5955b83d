"""The hub's own clockwork: looks what is due, and runs each step as a command of its own.

Every replica runs it; the steps compare what they read, so doing one twice does nothing. A step that fails is
logged and tried again with the next look.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from core import agents, files, mcp_sessions
from core.caller import SYSTEM
from core.errors import HubError, Unavailable
from core.gateway import leave
from core.jobs import due, schedules, triggers
from core.mcp import hosting
from core.platform import Platform
from core.ports import Files
from core.retention import Retention
from core.schedule_records import DUE
from core.store.tx import Tx
from core.trigger_records import CALLED
from core.workers import heartbeats
from core.workflows import advance, marks

PAUSE = 0.005
"""Between two looks while they find something: what comes meanwhile shares the next one."""
NOBODY = UUID(int=0)
"""The tenant of looks that go over all tenants."""


@dataclass(frozen=True)
class Sweep:
    """One kind of thing that falls due: how to find it, what to do with each, and how often to look."""

    name: str
    look: Callable[[Tx, None], Coroutine[Any, Any, Sequence[Any]]]
    step: Callable[[Tx, Any], Coroutine[Any, Any, None]]
    every: float
    topic: str | None = None
    """What wakes it before its time."""
    refused: Callable[[Tx, schedules.Refused], Coroutine[Any, Any, None]] | None = None
    """What to do where a step is refused, so that it is not tried for ever."""


SWEEPS: Sequence[Sweep] = (
    Sweep("lost leases", due.lost_leases, due.expire_lease, 0.5),
    Sweep("delayed tasks", due.delayed, due.release_delayed, 0.25),
    Sweep("preferences", due.kept_too_long, due.open_to_all, 1.0),
    Sweep("timeouts", due.timed_out, due.time_out, 1.0),
    Sweep("cancellations", due.to_cancel, due.cancel_after_grace, 0.25),
    Sweep("approvals", due.approvals_due, due.expire_approval, 1.0),
    Sweep("lost calls", leave.lost, leave.give_up, 5.0),
    Sweep("workflows", advance.due_workflows, advance.advance, 1.0, marks.CHANGED),
    Sweep("schedules", schedules.due, schedules.run_due, 0.5, DUE, schedules.note_failed),
    Sweep("queued runs", schedules.queued, schedules.run_queued, 1.0, DUE, schedules.note_queued_failed),
    Sweep("triggered", triggers.unread, triggers.enqueue, 0.5),
    Sweep("occasions", triggers.waiting, triggers.start_occasion, 1.0, CALLED, triggers.note_failed),
    Sweep("silence", agents.silent_agents, agents.weaken, 5.0),
    Sweep("silent workers", heartbeats.silent_workers, heartbeats.weaken, 5.0),
)


class Presence:
    """Principals that were heard of since the last look: a call is a heartbeat, and costs nothing more."""

    def __init__(self) -> None:
        self._heard: set[UUID] = set()

    def heard(self, principal_id: UUID) -> None:
        """Note that a principal has made an authenticated call."""
        self._heard.add(principal_id)

    def take(self) -> Sequence[UUID]:
        """Whom to count, and forget."""
        heard, self._heard = sorted(self._heard), set()
        return heard


class Clockwork:
    """The sweeps and the housekeeping of one hub process."""

    def __init__(
        self, platform: Platform, presence: Presence | None = None, storage: Files | None = None
    ) -> None:
        self._platform = platform
        self._storage = storage
        self._retention = Retention(platform)
        self.presence = presence or Presence()
        self._running: list[asyncio.Task[None]] = []
        self._log = logging.getLogger("crossdock.jobs")

    async def start(self) -> None:
        """Begin to look."""
        loops: list[tuple[str, Callable[[], Coroutine[Any, Any, object]], float]] = [
            *((sweep.name, partial(self.sweep, sweep), sweep.every) for sweep in SWEEPS),
            ("presence", self.count_presence, 1.0),
            ("housekeeping", self.forget_old, 3600.0),
            ("files", self.remove_files, 60.0),
            ("retention", self._retention.round, 60.0),
        ]
        topics = {sweep.name: [sweep.topic] for sweep in SWEEPS if sweep.topic is not None}
        self._running = [
            asyncio.create_task(self._every(*loop, topics.get(loop[0], [])), name=loop[0]) for loop in loops
        ]

    async def stop(self) -> None:
        """Stop looking. A step that is under way ends first."""
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._running = []

    async def sweep(self, sweep: Sweep) -> int:
        """One look: every step that is due now, together, so that they share commits. Returns how many."""
        found = await self._platform.read(SYSTEM(NOBODY), sweep.look, None)
        steps = [self._step(sweep, item) for item in found]
        for outcome in await asyncio.gather(*steps, return_exceptions=True):
            if isinstance(outcome, HubError) and not isinstance(outcome, Unavailable):
                self._log.warning("%s: %s", sweep.name, outcome.message)
            elif outcome is not None:
                raise outcome
        return len(found)

    async def _step(self, sweep: Sweep, item: Any) -> None:
        caller = SYSTEM(item.tenant_id)
        try:
            await self._platform.write(caller, sweep.step, item)
        except HubError as error:
            if sweep.refused is None or isinstance(error, Unavailable):
                raise
            await self._platform.write(caller, sweep.refused, schedules.Refused(item, error))

    async def count_presence(self) -> None:
        """Count the calls since the last look as heartbeats."""
        heard = self.presence.take()
        if heard:
            await self._platform.write(SYSTEM(NOBODY), agents.hear, agents.Presence(heard))

    async def forget_old(self) -> None:
        """Drop what is kept for a time only."""
        await self._platform.write(SYSTEM(NOBODY), due.forget_old, None)
        await self._platform.write(SYSTEM(NOBODY), mcp_sessions.forget_idle, None)
        await self._platform.write(SYSTEM(NOBODY), hosting.forget, None)
        await self._platform.write(SYSTEM(NOBODY), schedules.forget_runs, None)
        await self._platform.write(SYSTEM(NOBODY), triggers.forget_occasions, None)

    async def remove_files(self) -> None:
        """Remove the files that nothing refers to."""
        if self._storage is not None:
            while await files.remove_due(self._platform, self._storage) == files.BATCH:
                pass

    async def _every(
        self,
        name: str,
        look: Callable[[], Coroutine[Any, Any, object]],
        seconds: float,
        topics: Sequence[str],
    ) -> None:
        while True:
            with self._platform.hints.listen(topics) as woken:  # armed before the database is asked
                try:
                    await look()
                except Unavailable as error:
                    self._log.warning("%s: %s", name, error.message)
                except Exception:
                    self._log.exception("%s failed; it is tried again", name)
                await woken.wait(seconds)
            await asyncio.sleep(PAUSE)
