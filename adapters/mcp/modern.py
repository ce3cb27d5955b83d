"""Requests of the modern era (2026-07-28): each says everything, and nothing is kept between two of them."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from adapters import jsonrpc
from adapters.mcp import answering, request, wire
from adapters.mcp.answering import Answer, Feed, Stream
from adapters.mcp.config import Authenticator, McpConfig
from adapters.mcp.errors import McpError
from adapters.mcp.exchange import Call, McpServer, Notification, Result, Wanted
from adapters.mcp.request import Incoming
from core.caller import Caller
from core.errors import Unavailable
from core.trace import told_by

_TTL_MS: Final = 60_000
"""How long lists may be kept where the server does not say."""


class Modern:
    """Answers requests to one server."""

    def __init__(self, server: McpServer, config: McpConfig, authenticator: Authenticator) -> None:
        self._server = server
        self._config = config
        self._authenticator = authenticator

    async def answer(self, incoming: Incoming, caller: Caller, held: ExitStack) -> ASGIApp:
        """The answer to a message.

        Raises:
            McpError, HubError: the refusal.
        """
        asked = incoming.request
        if asked is None:
            raise McpError(jsonrpc.INVALID_REQUEST, "Nothing was asked that this could answer.")
        if asked.notification:
            request.check_version(incoming.headers.get(wire.HEADER_VERSION, ""))
            return Response(status_code=202)
        envelope = request.envelope_of(incoming)
        call = Call(
            told_by(caller, incoming.params.get("_meta")),
            envelope.version,
            asked.id,
            asked.method,
            incoming.params,
            envelope.capabilities,
            held=held,
            headers=incoming.headers,
        )
        if asked.method == "server/discover":
            return Response(self._rendered(call, self._discovered(call)), media_type="application/json")
        if asked.method == "subscriptions/listen":
            return await self._listen(call)

        async def work(stream: Stream) -> bytes:
            call.notify, call.left = stream.notify, lambda: stream.left
            return self._rendered(call, await self._server.answer(call))

        return Answer(call.id, work, self._config, self._authenticator.ended, modern=True)

    def _discovered(self, call: Call) -> Result:
        return {
            "supportedVersions": [*wire.MODERN, *wire.HANDSHAKE],
            "capabilities": self._server.capabilities(call.version),
            "instructions": self._server.instructions,
        }

    async def _listen(self, call: Call) -> ASGIApp:
        wanted = self._server.wanted(call)
        call.held.enter_context(self._config.streams.taken_by(call.caller.principal_id))
        tag = {"_meta": {wire.SUBSCRIPTION_ID: call.id}}
        last = jsonrpc.result(call.id, {"resultType": "complete", **tag})

        async def wants() -> Wanted:
            return wanted

        def said(found: Notification) -> bytes:
            method, params = found
            tagged = {**params, "_meta": {**params.get("_meta", {}), **tag["_meta"]}}
            return answering.event(answering.notification(method, tagged))

        async def batches() -> AsyncGenerator[bytes, None]:
            feed = self._server.listen(call, wants)
            try:
                await anext(feed)  # what happens from here on is not missed
                yield said(("notifications/subscriptions/acknowledged", {"notifications": wanted.told()}))
                async for batch in feed:
                    yield b"".join(said(found) for found in batch)
            except Unavailable:
                return
            finally:
                await feed.aclose()

        return Feed(batches(), self._config, self._authenticator.ended, answering.event(last))

    def _rendered(self, call: Call, result: Result) -> bytes:
        kept: dict[str, Any] = {}
        if call.method in wire.CACHEABLE and result.get("resultType", "complete") == "complete":
            kept = {"ttlMs": 0 if call.method == "resources/read" else _TTL_MS, "cacheScope": "private"}
        meta = {wire.SERVER_INFO: self._server.info, **result.get("_meta", {})}
        return jsonrpc.result(call.id, {"resultType": "complete", **kept, **result, "_meta": meta})
