"""The door of ACP: `/acp`, over WebSocket and over Streamable HTTP, and how its refusals are told."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Scope

from adapters import jsonrpc
from adapters.acp.config import ACPConfig, Authenticator
from adapters.acp.errors import describe
from adapters.acp.streamable import HttpEndpoint
from adapters.acp.websocket import WebSocketEndpoint
from core.errors import HubError
from core.platform import Platform
from schemas.errors import MEANINGS

PATH: Final = "/acp"


def routes(platform: Platform, config: ACPConfig, authenticator: Authenticator) -> Sequence[BaseRoute]:
    """Both transports, at one path."""
    over_http = HttpEndpoint(platform, config, authenticator)
    over_websocket = WebSocketEndpoint(platform, config, authenticator)
    return [Route(PATH, over_http), WebSocketRoute(PATH, over_websocket)]


def owns(path: str) -> bool:
    """Whether a path is ACP's, so that its refusals are told in its form."""
    return path == PATH


def render_error(scope: Scope, error: Exception) -> Response:
    """A refusal that was made before a transport saw the request."""
    told = describe(error)
    status = MEANINGS[error.code].http if isinstance(error, HubError) else 500
    return Response(
        jsonrpc.error(None, told.code, told.message, told.data), status, media_type="application/json"
    )
