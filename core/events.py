"""Reading the event log: pages of it, and following it without a gap or a duplicate.

Who may see an event follows from its task (`core/access.py`); a workflow's own are everybody's in the tenant,
other events of no task are the operators', and an agent's own. The cursor is the event's position; it grows
by one with every event of the hub, so a filtered reader sees gaps in it and none in its own stream.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.caller import Caller
from core.errors import Gone, NotFound
from core.fencing import P_TASK
from core.platform import Platform
from core.store import tables as t
from core.store.statement import Statement
from core.store.tables.records import event_floor
from core.store.tx import Tx
from core.tail import Event, SlowReader, Subscription
from core.tasks.read import GetTask, view_task
from core.tasks.task import TaskView
from core.transitions import ASKING, FINAL
from schemas.vocabulary import TaskState

__all__ = [
    "Event",
    "EventFilter",
    "EventPage",
    "ReadEvents",
    "SlowReader",
    "await_settled",
    "follow",
    "follow_task",
    "read_events",
]

_FINAL_NAMES = frozenset(state.wire for state in FINAL)


@dataclass(frozen=True)
class EventFilter:
    """What a reader wants; empty means everything. Conditions are joined by AND, their values by OR."""

    kinds: frozenset[str] = frozenset()
    entity_types: frozenset[str] = frozenset()
    entity_id: UUID | None = None
    task_id: UUID | None = None
    workflow_id: UUID | None = None
    context_id: str | None = None
    data: tuple[tuple[str, str], ...] = ()
    """Further equalities on members of the event's data, such as `stage_name`."""

    def matches(self, event: Event) -> bool:
        """Whether the reader wants this event."""
        return (
            (not self.kinds or event.kind in self.kinds)
            and (not self.entity_types or event.entity_type in self.entity_types)
            and self.entity_id in (None, event.entity_id)
            and self.task_id in (None, event.task_id)
            and self.workflow_id in (None, event.workflow_id)
            and self.context_id in (None, event.context_id)
            and all(event.data.get(name) == value for name, value in self.data)
        )

    def clauses(self) -> list[sa.ColumnElement[bool]]:
        """The same as SQL, but for `data`."""
        c = t.event.c
        found: list[sa.ColumnElement[bool]] = []
        if self.kinds:
            found.append(c.kind.in_(sorted(self.kinds)))
        if self.entity_types:
            found.append(c.entity_type.in_(sorted(self.entity_types)))
        for column, value in (
            (c.entity_id, self.entity_id),
            (c.task_id, self.task_id),
            (c.workflow_id, self.workflow_id),
            (c.context_id, self.context_id),
        ):
            if value is not None:
                found.append(column == value)
        return found


@dataclass(frozen=True)
class ReadEvents:
    """`after` reads forward, oldest first; `before` backward, newest first; neither: the newest."""

    filter: EventFilter = field(default_factory=EventFilter)
    after: int | None = None
    before: int | None = None
    limit: int = 20


@dataclass(frozen=True)
class EventPage:
    """A page of events, and where to read on."""

    items: Sequence[Event]
    has_more: bool
    next_after: int | None
    next_before: int | None


_FLOOR = Statement(sa.select(event_floor.c.pos).where(access.within_tenant(event_floor)))


async def read_events(tx: Tx, query: ReadEvents) -> EventPage:
    """A page of the log, of what the caller may see.

    Raises:
        Gone: retention has removed what comes after the cursor; `details.oldest` is where to begin again.
    """
    c = t.event.c
    wanted = [c.tenant_id == access.TENANT, *query.filter.clauses(), _visible()]
    forward = query.after is not None
    if query.after is not None:
        await _check_kept(tx, query.after)
        wanted.append(c.pos > query.after)
    if query.before is not None:
        wanted.append(c.pos < query.before)
    order = c.pos.asc() if forward else c.pos.desc()
    rows = await tx.all(sa.select(*c).where(*wanted).order_by(order).limit(query.limit + 1))
    events = [Event(row) for row in rows[: query.limit]]
    kept = [event for event in events if query.filter.matches(event)]
    ends = [event.pos for event in events]
    return EventPage(
        kept,
        len(rows) > query.limit,
        max(ends) if ends else query.after,
        min(ends) if ends else query.before,
    )


def _visible() -> sa.ColumnElement[bool]:
    c = t.event.c
    return sa.or_(
        sa.and_(access.yes(access.OPERATOR), access.yes(access.WIDE)),
        c.submitter_id == access.ME,
        sa.and_(c.task_id.is_not(None), access.of_readable_task(t.event)),
        sa.and_(c.task_id.is_(None), c.entity_id == access.ME),
        sa.and_(c.task_id.is_(None), c.workflow_id.is_not(None), access.yes(access.WIDE)),
    )


async def _check_kept(tx: Tx, after: int) -> None:
    row = await tx.one(_FLOOR)
    if row is not None and after < row.pos:
        raise Gone("the log no longer reaches back to this cursor", details={"oldest": str(row.pos)})


_READABLE = Statement(sa.select(t.task.c.id).where(t.task.c.id == P_TASK, access.readable()))


async def _may_read(tx: Tx, task_id: UUID) -> bool:
    return await tx.one(_READABLE, p_task_id=task_id) is not None


class _Sight:
    """Which tasks' events one reader may see, asked of the database once for each task."""

    _MOST = 4096

    def __init__(self, platform: Platform, caller: Caller) -> None:
        self._platform = platform
        self._caller = caller
        self._known: OrderedDict[UUID, bool] = OrderedDict()

    async def allows(self, event: Event) -> bool:
        caller = self._caller
        if event.tenant_id != caller.tenant_id:
            return False
        if (caller.operator and caller.wide) or event.submitter_id == caller.principal_id:
            return True
        if event.task_id is None:
            return event.entity_id == caller.principal_id or (event.workflow_id is not None and caller.wide)
        known = self._known.get(event.task_id)
        # A refusal may turn with an event that names the reader: a claim, or an approval to decide.
        if known is None or (not known and self._names_me(event.data)):
            known = await self._platform.read(caller, _may_read, event.task_id)
            self._known[event.task_id] = known
            if len(self._known) > self._MOST:
                self._known.popitem(last=False)
        return known

    def _names_me(self, data: Any) -> bool:
        me = str(self._caller.principal_id)
        return me in (data.get("agent_id"), data.get("worker_id"), data.get("decider_id"))


async def follow(
    platform: Platform,
    caller: Caller,
    wanted: EventFilter,
    after: int | None = None,
    *,
    idle_seconds: float = 15.0,
) -> AsyncIterator[tuple[int, Sequence[Event]]]:
    """Follow the log from `after`, or from now: pairs of the position reached and the events up to it.

    Every event that matches comes once, in order. When nothing came for `idle_seconds`, a pair with no events
    says how far the reader is, so that a filtered one advances too. Ends only by being closed.

    Raises:
        Gone: retention has passed the cursor.
        SlowReader: the reader fell behind; it may come back with its cursor.
        Unavailable: the hub is stopping.
    """
    sight = _Sight(platform, caller)
    reached = after
    if reached is not None:
        async for upto, events in _catch_up(platform, caller, wanted, reached):
            reached = upto
            yield upto, events
    async with await platform.tail.subscribe() as live:
        if reached is None:
            reached = live.since
            yield reached, []
        else:
            async for upto, events in _catch_up(platform, caller, wanted, reached, until=live.since):
                reached = upto
                yield upto, events
        while True:
            batch = await live.next(idle_seconds)
            fresh = [event for event in batch if event.pos > reached]
            seen = [event for event in fresh if wanted.matches(event) and await sight.allows(event)]
            if fresh:
                reached = fresh[-1].pos
            if seen or not batch:
                yield reached, seen


async def _catch_up(
    platform: Platform, caller: Caller, wanted: EventFilter, after: int, until: int | None = None
) -> AsyncIterator[tuple[int, Sequence[Event]]]:
    """Pages of the log after a cursor, until its end, or until a position that is known to be reached."""
    while True:
        page = await platform.read(caller, read_events, ReadEvents(wanted, after=after, limit=200))
        if page.next_after is not None and page.next_after > after:
            after = page.next_after
        if until is not None and not page.has_more:
            after = max(after, until)
        if page.items or not page.has_more:
            yield after, page.items
        if not page.has_more:
            return


async def follow_task(
    platform: Platform, caller: Caller, task_id: UUID
) -> AsyncIterator[TaskView | Sequence[Event]]:
    """One task from a snapshot on: first its view, then batches of its later events, until it is final.

    Raises:
        NotFound: no such task, or not yours to see.
        SlowReader: the reader fell behind.
        Unavailable: the hub is stopping.
    """
    async with await platform.tail.subscribe(task_id=task_id) as live:
        view = await platform.read(caller, view_task, GetTask(task_id))
        yield view
        if view.task.state in FINAL:
            return
        version = view.task.version
        while True:
            fresh = [event for event in await live.next() if (event.version or 0) > version]
            if not fresh:
                continue
            version = fresh[-1].version or version
            yield fresh
            if ends(fresh):
                return


def ends(events: Sequence[Event]) -> bool:
    """Whether a final state is among these events of one task."""
    return any(e.kind == "task.state_changed" and e.data["to_state"] in _FINAL_NAMES for e in events)


_SETTLING = frozenset(
    state.wire
    for state in (*FINAL, *ASKING, TaskState.AWAITING_APPROVAL, TaskState.OUTPUT_PENDING_ASSESSMENT)
)
"""States in which somebody else's move is awaited, if any."""


def _may_settle(event: Event) -> bool:
    """Whether it is worth looking at the task again: most of what happens to one settles nothing."""
    if event.kind == "task.state_changed":
        return event.data["to_state"] in _SETTLING
    return event.kind == "approval.requested"


def settled(view: TaskView, caller: Caller) -> bool:
    """Whether the task is final, or waits for something that this caller could give."""
    state = view.task.state
    if state in FINAL or state in ASKING:
        return True
    return any(approval.decidable_by(caller, view.task.agent_id) for approval in view.approvals)


async def await_settled(
    platform: Platform,
    caller: Caller,
    task_id: UUID,
    timeout: float | None = None,
) -> TaskView:
    """The task once it is final or asks for something that the caller could give; after `timeout`, as it is.

    A cheap subscription: no thread and no database connection is held while it waits.

    Raises:
        NotFound: no such task, or not yours to see.
        Unavailable: the hub is stopping.
    """
    deadline = None if timeout is None else platform.monotonic() + timeout
    async with await platform.tail.subscribe(task_id=task_id, wanted=_may_settle) as live:
        if await platform.read(caller, _goes_on, task_id):
            await live.next(timeout)
        return await _settle(platform, caller, task_id, live, deadline)


_GLANCE = Statement(
    sa.select(t.task.c.state, t.task.c.has_approvals).where(t.task.c.id == P_TASK, access.readable())
)


async def _goes_on(tx: Tx, task_id: UUID) -> bool:
    """Whether the task is under way and asks nobody for anything: no reason for a longer look yet."""
    row = await tx.one(_GLANCE, p_task_id=task_id)
    if row is None:
        raise NotFound("no such task")
    return TaskState(row.state).wire not in _SETTLING and not row.has_approvals


async def _settle(
    platform: Platform, caller: Caller, task_id: UUID, live: Subscription, deadline: float | None
) -> TaskView:
    while True:
        view = await platform.read(caller, view_task, GetTask(task_id))
        left = None if deadline is None else deadline - platform.monotonic()
        if settled(view, caller) or (left is not None and left <= 0):
            return view
        if not await live.next(left):
            continue
