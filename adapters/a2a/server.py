"""The door of A2A: its routes, and how its paths tell the refusals of the middleware.

See `README.md` beside this file for the way of a call through this room.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from adapters.a2a import jsonrpc_binding, rest_binding
from adapters.a2a.agent import A2AConfig
from adapters.a2a.card import WELL_KNOWN, PublicEndpoint
from adapters.a2a.dispatch import Dispatcher
from adapters.a2a.errors import METHOD_NOT_FOUND, TASK_NOT_FOUND, A2AError, describe
from adapters.a2a.exposed import PREFIX, below_slug
from adapters.a2a.jsonrpc_binding import JsonRpcEndpoint
from adapters.a2a.operations import OPERATIONS
from adapters.a2a.request import Addressed, Authenticator, always
from adapters.a2a.rest_binding import RestEndpoint
from adapters.a2a.signing import KEY_SET
from core.platform import Platform

JSONRPC: Final = "/a2a"
REST: Final = "/a2a/v1"


def routes(platform: Platform, config: A2AConfig, authenticator: Authenticator) -> Sequence[BaseRoute]:
    """Cards and keys, JSON-RPC at `/a2a` and HTTP+JSON at `/a2a/v1`: of the hub as one agent, and of each
    exposed agent below its slug."""
    dispatcher = Dispatcher(platform, config, OPERATIONS)
    exposed, cards = dispatcher.exposed, dispatcher.cards

    async def hub(scope: Scope) -> Response:
        return await cards.of(config.hub, scope)

    async def one(scope: Scope) -> Response:
        return await cards.of(await exposed.named(scope["path_params"]["slug"]), scope)

    return [
        *_of_agents("", dispatcher, always(config.hub), hub, authenticator),
        *_of_agents(PREFIX + "{slug}", dispatcher, exposed.addressed, one, authenticator),
        Route(KEY_SET, PublicEndpoint(cards.key_set), methods=["GET"]),
    ]


def _of_agents(
    root: str,
    dispatcher: Dispatcher,
    addressed: Addressed,
    card: Callable[[Scope], Awaitable[Response]],
    authenticator: Authenticator,
) -> Sequence[BaseRoute]:
    rpc = JsonRpcEndpoint(dispatcher, addressed, authenticator)
    rest = RestEndpoint(dispatcher, addressed, authenticator)
    return [
        Route(root + JSONRPC, rpc),
        Route(root + JSONRPC + "/", rpc),
        *(Route(path, rest) for path in rest_binding.paths(root + REST)),
        Route(root + WELL_KNOWN, PublicEndpoint(card), methods=["GET"]),
    ]


def owns(path: str) -> bool:
    """Whether a path is A2A's, so that its refusals are told in A2A's form."""
    path = below_slug(path) or path
    return path in (JSONRPC, WELL_KNOWN, KEY_SET) or path.startswith(JSONRPC + "/")


def is_public(path: str) -> bool:
    """Whether anybody may read there: the cards, and the keys that sign them."""
    return (below_slug(path) or path) == WELL_KNOWN or path == KEY_SET


def render_error(scope: Scope, error: Exception) -> Response:
    """A refusal that was made before a binding saw the request, in the form of the path's binding."""
    told = describe(error)
    if told.kind is TASK_NOT_FOUND:  # of a path: no operation was asked about a task yet
        told = A2AError(METHOD_NOT_FOUND, "No such resource.")
    path = below_slug(scope["path"]) or scope["path"]
    if path in (JSONRPC, JSONRPC + "/"):
        return jsonrpc_binding.render(told)
    return rest_binding.render(told, scope)
