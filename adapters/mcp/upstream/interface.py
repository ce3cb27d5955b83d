"""What the hub sees of a server that it calls: where it is, a session with it, and what comes back.

`Upstream.open` (`client.py`) gives a `Session` for a `Target`, whatever era and transport the server speaks.
Results pass through as they came: nothing here models them, so that no vendor's field is lost.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

from pydantic_core import from_json

from adapters import jsonrpc
from adapters.mcp.upstream.failures import BadAnswer
from core.mcp.words import Era, TransportPreference, VerifiedTransport

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Credential(Protocol):
    """The hub's own credential for one server. A caller's token never becomes one."""

    async def header(self) -> str | None:
        """The value of `Authorization` for the next request; None to send none.

        Raises:
            NeedsAuth: there is none until somebody authorizes the hub again.
        """

    async def refused(self, status: int, challenge: str | None) -> bool:
        """The server refused it with this `WWW-Authenticate`. Whether a request is worth another try now."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a server is to be spoken to, as it was found out."""

    transport: VerifiedTransport
    era: Era
    version: str


@dataclass(frozen=True, slots=True)
class Client:
    """Whom the hub speaks for, as the server is told. No capability that the caller does not have."""

    info: Mapping[str, Any]
    capabilities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be called. Values of parameters may be secret, so they do not show."""

    server_id: UUID
    url: str = field(repr=False)
    """With its path parameters filled in."""
    preference: TransportPreference = TransportPreference.AUTO
    verdict: Verdict | None = None
    """None: find out."""
    known: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the server said of itself when it was verified, as `server/discover` would."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    initialize: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further parameters of `initialize`."""
    seconds: float = 300.0
    """How long a call may take when its caller says nothing."""
    credential: Credential | None = field(default=None, repr=False)
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    """The OpenAPI document of a server that is none of MCP."""
    hosted_in: UUID | None = None
    """The tenant of a server whose program a worker runs."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a server says by itself. `id` is None for a notification; else it waits for an answer."""

    method: str
    params: Mapping[str, Any]
    id: jsonrpc.Id = None


OnMessage: TypeAlias = Callable[[Message], Awaitable[Mapping[str, Any] | None]]
"""Hears a message. What it returns for a request is the result; `RpcError` refuses. Notifications come one
after the other, in order; each request is heard in a task of its own, which ends with the call it came in."""


class RpcError(Exception):
    """A JSON-RPC error: of the server, or of whoever answers a request of its. The text is the sender's."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Reply:
    """The answer to a request: a result or a JSON-RPC error, as bytes and parsed."""

    __slots__ = ("__dict__", "raw")

    def __init__(self, raw: bytes, message: Mapping[str, Any] | None = None) -> None:
        self.raw = raw
        """The whole JSON-RPC response as it came."""
        if message is not None:
            self.__dict__["message"] = message

    @cached_property
    def message(self) -> Mapping[str, Any]:
        """The whole JSON-RPC response.

        Raises:
            BadAnswer: it is none.
        """
        return response_of(self.raw)

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The error, if it is one."""
        found = self.message.get("error")
        return found if type(found) is dict else None

    def result(self) -> Mapping[str, Any]:
        """The result.

        Raises:
            RpcError: the server answered with an error.
            BadAnswer: the result is no object.
        """
        failed = self.error
        if failed is not None:
            code = failed.get("code")
            text = str(failed.get("message", ""))
            raise RpcError(code if type(code) is int else jsonrpc.INTERNAL_ERROR, text, failed.get("data"))
        found = self.message.get("result")
        if type(found) is not dict:
            raise BadAnswer("a result is no object")
        return found


class Session(Protocol):
    """One session with a server: of a legacy era a real one, of the modern era a way to call.

    Safe to use from several tasks at once. A session of a legacy era that the server has forgotten is opened
    again by itself, once for each call.
    """

    @property
    def verdict(self) -> Verdict:
        """How the server is spoken to."""

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the server can do."""

    @property
    def info(self) -> Mapping[str, Any]:
        """The server's `Implementation`."""

    @property
    def instructions(self) -> str | None:
        """What the server tells models about itself."""

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: jsonrpc.Id = None,
        on_message: OnMessage | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] = NOTHING,
    ) -> Reply:
        """Send a request and wait for its answer, an error included.

        `params._meta.progressToken` asks for progress: it comes to `on_message` under the same token. In the
        modern era `params._meta` may say the caller's capabilities, `id` is sent as it is, and `headers` may
        hold `Mcp-Param-…`. Cancelling the awaiting task cancels the request on the wire; so does the end of
        `seconds`, however much progress there was.

        Raises:
            UpstreamError: it brought no answer; which child says why.
        """

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification; dropped in the modern era over HTTP, which knows none from clients.

        Raises:
            UpstreamError: it was not taken.
        """

    async def listen(self, on_message: OnMessage, wanted: Mapping[str, Any] = NOTHING) -> None:
        """Hear what belongs to no request, until the server ends it; at once if it has no such stream.

        `wanted` is the filter of `subscriptions/listen` in the modern era.

        Raises:
            UpstreamError: the stream broke.
        """

    async def close(self) -> None:
        """End it. What is under way fails; repeating it does nothing."""


def response_of(raw: bytes) -> Mapping[str, Any]:
    """The JSON-RPC response in some bytes.

    Raises:
        BadAnswer: there is none.
    """
    try:
        found = from_json(raw, allow_inf_nan=False)
    except ValueError:
        raise BadAnswer("an answer is not JSON") from None
    if not is_response(found):
        raise BadAnswer("an answer is no JSON-RPC response")
    return found  # type: ignore[no-any-return]  # a dict, by what was just checked


def is_response(value: Any) -> bool:
    """Whether a parsed value is a JSON-RPC response."""
    return type(value) is dict and "method" not in value and ("result" in value or "error" in value)
