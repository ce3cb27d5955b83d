"""The ASGI app of `/api/v1`: finds the route, checks the scope, reads the request, calls the handler.

It decides nothing about tasks. What it refuses it raises; `hub/middleware.py` renders.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final
from uuid import UUID

from starlette.types import Receive, Scope, Send

from core.caller import Caller
from core.errors import Forbidden, NotFound
from hub.answers import JSON, MethodNotAllowed, enveloped, request_id_of, send_answer
from hub.api import reading
from hub.api.call import Answer, Call, Disconnected, Reply, Shared
from hub.api.routing import MIB, PREFIX, Route, RouteTree
from hub.metrics import ROUTE
from schemas import vocabulary

Authenticate = Callable[[Scope], Awaitable[Caller]]
"""Who calls; raises `Unauthenticated`."""

NOBODY: Final = Caller(UUID(int=2**128 - 1), UUID(int=0), vocabulary.Scope.AGENT, "nobody", None)
"""The caller of a public route: no principal, of no tenant, with the least scope."""
UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_REPLAYED: Final = (b"idempotency-replayed", b"true")
_START: Final = len(PREFIX) + 1


class Api:
    """Serves the routes of a table. It holds no state but the table."""

    def __init__(self, shared: Shared, routes: Iterable[Route], authenticate: Authenticate) -> None:
        self._shared = shared
        routes = tuple(routes)
        self._tree = RouteTree(routes)
        self._public = frozenset((r.method, r.url_path) for r in routes if r.scope is None)
        self._public_below = tuple({p.split("{")[0] for _, p in self._public if "{" in p})
        self._rationed = frozenset((r.method, r.url_path) for r in routes if r.rationed)
        self._authenticate = authenticate

    def is_public(self, method: str, path: str) -> bool:
        """Whether no credential is asked for here."""
        if (_plain(method), path) in self._public:
            return True
        if not path.startswith(self._public_below):
            return False
        found = self._tree.find(path[_START:])
        route = None if found is None else found[0].get(_plain(method))
        return route is not None and route.scope is None

    def is_rationed(self, method: str, path: str) -> bool:
        """Whether calls of this kind are few by nature."""
        return (method, path) in self._rationed

    def is_upload(self, path: str) -> bool:
        """Whether a body on this path may be a large file, which takes its time."""
        if not path.startswith(PREFIX):
            return False
        found = self._tree.find(path[_START:])
        return found is not None and any(route.raw for route in found[0].values())

    def body_limit(self, path: str) -> int:
        """How many bytes a body on this path may have."""
        found = self._tree.find(path[_START:])
        return max((route.max_bytes for route in found[0].values()), default=MIB) if found else MIB

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            HubError: the refusal, to be rendered.
        """
        found = self._tree.find(scope["path"][_START:])
        if found is None:
            raise NotFound("no such route")
        methods, texts = found
        route = methods.get(_plain(scope["method"]))
        if route is None or (route.stream and scope["method"] == "HEAD"):
            raise MethodNotAllowed(scope["method"], methods)
        scope["state"][ROUTE] = route.url_path
        caller = await self._caller(route, scope)
        ids, free = reading.path_parameters(route, texts)
        call = Call(scope, receive, self._shared, caller, ids, free)
        try:
            answer = await self._handle(route, call, scope, receive)
        except Disconnected:
            return
        if not isinstance(answer, Reply):
            await answer(scope, receive, send)
            return
        status, headers = answer.status or route.status, answer.headers
        if call.replayed:
            headers.append(_REPLAYED)
        if status == 204:
            await send_answer(send, status, headers, b"")
            return
        headers.append(JSON)
        await send_answer(send, status, headers, enveloped(answer.data, request_id_of(scope), answer.meta))

    async def _caller(self, route: Route, scope: Scope) -> Caller:
        if route.scope is None:
            return NOBODY
        caller = await self._authenticate(scope)
        if not caller.scope.includes(route.scope):
            raise Forbidden(f"this needs a key of scope {route.scope} or above, and yours is {caller.scope}")
        return caller

    async def _handle(self, route: Route, call: Call, scope: Scope, receive: Receive) -> Answer:
        if route.query is not None:
            return await route.handler(call, reading.query(route, scope))
        reading.no_query(scope)
        given = None
        if route.body is not None:
            given = await reading.body(route.body, route.max_bytes, scope, receive)
        if route.method in UNSAFE:
            key = reading.replay_key(given, scope)
            if key is not None:
                call.caller = replace(call.caller, replay_key=key)
        return await (route.handler(call) if given is None else route.handler(call, given))


def _plain(method: str) -> str:
    return "GET" if method == "HEAD" else method
