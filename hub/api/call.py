"""One call of a route, as its handler sees it, and what the handler answers.

A handler parses nothing and renders nothing by itself: it turns the body into a command, runs it with
`call.write` or `call.read`, and returns a `Reply`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from starlette.types import Receive, Scope, Send

from adapters.mcp.oauth import OAuthEngine
from core.caller import Caller
from core.errors import Unavailable
from core.mcp.ports import Servers
from core.platform import Platform
from core.ports import Cards, Files, Receivers
from core.store.tx import Tx
from hub.limits import Buckets, Rate
from hub.places import Places

A = TypeVar("A")
R = TypeVar("R")


GIT_RATE = Rate(120, 60.0)
HOOK_RATE: Final = Rate(240, 60)


@dataclass(slots=True)
class Reply:
    """A result to be enveloped. `status` is the route's own when absent; 204 has no body."""

    data: Any = None
    meta: Mapping[str, Any] | None = None
    status: int | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Stream(Protocol):
    """An answer that writes itself, for as long as it likes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, from the status line to the end."""
        ...


Answer = Reply | Stream


class Disconnected(Exception):
    """The caller hung up: nobody is there to be answered."""


@dataclass(frozen=True)
class Shared:
    """What all calls of one hub share."""

    platform: Platform
    waits: Places
    """Long polls."""
    streams: Places
    """Open streams."""
    ended: Callable[[Scope], Awaitable[None]]
    """Returns once the credential of a request proves nothing any more."""
    stopping: asyncio.Event
    """Set when the hub begins to stop: whoever waits is sent away, to come back to the next hub."""
    oauth: OAuthEngine | None = None
    """Who comes to tokens for MCP servers."""
    cards: Cards | None = None
    """Who fetches the cards of remote agents."""
    public_url: str = ""
    """The hub's address as others reach it, without a trailing slash."""
    servers: Servers | None = None
    """Who looks at MCP servers."""
    receivers: Receivers | None = None
    """Who judges addresses that are to be notified."""
    files: Files | None = None
    """Who keeps what is too large for the database."""
    hooks: Buckets = field(default_factory=lambda: Buckets(HOOK_RATE))
    """How often each address, and each webhook trigger, is called."""
    git: Buckets = field(default_factory=lambda: Buckets(GIT_RATE))
    """How often each address says what a git server does."""


class Call:
    """One authenticated call."""

    __slots__ = ("_receive", "caller", "ids", "platform", "replayed", "scope", "shared", "texts")

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        shared: Shared,
        caller: Caller,
        ids: Mapping[str, UUID],
        texts: Mapping[str, str],
    ) -> None:
        self._receive = receive
        self.shared = shared
        self.scope = scope
        self.platform = shared.platform
        self.caller = caller
        """Who calls, with the replay key of this call."""
        self.ids = ids
        self.texts = texts
        self.replayed = False
        """Whether the result is an earlier call's."""

    @property
    def id(self) -> UUID:
        """The path's `{id}`."""
        return self.ids["id"]

    def about(self, id: UUID) -> "Call":
        """The same call, of the path that names this id alone."""
        return Call(self.scope, self._receive, self.shared, self.caller, {"id": id}, {})

    async def write(self, command: Callable[[Tx, A], Coroutine[Any, Any, R]], argument: A) -> R:
        """Run a command; a repeat with the same replay key gets the first result.

        Raises:
            HubError: what the command refuses.
        """
        outcome = await self.platform.write_once(self.caller, command, argument)
        self.replayed = self.replayed or outcome.replayed
        return outcome.result

    async def read(self, query: Callable[[Tx, A], Coroutine[Any, Any, R]], argument: A) -> R:
        """Run a query.

        Raises:
            HubError: what the query refuses.
        """
        return await self.platform.read(self.caller, query, argument)

    def keyed(self, place: str, own: str | None = None) -> Caller:
        """The caller for one item of a batch: with the item's own replay key, or one made of the batch's."""
        key = self.caller.replay_key
        if own is None and key is not None:
            own = f"{key}#{place}"
        return self.caller if own is None else replace(self.caller, replay_key=own)

    def without_key(self) -> Caller:
        """The caller, for what is repeatable by nature and better not remembered."""
        return self.caller if self.caller.replay_key is None else replace(self.caller, replay_key=None)

    def waiting(self) -> AbstractContextManager[None]:
        """A place for a long poll, while the block runs.

        Raises:
            TooMany: the caller has too many open.
        """
        return self.shared.waits.taken_by(self.caller.principal_id)

    async def unless_gone(self, waiting: Coroutine[Any, Any, R]) -> R:
        """Wait for something, but only as long as the caller does and the hub runs.

        Raises:
            Disconnected: the caller hung up; what was waited for is cancelled.
            Unavailable: the hub is stopping.
        """
        work = asyncio.ensure_future(waiting)
        gone = asyncio.ensure_future(self._gone())
        stopping = asyncio.ensure_future(self.shared.stopping.wait())
        try:
            await asyncio.wait({work, gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if gone.done():
                raise Disconnected
            raise Unavailable("the hub is stopping; ask again")
        finally:
            for task in (work, gone, stopping):
                task.cancel()
            await asyncio.gather(work, gone, stopping, return_exceptions=True)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The raw body, piece by piece, as it comes.

        Raises:
            Disconnected: the caller hung up before its end.
        """
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            if message.get("body"):
                yield message["body"]
            more = message.get("more_body", False)

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    @property
    def minimal(self) -> bool:
        """Whether the caller prefers an answer without a body, `Prefer: return=minimal` (RFC 7240)."""
        preferences = self.header(b"prefer")
        return preferences is not None and "return=minimal" in re.split(r"[\s,;]+", preferences.lower())

    def header(self, name: bytes) -> str | None:
        """A request header, by its lower-case name."""
        return header_of(self.scope, name)


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None
