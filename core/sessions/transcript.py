"""What happened in a session: its past from the log, and what happens from now on, without a gap.

A session's events are those of its tasks, and its own. A fork has its parent's past up to where it began.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.approvals import Approval
from core.caller import Caller
from core.platform import Platform
from core.sessions.session import OneSession, Session, find
from core.sessions.turns import OF_SESSION
from core.store import tables as t
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Id
from core.tail import Event
from core.tasks.task import InputRequest
from core.transitions import FINAL

TOLD: Final = frozenset({"acp.update", "task.message_sent", "task.artifact_updated", "task.state_changed"})
"""The kinds of events that make a transcript."""
PAGE: Final = 200


@dataclass(frozen=True)
class ReadPast:
    """A page of a session's events after one position and up to another."""

    session_id: str
    after: int
    upto: int


@dataclass(frozen=True)
class Batch:
    """Events in their order. `past`: they had happened before the reader came. `reached` is how far it is."""

    events: Sequence[Event]
    reached: int
    past: bool = False


@dataclass(frozen=True)
class OpenQuestions:
    """What a session waits for: approvals that its owner may decide, and input."""

    approvals: Sequence[Approval]
    inputs: Sequence[InputRequest]

    @property
    def ids(self) -> Sequence[UUID]:
        """The ids of all of them."""
        return [*(found.id for found in self.approvals), *(found.id for found in self.inputs)]


_e = t.event.c
_TASKS = sa.select(t.task.c.id).where(OF_SESSION)
_PAST = Statement(
    sa.select(*_e)
    .where(
        _e.task_id.in_(_TASKS),
        _e.pos > sa.bindparam("p_after", type_=sa.BigInteger()),
        _e.pos <= sa.bindparam("p_upto", type_=sa.BigInteger()),
        _e.kind.in_([sa.literal_column(f"'{kind}'") for kind in sorted(TOLD)]),
    )
    .order_by(_e.pos)
    .limit(sa.literal_column(str(PAGE)))
)
_s = t.acp_session.c
_PARENT = Statement(
    sa.select(_s.session_id, _s.parent_id, _s.forked_at).where(
        access.owned(t.acp_session), _s.id == sa.bindparam("p_row_id", type_=Id())
    )
)


async def read_past(tx: Tx, query: ReadPast) -> list[Event]:
    """The page, oldest first; empty when there is no more. Who owns the session, the caller has asked."""
    rows = await tx.all(_PAST, p_session=query.session_id, p_after=query.after, p_upto=query.upto)
    return [Event(row) for row in rows]


@dataclass(frozen=True)
class Chapter:
    """One session's share of a past: its events up to a position."""

    session_id: str
    upto: int


async def chapters(tx: Tx, query: OneSession) -> list[Chapter]:
    """Whose events make the session's past, oldest first, the session's own not included.

    Raises:
        NotFound: unknown, foreign or deleted.
    """
    row = await find(tx, query.session_id)
    found: list[Chapter] = []
    parent_id, forked_at = row.parent_id, row.forked_at
    while parent_id is not None and len(found) < 100:
        parent = await tx.one(_PARENT, p_row_id=parent_id)
        if parent is None:
            break
        found.append(Chapter(parent.session_id, forked_at))
        # What the parent took over counts only as far as this fork reaches.
        upto = parent.forked_at if parent.forked_at is None else min(parent.forked_at, forked_at)
        parent_id, forked_at = parent.parent_id, upto
    return found[::-1]


_APPROVALS = Statement(
    sa.select(t.approval)
    .where(
        t.approval.c.task_id.in_(_TASKS.where(t.task.c.has_approvals == sa.true())),
        t.approval.c.status == sa.literal_column("'pending'"),
        access.asked(),
    )
    .order_by(t.approval.c.id)
)
_INPUTS = Statement(
    sa.select(t.input_request)
    .where(
        t.input_request.c.task_id.in_(
            _TASKS.where(
                t.task.c.state.not_in(
                    [sa.literal_column(str(int(s)), sa.SmallInteger) for s in sorted(FINAL)]
                )
            )
        ),
        t.input_request.c.status == sa.literal_column("'open'"),
    )
    .order_by(t.input_request.c.id)
)


async def open_questions(tx: Tx, query: OneSession) -> OpenQuestions:
    """What the session's owner is asked now.

    Raises:
        NotFound: unknown, foreign or deleted.
    """
    row = await find(tx, query.session_id)
    return OpenQuestions(
        [Approval.of(found) for found in await tx.all(_APPROVALS, p_session=row.session_id)],
        [InputRequest.of(found) for found in await tx.all(_INPUTS, p_session=row.session_id)],
    )


async def follow_session(
    platform: Platform, caller: Caller, session: Session, after: int | None
) -> AsyncIterator[Batch]:
    """A session's events after a position, or from now on: first what is past, then a mark, then what comes.

    The mark is the first batch that is not `past`; it may be empty. `after` of 0 includes what a fork took
    over. Ends only by being closed.

    Raises:
        SlowReader: the reader fell behind; it may come back with the position that it reached.
        Unavailable: the hub is stopping.
    """
    context = (session.tenant_id, session.session_id)
    async with await platform.tail.subscribe(
        context=context, wanted=lambda event: event.submitter_id == session.owner_id
    ) as live:
        reached = live.since if after is None else max(after, 0)
        if after == 0 and session.parent_id is not None:
            for chapter in await platform.read(caller, chapters, OneSession(session.session_id)):
                async for events in _pages(platform, caller, chapter.session_id, 0, chapter.upto):
                    yield Batch(events, 0, past=True)
        if reached < live.since:
            async for events in _pages(platform, caller, session.session_id, reached, live.since):
                reached = events[-1].pos
                yield Batch(events, reached, past=True)
        reached = max(reached, live.since)
        yield Batch((), reached)
        while True:
            fresh = [event for event in await live.next() if event.pos > reached]
            if fresh:
                reached = fresh[-1].pos
                yield Batch(fresh, reached)


async def _pages(
    platform: Platform, caller: Caller, session_id: str, after: int, upto: int
) -> AsyncIterator[Sequence[Event]]:
    while True:
        events = await platform.read(caller, read_past, ReadPast(session_id, after, upto))
        if events:
            yield events
        if len(events) < PAGE:
            return
        after = events[-1].pos
