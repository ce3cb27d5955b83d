"""The era of sessions (up to 2025-11-25): what begins with `initialize`, its requests, and its own stream."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from adapters import jsonrpc
from adapters.mcp import answering, errors, request, wire
from adapters.mcp.answering import Answer, Feed, Stream
from adapters.mcp.config import Authenticator, McpConfig
from adapters.mcp.errors import McpError, invalid
from adapters.mcp.exchange import Ask, Call, McpServer, Wanted
from adapters.mcp.request import Incoming
from core import mcp_sessions
from core.caller import Caller
from core.errors import NotFound, Unavailable
from core.mcp_sessions import McpSession, OpenSession, SessionOf, SetLevel, Subscribe
from core.platform import Platform
from core.trace import told_by

_JSON, _SSE = "application/json", "text/event-stream"
_OLDEST_OF_HEADER: Final = "2025-03-26"
"""What a request without a version header speaks, once a session is there."""
_LISTS: Final = frozenset({"tools", "prompts", "resources"})


class Running:
    """Requests that run in this process: those of sessions, which may be cancelled, and those to clients."""

    def __init__(self) -> None:
        self.works: dict[tuple[str, jsonrpc.Id], asyncio.Future[bytes]] = {}
        self.asked: dict[tuple[str, jsonrpc.Id], asyncio.Future[Mapping[str, Any]]] = {}

    def asker(self, session: McpSession, stream: Stream) -> Ask:
        """Asks the client of a session, on the stream of one of its requests."""

        async def ask(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
            id = f"hub-{secrets.token_hex(8)}"
            future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
            self.asked[session.key, id] = future
            try:
                stream.send(jsonrpc.call(id, method, params))
                return await future
            except asyncio.CancelledError:
                stream.notify("notifications/cancelled", {"requestId": id, "reason": "no longer wanted"})
                raise
            finally:
                self.asked.pop((session.key, id), None)

        return ask

    def answered(self, session: McpSession, said: Mapping[str, Any]) -> None:
        """Take the client's answer to whoever waits for it; an answer that nobody waits for is dropped."""
        future = self.asked.get((session.key, said.get("id")))
        if future is None or future.done():
            return
        result, error = said.get("result"), said.get("error")
        if type(result) is dict:
            future.set_result(result)
            return
        failed = error if type(error) is dict else {}
        code = failed.get("code")
        told = McpError(
            code if type(code) is int else jsonrpc.INTERNAL_ERROR,
            str(failed.get("message", "The client has not answered as the protocol asks.")),
            failed.get("data"),
        )
        future.set_exception(told)

    def cancel(self, session: McpSession, params: Mapping[str, Any]) -> None:
        """Stop a request of the session, if it still runs here."""
        work = self.works.get((session.key, params.get("requestId")))
        if work is not None:
            work.cancel()


class Sessions:
    """Answers the messages of one caller to one server."""

    def __init__(
        self,
        server: McpServer,
        platform: Platform,
        config: McpConfig,
        authenticator: Authenticator,
        running: Running,
        caller: Caller,
        held: ExitStack,
    ) -> None:
        self._server = server
        self._platform = platform
        self._config = config
        self._authenticator = authenticator
        self._running = running
        self._caller = caller
        self._held = held

    async def answer(self, incoming: Incoming) -> ASGIApp:
        """The answer to a message.

        Raises:
            McpError, HubError: the refusal.
        """
        asked = incoming.request
        if asked is not None and asked.method == "initialize" and not asked.notification:
            return await self._initialize(asked)
        session_id, session = await self._session(incoming.headers)
        version = incoming.headers.get(wire.HEADER_VERSION)
        if version is not None and version not in wire.HANDSHAKE:
            raise McpError(jsonrpc.INVALID_REQUEST, f"MCP-Protocol-Version {version[:40]!r} is not known.")
        if asked is None:
            self._running.answered(session, incoming.answer)
            return Response(status_code=202)
        if asked.notification:
            if asked.method == "notifications/cancelled":
                self._running.cancel(session, incoming.params)
            return Response(status_code=202)
        call = self._call(asked.id, asked.method, incoming.params, session)
        if asked.method == "ping":
            return self._whole(call, {})
        if asked.method in ("resources/subscribe", "resources/unsubscribe"):
            await self._subscribe(call, session_id)
            return self._whole(call, {})
        if asked.method == "logging/setLevel":
            result = await self._server.answer(call)
            command = SetLevel(session_id, self._server.name, str(call.params.get("level")))
            await self._platform.write(self._caller, mcp_sessions.set_level, command)
            return self._whole(call, result)
        return self._run(call, session)

    async def without_body(self, method: str, headers: Mapping[bytes, str]) -> ASGIApp:
        """The answer to GET, which opens a session's own stream, and to DELETE, which ends it.

        Raises:
            McpError, HubError: the refusal.
        """
        legacy = headers.get(wire.HEADER_VERSION, _OLDEST_OF_HEADER) in wire.HANDSHAKE
        if method not in ("GET", "DELETE") or not legacy or wire.HEADER_SESSION not in headers:
            raise McpError(errors.METHOD_NOT_ALLOWED, "Messages are sent by POST.", headers={"Allow": "POST"})
        if method == "GET":
            request.check_accept(headers, _SSE)
        session_id, session = await self._session(headers)
        which = SessionOf(session_id, self._server.name)
        if method == "DELETE":
            await self._platform.write(self._caller, mcp_sessions.close_session, which)
            return Response(status_code=204)
        self._held.enter_context(self._config.streams.taken_by(self._caller.principal_id))
        call = self._call(None, "", {}, session)
        return Feed(self._news_of(call, which), self._config, self._authenticator.ended)

    def _call(self, id: jsonrpc.Id, method: str, params: Mapping[str, Any], session: McpSession) -> Call:
        settings = {} if session.log_level is None else {"logLevel": session.log_level}
        return Call(
            told_by(self._caller, params.get("_meta")),
            session.protocol_version,
            id,
            method,
            params,
            session.capabilities,
            held=self._held,
            session=session.key,
            settings=settings,
        )

    async def _initialize(self, asked: jsonrpc.Request) -> ASGIApp:
        params = asked.params or {}
        wanted, said = params.get("protocolVersion"), params.get("capabilities")
        client = params.get("clientInfo")
        if type(wanted) is not str or type(said) is not dict or type(client) is not dict:
            raise invalid("initialize needs protocolVersion, capabilities and clientInfo.")
        version = wanted if wanted in wire.HANDSHAKE else wire.HANDSHAKE[0]
        session_id = mcp_sessions.new_session_id()
        command = OpenSession(session_id, self._server.name, version, client, said)
        await self._platform.write(self._caller, mcp_sessions.open_session, command)
        result = {
            "protocolVersion": version,
            "capabilities": self._server.capabilities(version),
            "serverInfo": dict(self._server.info),
            "instructions": self._server.instructions,
        }
        body = jsonrpc.result(asked.id, result)
        return Response(body, headers={"Mcp-Session-Id": session_id}, media_type=_JSON)

    async def _session(self, headers: Mapping[bytes, str]) -> tuple[str, McpSession]:
        session_id = headers.get(wire.HEADER_SESSION)
        if not session_id:
            message = "Mcp-Session-Id is missing: begin with initialize."
            raise McpError(jsonrpc.INVALID_REQUEST, message, http=400)
        which = SessionOf(session_id, self._server.name)
        try:
            session = await self._platform.read(self._caller, mcp_sessions.find_session, which)
        except NotFound:
            raise McpError(errors.SESSION_NOT_FOUND, "No such session: initialize again.") from None
        if self._platform.now() - session.last_used_at >= mcp_sessions.NOTED_EVERY:
            await self._platform.write(self._caller, mcp_sessions.use_session, which)
        return session_id, session

    async def _subscribe(self, call: Call, session_id: str) -> None:
        uri = call.params.get("uri")
        if type(uri) is not str:
            raise invalid("uri must be a string.")
        wanted = call.method == "resources/subscribe"
        await self._server.subscribable(call, uri, wanted=wanted)
        command = Subscribe(session_id, self._server.name, uri, wanted)
        await self._platform.write(self._caller, mcp_sessions.subscribe, command)

    async def _news_of(self, call: Call, which: SessionOf) -> AsyncGenerator[bytes, None]:
        """What a session's own stream tells, for as long as there is a session."""

        async def wants() -> Wanted:
            session = await self._platform.read(call.caller, mcp_sessions.find_session, which)
            return Wanted(frozenset(session.subscriptions), lists=_LISTS)

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

    def _run(self, call: Call, session: McpSession) -> ASGIApp:
        async def work(stream: Stream) -> bytes:
            call.notify, call.left = stream.notify, lambda: stream.left
            call.ask = self._running.asker(session, stream)
            key, current = (session.key, call.id), asyncio.current_task()
            if current is not None:
                self._running.works[key] = current
            try:
                return jsonrpc.result(call.id, await self._server.answer(call))
            finally:
                self._running.works.pop(key, None)

        return Answer(
            call.id,
            work,
            self._config,
            self._authenticator.ended,
            modern=False,
            finishes=self._server.finishes,
        )

    def _whole(self, call: Call, result: dict[str, Any]) -> Response:
        return Response(jsonrpc.result(call.id, result), media_type=_JSON)
