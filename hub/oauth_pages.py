"""The public addresses of the hub as an OAuth client: its metadata document, and where browsers come back.

The page after consent says what came of it in words of its own: nothing of the request is shown.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from adapters.mcp.oauth import OAuthEngine
from core.errors import HubError
from core.mcp_oauth.flows import Received
from schemas.oauth import FlowState

CLIENT_DOCUMENT: Final = "/.well-known/oauth/mcp-client.json"
CALLBACK: Final = "/api/v1/oauth/callback"
PATHS: Final = frozenset({CLIENT_DOCUMENT, CALLBACK})
_MOST: Final = 4096
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}
_PAGE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Crossdock</title>"
    "<style>body{{font:1rem/1.5 system-ui;margin:4rem auto;max-width:30rem;padding:0 1rem}}</style>"
    "<h1>{title}</h1><p>{said}</p></html>"
)


def routes(engine: OAuthEngine) -> list[BaseRoute]:
    """Both."""
    return [Route(CLIENT_DOCUMENT, _Document(engine)), Route(CALLBACK, _Callback(engine))]


class _Document:
    """The client metadata document."""

    def __init__(self, engine: OAuthEngine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _only_get(scope)
        if answer is None:
            headers = {"Cache-Control": "public, max-age=3600"}
            answer = JSONResponse(self._engine.identity.document(), headers=headers)
        await answer(scope, receive, send)


class _Callback:
    """Takes what an authorization server sends with the browser."""

    def __init__(self, engine: OAuthEngine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _only_get(scope) or await self._taken(Request(scope))
        await answer(scope, receive, send)

    async def _taken(self, request: Request) -> Response:
        told = request.query_params
        once = {name: told[name] for name in told if len(told.getlist(name)) == 1}
        state = once.get("state")
        if not state or any(len(value) > _MOST for value in once.values()):
            return _page(400, "Nothing to take", "This address is for what comes back from a consent page.")
        answer = Received(state, once.get("code"), once.get("error"), once.get("iss"))
        try:
            flow = await self._engine.receive(answer)
        except HubError:
            return _page(400, "Too late", "This consent was used already, or took too long. Begin again.")
        if flow.state is FlowState.EXCHANGING:  # the token endpoint is away; it is asked again
            return _page(
                200, "Almost", "The hub goes on by itself, and tells how it ended. You can close this."
            )
        if flow.state is FlowState.COMPLETED:
            return _page(200, "Authorized", "The hub may use the MCP server now. You can close this window.")
        return _page(400, "Not authorized", "The hub has not been let in. What happened is told there.")


def _only_get(scope: Scope) -> Response | None:
    if scope["method"] in ("GET", "HEAD"):
        return None
    return Response(status_code=405, headers={"Allow": "GET"})


def _page(status: int, title: str, said: str) -> Response:
    return HTMLResponse(_PAGE.format(title=title, said=said), status, _HEADERS)
