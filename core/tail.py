"""The live end of the event log, read once per process and handed to whoever listens.

A subscription gets every event after the position at which it began, in order, each once, or it is cut with
`SlowReader`: nothing is skipped in silence. This module knows nothing of rights; `core/events.py` does.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from core.caller import SYSTEM
from core.errors import HubError, TooMany
from core.store import tables as t
from core.store.engine import Call, Store
from core.store.statement import Row, Statement
from core.store.tx import EVENTS, Tx

K = TypeVar("K")

BACKSTOP = 1.0
"""Seconds after which the log is read again, whatever the hints say."""
PAGE = 256
BUFFERED = 256
"""Events that a reader may be behind when the next page comes."""
BUFFERED_BYTES = 1024 * 1024
"""The same in bytes of what happened."""
TURNS = 32
"""Turns of the event loop that readers get between two pages, at most."""


class SlowReader(TooMany):
    """The reader fell too far behind; it may come back with its cursor."""


class Event:
    """One row of the log. `rendered` keeps what the faces made of it: encoded once in a process."""

    __slots__ = ("__dict__", "_row", "rendered", "size")

    pos: int
    kind: str
    task_id: UUID | None
    version: int | None
    tenant_id: UUID

    def __init__(self, row: Row, size: int = 0) -> None:
        self._row = row
        self.pos = row.pos
        self.kind = row.kind
        self.task_id = row.task_id
        self.version = row.version
        self.tenant_id = row.tenant_id
        self.rendered: dict[str, Any] = {}
        self.size = size

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """What happened, as its kind says."""
        data: Mapping[str, Any] = self._row.data
        return data

    @property
    def entity_type(self) -> str:
        """What kind of thing it is about."""
        return str(self._row.entity_type)

    @property
    def entity_id(self) -> UUID | None:
        """Which thing."""
        entity: UUID | None = self._row.entity_id
        return entity

    @property
    def workflow_id(self) -> UUID | None:
        """The workflow of its task."""
        workflow: UUID | None = self._row.workflow_id
        return workflow

    @property
    def context_id(self) -> str | None:
        """The conversation of its task."""
        context: str | None = self._row.context_id
        return context

    @property
    def submitter_id(self) -> UUID | None:
        """Who asked for its task."""
        submitter: UUID | None = self._row.submitter_id
        return submitter

    @property
    def actor_type(self) -> str:
        """What kind of principal caused it."""
        return str(self._row.actor_type)

    @property
    def actor_id(self) -> str | None:
        """Which principal caused it, by its owner's id."""
        actor: str | None = self._row.actor_id
        return actor

    @property
    def at(self) -> datetime:
        """When."""
        moment: datetime = self._row.at
        return moment


Wanted = Callable[[Event], bool]
Context = tuple[UUID, str]
"""A tenant, and the name of a conversation. Conversations of several owners may share one."""


class Subscription:
    """A reader's place at the end of the log. Read it from one task only."""

    def __init__(
        self, tail: "Tail", task_id: UUID | None, context: Context | None, wanted: Wanted | None
    ) -> None:
        self._tail = tail
        self.task_id = task_id
        self.context = context
        self.wanted = wanted
        self.since = 0
        """Everything after this position arrives."""
        self._buffer: deque[Event] = deque()
        self._bytes = 0
        self._page = 0
        self._woken = asyncio.Event()
        self._cut: HubError | None = None

    async def next(self, timeout: float | None = None) -> list[Event]:
        """What has come since the last call; waits for the first, at most `timeout` seconds (then nothing).

        Raises:
            SlowReader: it fell behind.
            Unavailable: the hub is stopping.
        """
        if not self._buffer and self._cut is None:
            self._woken.clear()
            if timeout is None:
                await self._woken.wait()
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):  # wait_for loses a cancellation that meets a wake-up
                        await self._woken.wait()
        if self._buffer:
            batch = list(self._buffer)
            self._buffer.clear()
            self._bytes = 0
            return batch
        if self._cut is not None:
            raise self._cut
        return []

    @property
    def full(self) -> bool:
        """Whether as much waits for the reader as may, so that it falls behind with another page."""
        return len(self._buffer) >= BUFFERED or self._bytes >= BUFFERED_BYTES

    def push(self, event: Event, page: int) -> None:
        """Hand over one event of a page, unless the reader does not want it.

        A page comes at once, and its reader had no chance to run; so what counts is how far behind it was
        when the page came.
        """
        if self._cut is not None or (self.wanted is not None and not self.wanted(event)):
            return
        if page != self._page:
            self._page = page
            if self.full:
                self.cut(SlowReader("you read too slowly; reconnect with your cursor", retry_after=1))
                return
        self._buffer.append(event)
        self._bytes += event.size
        self._woken.set()

    def cut(self, error: HubError) -> None:
        """End the subscription: the reader gets the error once it has read what is buffered."""
        self._cut = error
        self._woken.set()

    def close(self) -> None:
        """Leave. Repeating it does nothing."""
        self._tail.leave(self)

    async def __aenter__(self) -> "Subscription":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


_AFTER = Statement(
    sa.select(*t.event.c, sa.func.length(sa.cast(t.event.c.data, sa.Text())).label("size"))
    .where(t.event.c.pos > sa.bindparam("p_pos", type_=sa.BigInteger()))
    .order_by(t.event.c.pos)
    .limit(sa.literal_column(str(PAGE)))
)
_HEAD = Statement(sa.select(sa.func.coalesce(sa.func.max(t.event.c.pos), 0).label("pos")))
_EVERYWHERE = SYSTEM(UUID(int=0))


async def _read_after(tx: Tx, pos: int) -> list[Row]:
    return await tx.all(_AFTER, p_pos=pos)


async def _read_head(tx: Tx, _: None) -> int:
    row = await tx.one(_HEAD)
    return 0 if row is None else int(row.pos)


class Tail:
    """One reader of the log's end for the whole process. It rests while nobody listens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_task: dict[UUID, set[Subscription]] = {}
        self._by_context: dict[Context, set[Subscription]] = {}
        self._all: set[Subscription] = set()
        self._head = 0
        self._page = 0
        self._told: set[Subscription] = set()
        """Who was handed something of the present page."""
        self._wanted = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stopped: HubError | None = None
        self._log = logging.getLogger("crossdock.tail")

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._all) + sum(
            len(listeners) for index in (self._by_task, self._by_context) for listeners in index.values()
        )

    async def start(self) -> None:
        """Begin to read whenever somebody listens."""
        self._running = asyncio.create_task(self._run(), name="event tail")

    async def stop(self, reason: HubError) -> None:
        """Cut every subscription with `reason`, those to come as well, and stop reading."""
        self._stopped = reason
        indexed = (*self._by_task.values(), *self._by_context.values())
        for subscription in [*self._all, *(s for listeners in indexed for s in listeners)]:
            subscription.cut(reason)
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def subscribe(
        self, *, task_id: UUID | None = None, context: Context | None = None, wanted: Wanted | None = None
    ) -> Subscription:
        """Listen from now on: to one task's events, to one conversation's or to all, thinned by `wanted`."""
        subscription = Subscription(self, task_id, context, wanted)
        if not self.subscribers:
            # Nobody listened, so nobody read: begin at the present end.
            head = await self._store.read(Call(_EVERYWHERE, _read_head, None))
            if not self.subscribers:
                self._head = head
        subscription.since = self._head
        if self._stopped is not None:
            subscription.cut(self._stopped)
        if task_id is not None:
            self._by_task.setdefault(task_id, set()).add(subscription)
        elif context is not None:
            self._by_context.setdefault(context, set()).add(subscription)
        else:
            self._all.add(subscription)
        self._wanted.set()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._all.discard(subscription)
        self._told.discard(subscription)
        if subscription.task_id is not None:
            _discard(self._by_task, subscription.task_id, subscription)
        elif subscription.context is not None:
            _discard(self._by_context, subscription.context, subscription)
        if not self.subscribers:
            self._wanted.clear()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            with self._store.hints.listen([EVENTS]) as woken:
                try:
                    more = await self._advance()
                    while more:
                        await self._readers_turn()
                        more = await self._advance()
                except HubError as error:  # the database is away; subscribers wait, nothing is lost
                    self._log.warning("the log cannot be read: %s", error.message)
                await woken.wait(BACKSTOP)

    async def _readers_turn(self) -> None:
        """Let the readers of a page take it before the next one comes, which may be there without a pause.

        A reader takes a few turns of the loop from one batch to the next; one that is stuck holds nobody up.
        """
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if not any(subscription.full for subscription in self._told):
                return

    async def _advance(self) -> bool:
        """Read one page and hand it out; tell whether there may be more."""
        if not self.subscribers:
            return False
        rows = await self._store.read(Call(_EVERYWHERE, _read_after, self._head))
        self._page += 1
        self._told.clear()
        for row in rows:
            if row.pos <= self._head:
                continue
            self._head = row.pos
            listeners = self._by_task.get(row.task_id) if row.task_id is not None else None
            if self._by_context and row.context_id is not None:
                listeners = {
                    *(listeners or ()),
                    *self._by_context.get((row.tenant_id, row.context_id), ()),
                }
            if listeners or self._all:
                event = Event(row, row.size)
                for subscription in [*(listeners or ()), *self._all]:
                    subscription.push(event, self._page)
                    self._told.add(subscription)
        return len(rows) == PAGE


def _discard(index: dict[K, set[Subscription]], key: K, subscription: Subscription) -> None:
    listeners = index.get(key)
    if listeners is not None:
        listeners.discard(subscription)
        if not listeners:
            del index[key]
