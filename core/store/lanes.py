"""Which calls share a PostgreSQL transaction, and which wait for one another. It runs nothing itself.

While all lanes are busy, calls gather; a lane that is free takes a batch. The rules of a batch:

- Its calls are of one command. What a command adds late is not yet visible to the next one in its batch, and
  calls of one command on different things do not look at each other.
- No key is in two calls that run at once, in this batch or in another lane: calls about one task wait for
  each other here instead of in the database, where waiting lanes could deadlock. Calls with a common key keep
  their order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.store.engine import Call

KEY_FIELDS = ("task_id", "agent_id", "parent_id", "work_item_id")
"""Fields of an argument that name what a call is about."""
SHARE = 16
"""What a lane takes before it leaves some to free lanes: so large a batch pays for its commit."""


@dataclass(slots=True, eq=False)
class Job:
    """A call on its way, and what became of it."""

    call: Call
    future: "asyncio.Future[Any]"
    keys: frozenset[Hashable]
    result: Any = None
    error: Exception | None = None
    wakes: dict[str, int] = field(default_factory=dict)
    after: Sequence[Callable[[], None]] = ()

    def settle(self) -> None:
        """Tell the awaiter, if it is still there."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def named_by(call: Call) -> list[Hashable]:
    """The ids of what a call's argument says that it is about."""
    return [value for name in KEY_FIELDS if (value := getattr(call.argument, name, None)) is not None]


def keys_of(call: Call) -> frozenset[Hashable]:
    """The keys that a call must not share with another that runs at the same time."""
    keys = named_by(call)
    if call.replay is not None:
        keys.append(tuple(call.replay.key.values()))
    return frozenset(keys)


class Lanes:
    """Some lanes, each of which runs one batch at a time."""

    def __init__(
        self, run: Callable[[int, list[Job]], Awaitable[None]], *, width: int, batch: int, mixed: bool = False
    ) -> None:
        """`run` gets the lane's number and its batch, and settles nothing. `mixed`: of any command."""
        self._mixed = mixed
        self._width = width
        self._running = 0
        self._run = run
        self._batch = batch
        self._idle = list(range(width - 1, -1, -1))
        self._waiting: deque[Job] = deque()
        self._busy: set[Hashable] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, job: Job) -> None:
        """Queue a job; it is settled when its batch is done."""
        self._waiting.append(job)
        self._start_lane()

    async def drain(self) -> None:
        """Wait until everything that was submitted is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start_lane(self) -> None:
        if self._idle and self._waiting:
            task = asyncio.get_running_loop().create_task(self._serve(self._idle.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, lane: int) -> None:
        try:
            while batch := self._take():
                self._start_lane()
                self._running += 1
                try:
                    await self._run(lane, batch)
                except Exception as error:  # a bug; whoever waits must hear of it
                    for job in batch:
                        job.error = error
                self._running -= 1
                for job in batch:
                    self._busy.difference_update(job.keys)
                for job in batch:
                    job.settle()
        finally:
            self._idle.append(lane)

    def _take(self) -> list[Job]:
        batch: list[Job] = []
        passed: list[Job] = []
        closed: set[Hashable] = set()
        most = min(self._batch, max(SHARE, -(-len(self._waiting) // (self._width - self._running))))
        while self._waiting and len(batch) < most and len(passed) < 4 * self._batch:
            job = self._waiting.popleft()
            other = bool(batch) and not self._mixed and job.call.command is not batch[0].call.command
            if other or not self._busy.isdisjoint(job.keys) or not closed.isdisjoint(job.keys):
                passed.append(job)
                closed |= job.keys
            else:
                batch.append(job)
                self._busy |= job.keys
        self._waiting.extendleft(reversed(passed))
        return batch
