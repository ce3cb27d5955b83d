"""The modern era over Streamable HTTP (2026-07-28): every request says everything, and nothing is kept."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any, Final

from adapters import jsonrpc
from adapters.mcp import wire
from adapters.mcp.upstream.events import Events
from adapters.mcp.upstream.failures import BadAnswer, TimedOut, Unreachable, UpstreamError
from adapters.mcp.upstream.headers import PARAM, request_headers
from adapters.mcp.upstream.hearing import Hearing
from adapters.mcp.upstream.http import BOTH, JSON, Leg
from adapters.mcp.upstream.interface import NOTHING, Client, Message, OnMessage, Reply, Verdict
from adapters.mcp.upstream.reading import is_stream, streamed_reply, whole_reply
from core.mcp.words import Era, VerifiedTransport

LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class ModernSession:
    """A way to call; it holds no state on the server, and so costs nothing to open."""

    def __init__(
        self, leg: Leg, client: Client, version: str, discovered: Mapping[str, Any] = NOTHING
    ) -> None:
        self._leg = leg
        self._client = client
        self._verdict = Verdict(VerifiedTransport.STREAMABLE_HTTP, Era.MODERN, version)
        self._discovered = discovered
        self._ids = itertools.count(1)

    @property
    def verdict(self) -> Verdict:
        """How the server is spoken to."""
        return self._verdict

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """As it was discovered."""
        found = self._discovered.get("capabilities")
        return found if type(found) is dict else {}

    @property
    def info(self) -> Mapping[str, Any]:
        """As results name it."""
        meta = self._discovered.get("_meta")
        found = meta.get(wire.SERVER_INFO) if type(meta) is dict else None
        return found if type(found) is dict else {}

    @property
    def instructions(self) -> str | None:
        """As it was discovered."""
        found = self._discovered.get("instructions")
        return found if type(found) is str else None

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
        """As `Session.request`. Leaving closes the response, which is what cancels it."""
        limit = self._leg.target.seconds if seconds is None else seconds
        asked = self._enveloped(params)
        try:
            async with asyncio.timeout(limit):
                return await self._call(method, asked, id, on_message, headers)
        except TimeoutError:
            raise TimedOut(f"no answer within {limit:g} s") from None

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Clients of this era say nothing by themselves."""

    async def listen(self, on_message: OnMessage, wanted: Mapping[str, Any] = NOTHING) -> None:
        """As `Session.listen`: `subscriptions/listen` with this filter."""

        async def heard(message: Message) -> Mapping[str, Any] | None:
            return await on_message(message)

        asked = self._enveloped({"notifications": dict(wanted)})
        reply = await self._call(LISTEN, asked, None, heard, NOTHING)
        failed = reply.error
        if failed is not None and failed.get("code") != jsonrpc.METHOD_NOT_FOUND:
            raise BadAnswer("the server refuses to be listened to")

    async def close(self) -> None:
        """There is nothing to end."""

    def _enveloped(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        given = dict(params or {})
        meta = given.get("_meta")
        given["_meta"] = {
            wire.CLIENT_CAPABILITIES: self._client.capabilities,
            wire.CLIENT_INFO: self._client.info,
            **(meta if type(meta) is dict else {}),
            wire.PROTOCOL_VERSION: self._verdict.version,
        }
        return given

    async def _call(
        self,
        method: str,
        params: Mapping[str, Any],
        id: jsonrpc.Id,
        on_message: OnMessage | None,
        headers: Mapping[str, str],
    ) -> Reply:
        number = next(self._ids) if id is None else id
        sent = {
            **{name: value for name, value in headers.items() if name.startswith(PARAM)},
            **request_headers(method, params, self._verdict.version),
            "Accept": BOTH,
            "Content-Type": JSON,
        }
        hearing = Hearing(on_message, _never)
        response = await self._leg.send("POST", sent, jsonrpc.call(number, method, params))
        try:
            if not is_stream(response):
                return await whole_reply(response, number)
            reply = await streamed_reply(response, number, Events(), hearing)
            if reply is None:
                raise Unreachable("the connection ended before the answer")
            return reply
        except (UpstreamError, asyncio.CancelledError):
            response.close()  # the server takes this as the request's cancellation
            raise
        finally:
            response.release()
            await hearing.close()


async def _never(answer: bytes) -> None:
    """Servers of this era ask nothing over the wire; one that does gets no answer."""
