"""What a client hears of by itself: lists that are others now, and what its servers tell.

Lists of tools and prompts are the registry's: they change when a definition was approved or a grant given,
and a server that says that its own have changed is verified again. Resources and tasks are the servers'.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, Protocol

from adapters import jsonrpc
from adapters.mcp.answering import stop
from adapters.mcp.errors import invalid
from adapters.mcp.exchange import Call, Notification, Wanted, Wants
from adapters.mcp.gateway import leave
from adapters.mcp.gateway.bridge import LEVELS
from adapters.mcp.gateway.desk import Desk
from adapters.mcp.gateway.line import Line
from adapters.mcp.upstream import Message, RpcError, UpstreamError
from core import mcp_sessions
from core.caller import SYSTEM
from core.errors import HubError, Unavailable
from core.gateway import grants
from core.gateway.catalogue import Reached, reach_all
from core.mcp import health, records
from core.mcp.words import Era

MOST_WANTED: Final = 1_000
IDLE_SECONDS: Final = 15.0
READY_SECONDS: Final = 2.0
"""So long a stream waits for its servers before it says that it listens."""
LAST_PAUSE: Final = 30.0
_LISTS: Final = ("tools", "prompts", "resources")
_CHANGED: Final = {f"notifications/{name}/list_changed": name for name in _LISTS}
_log = logging.getLogger("crossdock.mcp.gateway")


class Names(Protocol):
    """What a server's addresses are called by a client."""

    def inner(self, uri: str) -> str | None:
        """What the server calls it; None for what is not its own."""

    def outer(self, uri: str) -> str:
        """What the client calls it."""


Lines = Sequence[tuple[Reached, Line, Names]]
"""Servers, the ways to them, and how their addresses are called."""


def wanted(call: Call) -> Wanted:
    """A filter of `subscriptions/listen`.

    Raises:
        McpError: it cannot be read, or is too long.
    """
    asked = call.params.get("notifications")
    if type(asked) is not dict:
        raise invalid("notifications must be an object.")
    found: dict[str, frozenset[str]] = {}
    for named in ("resourceSubscriptions", "taskIds"):
        values = asked.get(named) or []
        if type(values) is not list or not all(type(value) is str for value in values):
            raise invalid(f"notifications.{named} must be an array of strings.")
        if len(values) > MOST_WANTED:
            raise invalid(f"notifications.{named} names more than {MOST_WANTED}.")
        found[named] = frozenset(values)
    lists = frozenset(name for name in _LISTS if asked.get(f"{name}ListChanged") is True)
    return Wanted(found["resourceSubscriptions"], found["taskIds"], lists)


def check_level(level: object) -> None:
    """Pass only a level of the log.

    Raises:
        McpError: it is none.
    """
    if level not in LEVELS:
        raise invalid(f"level must be one of {', '.join(LEVELS)}.")


async def listen(
    desk: Desk, call: Call, lines: Lines, wants: Wants
) -> AsyncGenerator[Sequence[Notification], None]:
    """Batches of notifications; the first, empty one once the servers listen, or do not in time.

    Raises:
        Unavailable: the hub is stopping.
    """
    news: asyncio.Queue[Notification] = asyncio.Queue(MOST_WANTED)
    ears = [_Ear(desk, call, reached, line, names, wants, news) for reached, line, names in lines]
    watching = asyncio.ensure_future(_watch(desk, call, wants, news))
    hearing = [asyncio.ensure_future(ear.run()) for ear in ears]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.gather(*(ear.ready.wait() for ear in ears))
        yield ()
        while True:
            batch: list[Notification] = []
            following = asyncio.ensure_future(news.get())
            done, _ = await asyncio.wait(
                {following, watching}, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if following in done:
                batch.append(following.result())
            else:
                await stop(following)
            if watching in done:
                watching.result()
                return
            while not news.empty():
                batch.append(news.get_nowait())
            yield list({repr(found): found for found in batch}.values())
    finally:
        await stop(watching, *hearing)


async def _watch(desk: Desk, call: Call, wants: Wants, news: "asyncio.Queue[Notification]") -> None:
    """Tell of lists that are others now, and of calls that have got their leave."""
    before = await _seen(desk, call)
    while True:
        wanted = await wants()
        own = {task_id for task_id in wanted.task_ids if task_id.startswith(leave.TASK)}
        topics = [records.CHANGED, grants.CHANGED, *(_topic(task_id) for task_id in own)]
        with desk.platform.hints.listen(topics) as woken:
            now = await _seen(desk, call)
            if now != before:
                before = now
                for name in sorted(wanted.lists):
                    await news.put((f"notifications/{name}/list_changed", {}))
            if await woken.wait(IDLE_SECONDS):
                for task_id in own:
                    found = await leave.find(desk.platform, call.caller, task_id)
                    if found is not None and found.over:
                        await news.put(("notifications/tasks", leave.detailed(found)))


def _topic(task_id: str) -> str:
    return f"mcp_call:{task_id.removeprefix(leave.TASK)}"


async def _seen(desk: Desk, call: Call) -> object:
    try:
        found = await desk.platform.read(call.caller, reach_all, None)
    except Unavailable:
        raise
    except HubError:
        return None
    return [(reached.server.id, reached.server.revision, tuple(reached.rules)) for reached in found]


class _Ear:
    """Hears one server for one listener."""

    def __init__(
        self,
        desk: Desk,
        call: Call,
        reached: Reached,
        line: Line,
        names: Names,
        wants: Wants,
        news: "asyncio.Queue[Notification]",
    ) -> None:
        self._desk = desk
        self._call = call
        self._server = reached.server
        self._line = line
        self._names = names
        self._wants = wants
        self._news = news
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Listen, and begin again when the stream breaks or something else is wanted."""
        pause = 1.0
        while True:
            wanted = await self._wants()
            try:
                await self._while_wanted(wanted)
                pause = 1.0
            except (UpstreamError, HubError) as error:
                _log.info("%s tells nothing: %s", self._server.slug, error)
            except Exception:
                _log.exception("listening to %s failed", self._server.slug)
            self.ready.set()
            await asyncio.sleep(pause)
            pause = min(LAST_PAUSE, pause * 2)

    async def _while_wanted(self, wanted: Wanted) -> None:
        async with self._line.session(self._call) as kept:
            kept.listeners.append(self._heard)
            try:
                mine = {self._names.inner(uri) for uri in wanted.uris}
                uris = sorted(uri for uri in mine if uri is not None)
                if self._line.era is Era.LEGACY:
                    for uri in uris:
                        await kept.session.request("resources/subscribe", {"uri": uri})
                    self.ready.set()
                tasks = [one for one in wanted.task_ids if not one.startswith(leave.TASK)]
                filter: dict[str, Any] = {f"{name}ListChanged": True for name in _LISTS}
                filter |= {"resourceSubscriptions": uris} if uris else {}
                filter |= {"taskIds": sorted(tasks)} if tasks else {}
                hearing = asyncio.ensure_future(kept.session.listen(self._heard, filter))
                changed = asyncio.ensure_future(self._changed(wanted))
                try:
                    await asyncio.wait({hearing, changed}, return_when=asyncio.FIRST_COMPLETED)
                    if hearing.done() and hearing.exception() is None:
                        await changed  # it has no such stream; answers to requests may still bring news
                    elif hearing.done():
                        hearing.result()
                finally:
                    await stop(hearing, changed)
            finally:
                kept.listeners.remove(self._heard)

    async def _changed(self, wanted: Wanted) -> None:
        if self._call.session is None:
            await asyncio.Event().wait()
        assert self._call.session is not None
        while True:
            with self._desk.platform.hints.listen([mcp_sessions.topic(self._call.session)]) as woken:
                now = await self._wants()
                # Where sessions are spoken, the request itself has subscribed.
                if now != wanted and self._line.era is Era.MODERN:
                    return
                await woken.wait(IDLE_SECONDS)

    async def _heard(self, message: Message) -> Mapping[str, Any] | None:
        self.ready.set()
        if message.id is not None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, "Method not found")
        wanted, method, params = await self._wants(), message.method, dict(message.params)
        if method in _CHANGED:
            await self._verify()  # which tells again, should there be something else to see then
            if _CHANGED[method] in wanted.lists:
                await self._news.put((method, {}))
        elif method == "notifications/resources/updated":
            uri = self._names.outer(str(params.get("uri")))
            if uri in wanted.uris:
                await self._news.put((method, {**_untagged(params), "uri": uri}))
        elif method == "notifications/tasks":
            if params.get("taskId") in wanted.task_ids:
                await self._news.put((method, _untagged(params)))
        elif method == "notifications/message" and self._call.session is not None:
            await self._news.put((method, params))
        return None

    async def _verify(self) -> None:
        caller = SYSTEM(self._server.tenant_id)
        await self._desk.platform.write(caller, health.verify_soon, health.Soon(self._server.id))


def _untagged(params: Mapping[str, Any]) -> dict[str, Any]:
    """Without the id of the hub's own subscription."""
    return {key: value for key, value in params.items() if key != "_meta"}
