"""One endpoint, both eras: requests that say everything (2026-07-28), and sessions that shook hands.

What belongs to the transport is here: which era a request is of, its envelope or its session, streams and
cancellation. What methods mean is the server's (`exchange.McpServer`). Nothing of a session is kept in memory
but the requests that are running.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters import jsonrpc
from adapters.mcp import answering, errors, request, wire
from adapters.mcp.answering import Answer, Feed
from adapters.mcp.config import Authenticator, McpConfig
from adapters.mcp.errors import McpError, describe, invalid
from adapters.mcp.exchange import Call, McpServer, Notification, Wanted
from adapters.mcp.request import ClientGone, Incoming, Refused
from core import mcp_sessions
from core.caller import Caller
from core.errors import NotFound, Unavailable
from core.mcp_sessions import McpSession, OpenSession, SessionOf, Subscribe
from core.platform import Platform

_JSON, _SSE = "application/json", "text/event-stream"
_TTL_MS: Final = 60_000
"""How long lists may be kept where the server does not say."""
_OLDEST_OF_HEADER: Final = "2025-03-26"
"""What a request without a version header speaks, once a session is there."""


class Front:
    """Serves one `McpServer` at one path."""

    def __init__(
        self, server: McpServer, platform: Platform, config: McpConfig, authenticator: Authenticator
    ) -> None:
        self._server = server
        self._platform = platform
        self._config = config
        self._authenticator = authenticator
        self._running: dict[tuple[str, jsonrpc.Id], asyncio.Future[bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        with ExitStack() as held:
            answer: ASGIApp
            try:
                answer = await self._answer(scope, receive, held)
            except ClientGone:
                answer = Response(status_code=499)
            except Refused as refused:
                answer = answering.refusal(refused.error, refused.id, modern=refused.modern)
            except Exception as error:
                answer = answering.refusal(describe(error))
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, held: ExitStack) -> ASGIApp:
        caller = await self._authenticator.identify(scope, request.FACE)
        if caller.task_id is not None and not self._server.serves_tasks:
            raise McpError(errors.NO_SUCH_SERVER, "No such MCP server, or not yours to use.")
        headers = request.headers_of(scope)
        if scope["method"] != "POST":
            return await self._without_body(scope, caller, headers, held)
        request.check_accept(headers, _JSON, _SSE)
        request.check_json(headers)
        incoming = request.read(await request.body_of(receive, self._config.max_body_bytes), headers)
        asked = incoming.request
        id = None if asked is None or asked.notification else asked.id
        try:
            if incoming.modern:
                return await self._modern(incoming, caller, held)
            return await self._legacy(incoming, caller, held)
        except Exception as error:
            raise Refused(describe(error), id, modern=incoming.modern) from None

    # The modern era

    async def _modern(self, incoming: Incoming, caller: Caller, held: ExitStack) -> ASGIApp:
        asked = incoming.request
        if asked is None:
            raise McpError(jsonrpc.INVALID_REQUEST, "Nothing was asked that this could answer.")
        if asked.notification:
            request.check_version(incoming.headers.get(wire.HEADER_VERSION, ""))
            return Response(status_code=202)
        envelope = request.envelope_of(incoming)
        client = envelope.capabilities
        call = Call(caller, envelope.version, asked.id, asked.method, incoming.params, client, held=held)
        if asked.method == "server/discover":
            return self._whole(call, self._discovered(call))
        if asked.method == "subscriptions/listen":
            return await self._listen(call)
        return self._run(call)

    def _discovered(self, call: Call) -> dict[str, Any]:
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
            return answering.event(answering.notification(method, {**params, **tag}))

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

    # The era of sessions

    async def _legacy(self, incoming: Incoming, caller: Caller, held: ExitStack) -> ASGIApp:
        asked = incoming.request
        if asked is not None and asked.method == "initialize" and not asked.notification:
            return await self._initialize(asked, caller)
        session_id, session = await self._session(incoming.headers, caller)
        version = incoming.headers.get(wire.HEADER_VERSION)
        if version is not None and version not in wire.HANDSHAKE:
            raise McpError(jsonrpc.INVALID_REQUEST, f"MCP-Protocol-Version {version[:40]!r} is not known.")
        if asked is None:
            return Response(status_code=202)
        if asked.notification:
            if asked.method == "notifications/cancelled":
                self._cancel(session, incoming.params)
            return Response(status_code=202)
        call = Call(
            caller,
            session.protocol_version,
            asked.id,
            asked.method,
            incoming.params,
            session.capabilities,
            held=held,
        )
        if asked.method == "ping":
            return self._whole(call, {})
        if asked.method in ("resources/subscribe", "resources/unsubscribe"):
            await self._subscribe(call, session_id)
            return self._whole(call, {})
        return self._run(call, session)

    async def _initialize(self, asked: jsonrpc.Request, caller: Caller) -> ASGIApp:
        params = asked.params or {}
        wanted, said = params.get("protocolVersion"), params.get("capabilities")
        client = params.get("clientInfo")
        if type(wanted) is not str or type(said) is not dict or type(client) is not dict:
            raise invalid("initialize needs protocolVersion, capabilities and clientInfo.")
        version = wanted if wanted in wire.HANDSHAKE else wire.HANDSHAKE[0]
        session_id = mcp_sessions.new_session_id()
        command = OpenSession(session_id, self._server.name, version, client, said)
        await self._platform.write(caller, mcp_sessions.open_session, command)
        result = {
            "protocolVersion": version,
            "capabilities": self._server.capabilities(version),
            "serverInfo": dict(self._server.info),
            "instructions": self._server.instructions,
        }
        body = jsonrpc.result(asked.id, result)
        return Response(body, headers={"Mcp-Session-Id": session_id}, media_type=_JSON)

    async def _session(self, headers: Mapping[bytes, str], caller: Caller) -> tuple[str, McpSession]:
        session_id = headers.get(wire.HEADER_SESSION)
        if not session_id:
            message = "Mcp-Session-Id is missing: begin with initialize."
            raise McpError(jsonrpc.INVALID_REQUEST, message, http=400)
        which = SessionOf(session_id, self._server.name)
        try:
            session = await self._platform.read(caller, mcp_sessions.find_session, which)
        except NotFound:
            raise McpError(errors.SESSION_NOT_FOUND, "No such session: initialize again.") from None
        if self._platform.now() - session.last_used_at >= mcp_sessions.NOTED_EVERY:
            await self._platform.write(caller, mcp_sessions.use_session, which)
        return session_id, session

    async def _subscribe(self, call: Call, session_id: str) -> None:
        uri = call.params.get("uri")
        if type(uri) is not str:
            raise invalid("uri must be a string.")
        wanted = call.method == "resources/subscribe"
        if wanted:
            await self._server.subscribable(call, uri)
        command = Subscribe(session_id, self._server.name, uri, wanted)
        await self._platform.write(call.caller, mcp_sessions.subscribe, command)

    def _cancel(self, session: McpSession, params: Mapping[str, Any]) -> None:
        running = self._running.get((session.key, params.get("requestId")))
        if running is not None:
            running.cancel()

    async def _without_body(
        self, scope: Scope, caller: Caller, headers: Mapping[bytes, str], held: ExitStack
    ) -> ASGIApp:
        legacy = headers.get(wire.HEADER_VERSION, _OLDEST_OF_HEADER) in wire.HANDSHAKE
        if scope["method"] not in ("GET", "DELETE") or not legacy or wire.HEADER_SESSION not in headers:
            raise McpError(errors.METHOD_NOT_ALLOWED, "Messages are sent by POST.", headers={"Allow": "POST"})
        if scope["method"] == "GET":
            request.check_accept(headers, _SSE)
        session_id, session = await self._session(headers, caller)
        which = SessionOf(session_id, self._server.name)
        if scope["method"] == "DELETE":
            await self._platform.write(caller, mcp_sessions.close_session, which)
            return Response(status_code=204)
        held.enter_context(self._config.streams.taken_by(caller.principal_id))
        call = Call(caller, session.protocol_version, None, "", {}, session.capabilities, held=held)
        return Feed(self._news_of(call, which), self._config, self._authenticator.ended)

    async def _news_of(self, call: Call, which: SessionOf) -> AsyncGenerator[bytes, None]:
        """What a session's own stream tells, for as long as there is a session."""

        async def wants() -> Wanted:
            session = await self._platform.read(call.caller, mcp_sessions.find_session, which)
            return Wanted(frozenset(session.subscriptions))

        feed = self._server.listen(call, wants)
        try:
            async for batch in feed:
                # A stream that is listened to keeps its session in use.
                session = await self._platform.read(call.caller, mcp_sessions.find_session, which)
                if self._platform.now() - session.last_used_at >= mcp_sessions.NOTED_EVERY:
                    await self._platform.write(call.caller, mcp_sessions.use_session, which)
                yield b"".join(answering.event(answering.notification(*found)) for found in batch)
        except (NotFound, Unavailable):
            return
        finally:
            await feed.aclose()

    # Both

    def _run(self, call: Call, session: McpSession | None = None) -> ASGIApp:
        async def work(notify: Any) -> bytes:
            call.notify = notify
            key = None if session is None else (session.key, call.id)
            current = asyncio.current_task()
            if key is not None and current is not None:
                self._running[key] = current
            try:
                return self._rendered(call, await self._server.answer(call))
            finally:
                if key is not None:
                    self._running.pop(key, None)

        return Answer(call.id, work, self._config, self._authenticator.ended, modern=call.modern)

    def _whole(self, call: Call, result: dict[str, Any]) -> Response:
        return Response(self._rendered(call, result), media_type=_JSON)

    def _rendered(self, call: Call, result: dict[str, Any]) -> bytes:
        if call.modern:
            kept: dict[str, Any] = {}
            if call.method in wire.CACHEABLE:
                kept = {"ttlMs": 0 if call.method == "resources/read" else _TTL_MS, "cacheScope": "private"}
            meta = {wire.SERVER_INFO: self._server.info, **result.get("_meta", {})}
            result = {"resultType": "complete", **kept, **result, "_meta": meta}
        return jsonrpc.result(call.id, result)
