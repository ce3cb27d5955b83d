"""Reading and following the event log.

A stream is resumed by itself after its last event, so its reader sees each event once and in order, across
lost connections and restarts of the hub.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp

from hub.client.errors import ApiError, Unreachable
from hub.client.records import Event, Page
from hub.client.sse import Frame, SseReader
from hub.client.transport import RETRIED_STATUSES, Backoff, Transport

SILENCE_SECONDS = 45.0
"""Three missed heartbeats of the hub: the connection is dead, though nobody said so."""
BEGINNING = "0"
"""The cursor before the first event."""


class Events:
    """`hub.events`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int | None = None,
        event_type: str | Sequence[str] | None = None,
        entity_type: str | Sequence[str] | None = None,
        entity_id: str | None = None,
        **filters: Any,
    ) -> Page[Event]:
        """One page: forward from `after`, backward from `before`, else the newest."""
        query = {
            "after": after,
            "before": before,
            "limit": limit,
            "event_type": event_type,
            "entity_type": entity_type,
            "entity_id": entity_id,
            **filters,
        }
        reply = await self._transport.call("GET", "/events", query=query)
        return Page(items=[Event.of(raw) for raw in reply.data], meta=reply.meta)

    async def all(self, *, after: str = BEGINNING, **filters: Any) -> AsyncIterator[Event]:
        """Every event after the cursor that the log holds now, oldest first."""
        cursor: str | None = after
        while cursor is not None:
            page = await self.list(after=cursor, limit=100, **filters)
            for event in page.items:
                yield event
            cursor = page.next_after if page.has_more else None

    async def stream(
        self,
        *,
        after: str | None = None,
        event_type: str | Sequence[str] | None = None,
        entity_type: str | Sequence[str] | None = None,
        entity_id: str | None = None,
        **filters: Any,
    ) -> AsyncGenerator[Event, None]:
        """Events as they happen, after `after` or else from now on, until the caller stops listening.

        Leave it with `break` inside `async with contextlib.aclosing(…)`, which closes the connection at once.

        Raises:
            Gone: the events after the cursor are not kept any more.
            ApiError: the hub refuses the stream for a reason that waiting does not cure.
        """
        filters |= {"event_type": event_type, "entity_type": entity_type, "entity_id": entity_id}
        cursor, backoff = after, Backoff()
        while True:
            pause: float
            try:
                response = await self._transport.open_stream(
                    "/events/stream", {**filters, "after": cursor}, silence=SILENCE_SECONDS
                )
                self._transport.note_reach(True)
                async with aclosing(_frames(response)) as frames:
                    async for frame in frames:
                        backoff = Backoff()
                        if frame.id is None:
                            continue  # the hub's own words about the stream carry no cursor and are no events
                        yield Event.of(_event(frame), cursor=frame.id)
                        cursor = frame.id
                pause = backoff.pause()
            except ApiError as error:
                if error.status not in RETRIED_STATUSES:
                    raise
                pause = backoff.pause(error)
            except Unreachable as error:
                self._transport.note_reach(False)
                pause = backoff.pause(error)
            await asyncio.sleep(pause)


async def _frames(response: aiohttp.ClientResponse) -> AsyncGenerator[Frame, None]:
    """The frames of one connection; it ends when the hub ends it.

    Raises:
        Unreachable: the connection broke or fell silent.
    """
    reader = SseReader()
    try:
        async for chunk in response.content.iter_any():
            for frame in reader.feed(chunk):
                yield frame
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"the stream broke: {error}") from error
    finally:
        response.close()


def _event(frame: Frame) -> Mapping[str, Any]:
    try:
        return frame.json()
    except ValueError as error:
        raise Unreachable("the stream carries something that is no event") from error
