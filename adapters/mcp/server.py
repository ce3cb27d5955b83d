"""The door of MCP: its routes, its metadata as a protected resource, and how its paths tell refusals."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from adapters.mcp import answering, errors, wire
from adapters.mcp.config import Authenticator, McpConfig
from adapters.mcp.errors import McpError, describe
from adapters.mcp.exchange import McpServer
from adapters.mcp.front import Front
from adapters.mcp.gateway import Gateway
from adapters.mcp.own_server import HubServer
from adapters.mcp.upstream.target import NO_CREDENTIALS, Credentials
from adapters.outbound import Outbound
from core.caller import Caller
from core.platform import Platform

ROOT: Final = "/mcp"
OWN: Final = "/mcp/crossdock"
_METADATA: Final = "/.well-known/oauth-protected-resource"
_PATHS: Final = (ROOT, OWN)
_CARD: Final = "/.well-known/mcp/server-card.json"
_RESOURCES: Final = (_METADATA, _METADATA + ROOT, _METADATA + ROOT + "/{server}")
_SERVER: Final = re.compile(ROOT + r"/[A-Za-z0-9._~-]{1,128}")


def routes(
    platform: Platform, config: McpConfig, authenticator: Authenticator, gateway: Gateway | None = None
) -> Sequence[BaseRoute]:
    """The hub's own MCP server, others through the gateway, and the metadata that tells how to authenticate.

    Without a gateway there is the hub's own server alone, at both of its addresses.
    """
    serves = OwnAlone(HubServer(platform, config)) if gateway is None else gateway
    front = Front(serves, platform, config, authenticator)
    return [
        *(Route(path, front) for path in _PATHS),
        *([] if gateway is None else [Route(ROOT + "/{server}", front)]),
        *(Route(path, _metadata(config), methods=["GET"]) for path in _RESOURCES),
        Route(_CARD, _card(config), methods=["GET"]),
    ]


class OwnAlone:
    """The hub's own server, for everybody but those who come with the token of a task."""

    def __init__(self, own: McpServer) -> None:
        self._own = own

    async def __call__(self, path: str, caller: Caller, query: str = "") -> McpServer:
        """The hub's own server.

        Raises:
            McpError: it is not the caller's to use.
        """
        if caller.task_id is not None:
            raise McpError(errors.NO_SUCH_SERVER, "No such MCP server, or not yours to use.")
        return self._own


def gateway_of(
    platform: Platform,
    config: McpConfig,
    outbound: Outbound,
    *,
    credentials: Credentials = NO_CREDENTIALS,
    presence: Callable[[UUID], None] = lambda agent_id: None,
    alone: bool = False,
) -> Gateway:
    """The gateway, with the hub's own server in it. It is started and stopped like a job."""
    own = HubServer(platform, config)
    return Gateway(platform, config, outbound, own, credentials=credentials, presence=presence, alone=alone)


def is_public(path: str) -> bool:
    """Whether a path is answered without a credential. The answer does not tell which servers there are."""
    return path in (_CARD, _METADATA) or (
        path.startswith(_METADATA) and _is_resource(path.removeprefix(_METADATA))
    )


def owns(path: str) -> bool:
    """Whether a path is MCP's, so that its refusals are told in MCP's form."""
    return path == ROOT or path.startswith(ROOT + "/")


def render_error(config: McpConfig) -> Any:
    """How this face tells a refusal that was made before an endpoint saw the request."""

    def render(scope: Scope, error: Exception) -> Response:
        told = describe(error)
        if told.data is not None and told.data.get("code") == "NOT_FOUND":  # of a path
            told = McpError(errors.NO_SUCH_SERVER, "No such MCP server, or not yours to use.")
        if told.code in (errors.UNAUTHENTICATED, errors.FORBIDDEN):
            presented = any(name == b"authorization" for name, _ in scope["headers"])
            told.headers["WWW-Authenticate"] = challenge(config, scope["path"], told, presented=presented)
        return answering.refusal(told)

    return render


def challenge(config: McpConfig, path: str, told: McpError, *, presented: bool = False) -> str:
    """The `WWW-Authenticate` of a refusal (RFC 6750 §3, RFC 9728 §5.1), with all that is needed."""
    metadata = _METADATA + (path if _is_resource(path) else ROOT)
    said = f'Bearer realm="crossdock", resource_metadata="{config.public_url}{metadata}"'
    if config.issuers:
        said += f', scope="{config.scope}"'
    if told.code == errors.FORBIDDEN:
        return f'{said}, error="insufficient_scope"'
    return f'{said}, error="invalid_token"' if presented else said


def _is_resource(path: str) -> bool:
    return path == ROOT or _SERVER.fullmatch(path) is not None


def _metadata(config: McpConfig) -> Any:
    async def metadata(request: Request) -> Response:
        path = request.scope["path"].removeprefix(_METADATA) or ROOT
        said: dict[str, Any] = {
            "resource": config.public_url + path,
            "bearer_methods_supported": ["header"],
            "resource_name": "Crossdock",
            "resource_documentation": config.public_url + "/docs",
        }
        if config.issuers:
            said["authorization_servers"] = list(config.issuers)
            said["scopes_supported"] = [config.scope]
        return JSONResponse(said, headers={"Cache-Control": "public, max-age=300"})

    return metadata


def _card(config: McpConfig) -> Any:
    """Where the hub's servers are and what they speak, for whoever has not connected yet (SEP-2127, a draft).
    It says nothing of what is granted to whom."""

    async def card(request: Request) -> Response:
        versions = [*wire.MODERN, *wire.HANDSHAKE]
        said = {
            "name": "crossdock",
            "title": "Crossdock",
            "description": "A durable task hub, and a gateway to the MCP servers that it grants.",
            "version": config.version,
            "websiteUrl": config.public_url,
            "remotes": [
                {
                    "type": "streamable-http",
                    "url": config.public_url + path,
                    "supportedProtocolVersions": versions,
                }
                for path in _PATHS
            ],
        }
        return JSONResponse(said, headers={"Cache-Control": "public, max-age=300"})

    return card
