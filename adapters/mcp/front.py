"""One endpoint, both eras: requests that say everything (2026-07-28), and sessions that shook hands.

Who calls, what stands behind the path for it, and which era a request is of are found out here; then
`modern.py` or `session.py` takes it. What methods mean is the server's (`exchange.McpServer`). Nothing of a
session is kept in memory but the requests that are running.
"""

from contextlib import ExitStack
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.mcp import answering, request
from adapters.mcp.config import Authenticator, McpConfig
from adapters.mcp.errors import describe
from adapters.mcp.exchange import McpServer, Serves
from adapters.mcp.modern import Modern
from adapters.mcp.request import ClientGone, Refused
from adapters.mcp.session import Running, Sessions
from core.caller import Caller
from core.platform import Platform

_JSON: Final = "application/json"
_SSE: Final = "text/event-stream"


class Front:
    """Serves what `serves` finds at a path."""

    def __init__(
        self, serves: Serves, platform: Platform, config: McpConfig, authenticator: Authenticator
    ) -> None:
        self._serves = serves
        self._platform = platform
        self._config = config
        self._authenticator = authenticator
        self._running = Running()

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
        headers = request.headers_of(scope)
        query = scope.get("query_string", b"").decode("latin-1")
        if scope["method"] != "POST":
            server = await self._serves(scope["path"], caller, query)
            return await self._sessions(server, caller, held).without_body(scope["method"], headers)
        request.check_accept(headers, _JSON, _SSE)
        request.check_json(headers)
        incoming = request.read(await request.body_of(receive, self._config.max_body_bytes), headers)
        asked = incoming.request
        id = None if asked is None or asked.notification else asked.id
        try:
            server = await self._serves(scope["path"], caller, query)
            if incoming.modern:
                return await Modern(server, self._config, self._authenticator).answer(incoming, caller, held)
            return await self._sessions(server, caller, held).answer(incoming)
        except Exception as error:
            raise Refused(describe(error), id, modern=incoming.modern) from None

    def _sessions(self, server: McpServer, caller: Caller, held: ExitStack) -> Sessions:
        return Sessions(
            server, self._platform, self._config, self._authenticator, self._running, caller, held
        )
