"""The door of A2A: its routes, and how its paths tell the refusals of the middleware.

See `README.md` beside this file for the way of a call through this room.
"""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from adapters.a2a import jsonrpc_binding, rest_binding
from adapters.a2a.agent import A2AConfig
from adapters.a2a.card import WELL_KNOWN, CardEndpoint, card_of
from adapters.a2a.dispatch import Dispatcher
from adapters.a2a.errors import METHOD_NOT_FOUND, TASK_NOT_FOUND, A2AError, describe
from adapters.a2a.jsonrpc_binding import JsonRpcEndpoint
from adapters.a2a.operations import OPERATIONS
from adapters.a2a.request import Authenticator
from adapters.a2a.rest_binding import RestEndpoint
from adapters.a2a.v03.card import with_legacy
from core.platform import Platform

JSONRPC: Final = "/a2a"
REST: Final = "/a2a/v1"


def routes(platform: Platform, config: A2AConfig, authenticator: Authenticator) -> Sequence[BaseRoute]:
    """The card, JSON-RPC at `/a2a` and HTTP+JSON at `/a2a/v1`, for the hub as one agent."""
    dispatcher = Dispatcher(platform, config, OPERATIONS)
    rpc = JsonRpcEndpoint(dispatcher, config.hub, authenticator)
    rest = RestEndpoint(dispatcher, config.hub, authenticator, root=REST)
    card = CardEndpoint.of(with_legacy(card_of(config.hub, config)))
    return [
        Route(JSONRPC, rpc),
        Route(JSONRPC + "/", rpc),
        *(Route(path, rest) for path in rest_binding.paths(REST)),
        Route(WELL_KNOWN, card, methods=["GET"]),
    ]


def owns(path: str) -> bool:
    """Whether a path is A2A's, so that its refusals are told in A2A's form."""
    return path in (JSONRPC, WELL_KNOWN) or path.startswith(JSONRPC + "/")


def render_error(scope: Scope, error: Exception) -> Response:
    """A refusal that was made before a binding saw the request, in the form of the path's binding."""
    told = describe(error)
    if told.kind is TASK_NOT_FOUND:  # of a path: no operation was asked about a task yet
        told = A2AError(METHOD_NOT_FOUND, "No such resource.")
    if scope["path"] in (JSONRPC, JSONRPC + "/"):
        return jsonrpc_binding.render(told)
    return rest_binding.render(told, scope)
