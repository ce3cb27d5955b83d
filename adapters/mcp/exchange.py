"""One request as whoever answers it sees it, the same in both eras; and what such a server has to offer.

The front (`front.py`) reads requests of either era into a `Call` and renders what comes back. A server behind
it knows no HTTP and no sessions.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from adapters import jsonrpc
from adapters.mcp import wire
from core.caller import Caller

Params: TypeAlias = Mapping[str, Any]
Result: TypeAlias = dict[str, Any]
Notification: TypeAlias = tuple[str, dict[str, Any]]
"""A method and its parameters."""


@dataclass(slots=True)
class Call:
    """One authenticated request."""

    caller: Caller
    version: str
    id: jsonrpc.Id
    method: str
    params: Params
    capabilities: Mapping[str, Any]
    """What the client can do: of this request, or of its session."""
    notify: Callable[[str, dict[str, Any]], None] = lambda method, params: None
    """Sends a notification on the stream of this request."""
    ask: "Ask | None" = None
    """Asks the client something on the stream of this request. None in the modern era, which has results that
    ask, and wherever there is no stream."""
    left: Callable[[], bool] = lambda: False
    """Whether the client has left, so that nobody hears the result."""
    session: str | None = None
    """What the hub calls the client's session by; None in the modern era."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the client has set for its session, as the level of its log."""
    headers: Mapping[bytes, str] = field(default_factory=dict)
    held: ExitStack = field(default_factory=ExitStack)
    """What the call holds until its answer is out."""

    @property
    def modern(self) -> bool:
        """Whether it is a request that says everything by itself."""
        return self.version in wire.MODERN

    @property
    def progress_token(self) -> str | int | None:
        """What progress of this request is named by, where the client wants to hear of it."""
        token = (self.params.get("_meta") or {}).get("progressToken")
        return token if type(token) in (str, int) else None

    def supports(self, extension: str) -> bool:
        """Whether the client has opted in to an extension."""
        return extension in (self.capabilities.get("extensions") or {})


Ask: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Sends a request to the client; its result. `McpError`: the client refuses, or is gone."""


@dataclass(frozen=True)
class Wanted:
    """What a listener wants to hear of."""

    uris: frozenset[str] = frozenset()
    """Resources whose changes matter."""
    task_ids: frozenset[str] = frozenset()
    """Tasks of the tasks extension."""
    lists: frozenset[str] = frozenset()
    """Lists whose changes matter: tools, prompts, resources."""

    def told(self) -> dict[str, Any]:
        """The filter as `subscriptions/listen` says it."""
        said: dict[str, Any] = {f"{name}ListChanged": True for name in sorted(self.lists)}
        if self.uris:
            said["resourceSubscriptions"] = sorted(self.uris)
        if self.task_ids:
            said["taskIds"] = sorted(self.task_ids)
        return said


Wants: TypeAlias = Callable[[], Awaitable[Wanted]]
"""What a listener wants by now."""


class McpServer(Protocol):
    """What stands behind an endpoint."""

    @property
    def name(self) -> str:
        """What its sessions are kept under."""

    @property
    def finishes(self) -> bool:
        """Whether a request of a session goes on to its end when its stream is left."""

    @property
    def info(self) -> Mapping[str, Any]:
        """The `Implementation` that it presents itself as."""

    @property
    def instructions(self) -> str:
        """What a model should know about it."""

    def capabilities(self, version: str) -> Result:
        """What it can do, as that revision says it."""

    async def answer(self, call: Call) -> Result:
        """The result of a request.

        Raises:
            McpError, HubError: the refusal.
        """

    async def subscribable(self, call: Call, uri: str, *, wanted: bool = True) -> None:
        """Pass only a resource that the caller may read. Not `wanted`: its news are not wanted any more.

        Raises:
            McpError, HubError: there is none.
        """

    def wanted(self, call: Call) -> Wanted:
        """What of a listener's filter this server honours.

        Raises:
            McpError: the filter cannot be read.
        """

    def listen(self, call: Call, wants: Wants) -> AsyncGenerator[Sequence[Notification], None]:
        """Batches of notifications; the first one, once nothing more can be missed, is empty."""


class Serves(Protocol):
    """Finds what stands behind a path, for a caller."""

    async def __call__(self, path: str, caller: Caller, query: str = "") -> McpServer:
        """The server. A query may narrow what it offers, and nothing else.

        Raises:
            McpError, HubError: there is none for this caller; unknown and not granted look alike.
        """
