"""`GET /api/v1/events/ws`: the event log over a WebSocket, with the filters and cursor of the SSE stream."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from core import events
from core.caller import Caller
from core.events import Event, EventFilter
from hub.api import rendering
from hub.api.call import Shared
from hub.middleware import authenticated
from hub.sockets import Socket, accepted, serve
from schemas.v1 import sockets as v1


class EventSocket:
    """Serves one socket for each call; each follows one subscription at a time."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket.

        Raises:
            HubError: no valid credential, or too many streams; nothing was accepted.
        """
        caller = await authenticated(scope)
        with self._shared.streams.taken_by(caller.principal_id):
            if not await accepted(receive, send):
                return
            socket = Socket(send)
            reader = _Reader(self._shared, caller, socket)
            await serve(self._shared, scope, receive, socket, reader.hear, reader.follow)


class _Reader:
    def __init__(self, shared: Shared, caller: Caller, socket: Socket) -> None:
        self._platform = shared.platform
        self._caller = caller
        self._socket = socket
        self._wanted: v1.Subscribe | None = None
        self._changed = asyncio.Event()

    async def hear(self, text: str) -> None:
        """One frame of the client."""
        try:
            frame = v1.READER_FRAME.validate_json(text)
        except ValidationError as error:
            kinds = {each["type"] for each in error.errors(include_input=False, include_context=False)}
            unknown = kinds & {"union_tag_invalid", "union_tag_not_found"}
            code = "UNSUPPORTED_ACTION" if unknown else "INVALID_PAYLOAD"
            await self._socket.refuse(code, "a frame is {action: subscribe | unsubscribe | ping, …}")
            return
        if isinstance(frame, v1.Ping):
            await self._socket.send("pong")
            return
        self._wanted = frame if isinstance(frame, v1.Subscribe) else None
        self._changed.set()

    async def follow(self) -> None:
        """Send what is subscribed to, and change with every new subscription."""
        await self._socket.send("connection.ready", requires_authentication=False)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._wanted is None:
                await self._socket.send("unsubscribed")
                continue
            following = asyncio.ensure_future(self._send_all(self._wanted))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({following, changed}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()  # it ends only by a refusal
            finally:
                for task in (following, changed):
                    task.cancel()
                await asyncio.gather(following, changed, return_exceptions=True)

    async def _send_all(self, wanted: v1.Subscribe) -> None:
        feed = events.follow(self._platform, self._caller, _filter(wanted.filters), wanted.after)
        async with contextlib.aclosing(feed):  # type: ignore[type-var]  # it is a generator
            if wanted.after is not None:
                await self._socket.send("subscribed", cursor=wanted.after)
            begun = wanted.after is not None
            async for reached, batch in feed:
                if not begun:
                    begun = True
                    await self._socket.send("subscribed", cursor=reached)
                elif not batch:
                    await self._socket.send("position", cursor=reached)
                await self._send_batch(batch)

    async def _send_batch(self, batch: Sequence[Event]) -> None:
        for event in batch:
            row: dict[str, Any] = dict(rendering.event(event))
            renamed = {"event_id": row.pop("id"), "event_type": row.pop("type")}
            await self._socket.send("event", **renamed, **row, timestamp=row["created_at"])


def _filter(said: v1.Filters) -> EventFilter:
    within = ("workspace_id", "work_item_id", "stage_name", "activation_id", "gate_id")
    return EventFilter(
        kinds=frozenset(said.event_types),
        entity_types=frozenset(said.entity_types),
        entity_id=said.entity_id,
        workflow_id=said.workflow_id,
        context_id=said.context_id,
        data=tuple((name, str(v)) for name in within if (v := getattr(said, name)) is not None),
    )
