"""The event log: pages of it, and the stream that follows it."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from pydantic_core import to_json

from core import events
from core.errors import Invalid
from core.events import Event, EventFilter
from core.tasks import read
from core.transitions import FINAL
from hub.api import rendering
from hub.api.call import Answer, Call, Reply
from hub.api.routing import route
from hub.sse import EventStream, frame
from schemas.v1 import events as v1
from schemas.v1.envelope import CursorMeta
from schemas.vocabulary import Scope

_CONNECTED: Final = b": connected\n\n"
_LATEST: Final = 2**53
_SSE: Final = "sse"


def filter_of(query: v1.EventFilters) -> EventFilter:
    """The filter that a query says."""
    within = {
        "workspace_id": query.workspace_id,
        "work_item_id": query.work_item_id,
        "stage_name": query.stage_name,
        "activation_id": query.activation_id,
        "gate_id": query.gate_id,
    }
    return EventFilter(
        kinds=frozenset(query.event_type or ()),
        entity_types=frozenset(query.entity_type or ()),
        entity_id=query.entity_id,
        workflow_id=query.workflow_id,
        context_id=query.context_id,
        data=tuple((name, str(value)) for name, value in within.items() if value is not None),
    )


@route(
    "GET",
    "/events",
    scope=Scope.AGENT,
    query=v1.EventQuery,
    returns=list[v1.Event],
    meta=CursorMeta,
    errors=(410,),
    summary="Read the event log",
    operation_id="events_list",
)
async def list_events(call: Call, query: v1.EventQuery) -> Reply:
    """Forward from `after`, oldest first; backward from `before`; with neither the newest, newest first."""
    if query.after is not None and query.before is not None:
        raise Invalid("send after or before, not both")
    limits = {limit for limit in (query.limit, query.per_page) if limit is not None}
    if len(limits) > 1:
        raise Invalid("limit and per_page are one, and differ")
    page = await call.read(
        events.read_events,
        events.ReadEvents(filter_of(query), query.after, query.before, limits.pop() if limits else 20),
    )
    meta = {"has_more": page.has_more, "next_after": page.next_after, "next_before": page.next_before}
    return Reply([rendering.event(event) for event in page.items], meta)


@route(
    "GET",
    "/events/stream",
    scope=Scope.AGENT,
    query=v1.StreamQuery,
    errors=(410,),
    stream=True,
    summary="Follow the event log",
    operation_id="events_stream",
)
async def stream_events(call: Call, query: v1.StreamQuery) -> Answer:
    """Server-sent events, each once and in order. With `Last-Event-ID` or `after` nothing is ever missed.

    When nothing happens, a comment `: pos N` tells every 15 seconds how far the log was read. A reader that
    is too slow, or whose key has ended, gets a last `event: error` and is closed.
    """
    feed = events.follow(call.platform, call.caller, filter_of(query), _cursor(call, query))
    call.shared.streams.take(call.caller.principal_id)
    stream = EventStream(
        _frames(feed),
        until=call.shared.ended,
        done=lambda: call.shared.streams.free(call.caller.principal_id),
    )
    await stream.open(_CONNECTED)
    return stream


@route(
    "GET",
    "/tasks/{id}/stream",
    scope=Scope.AGENT,
    query=v1.TaskStreamQuery,
    errors=(404, 410),
    stream=True,
    summary="Follow a task",
    operation_id="tasks_stream",
)
async def stream_task(call: Call, query: v1.TaskStreamQuery) -> Answer:
    """The task's events as server-sent events, from its first one or from `Last-Event-ID` or `after` on. Once
    the task is final and all was told, `event: task_end` closes the stream."""
    await call.read(read.get_task, read.GetTask(call.id))
    feed = events.follow(call.platform, call.caller, EventFilter(task_id=call.id), _cursor(call, query) or 0)
    call.shared.streams.take(call.caller.principal_id)
    stream = EventStream(
        _until_final(call, feed),
        until=call.shared.ended,
        done=lambda: call.shared.streams.free(call.caller.principal_id),
    )
    await stream.open(_CONNECTED)
    return stream


async def _until_final(call: Call, feed: AsyncIterator[tuple[int, Sequence[Event]]]) -> AsyncIterator[bytes]:
    newest = events.ReadEvents(EventFilter(task_id=call.id), limit=1)
    try:
        async for reached, batch in feed:
            if batch:
                yield b"".join([_encoded(event) for event in batch])
            else:
                yield b": pos %d\n\n" % reached
            task = await call.read(read.get_task, read.GetTask(call.id))
            if task.state not in FINAL:
                continue
            # Its last event may still be without its place in the log.
            (last,) = (await call.read(events.read_events, newest)).items
            if (last.version or 0) >= task.version and last.pos <= reached:
                yield frame(to_json({"task_id": task.id, "state": task.state.wire}), "task_end")
                return
    finally:
        await feed.aclose()  # type: ignore[attr-defined]  # it is a generator


def _cursor(call: Call, query: v1.StreamQuery | v1.TaskStreamQuery) -> int | None:
    said = call.header(b"last-event-id")
    if said is None or not said.strip():
        return query.after
    if not (said.isascii() and said.isdigit()) or int(said) > _LATEST:
        raise Invalid("Last-Event-ID is the id of an event")
    return int(said)


async def _frames(feed: AsyncIterator[tuple[int, Sequence[Event]]]) -> AsyncIterator[bytes]:
    try:
        async for reached, batch in feed:
            if batch:
                yield b"".join([_encoded(event) for event in batch])
            else:
                yield b": pos %d\n\n" % reached
    finally:
        await feed.aclose()  # type: ignore[attr-defined]  # it is a generator


def _encoded(event: Event) -> bytes:
    """The event's frame, made once for all streams of this process."""
    found: bytes | None = event.rendered.get(_SSE)
    if found is None:
        found = event.rendered[_SSE] = frame(to_json(rendering.event(event)), event.kind, event.pos)
    return found
