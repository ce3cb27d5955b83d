"""A2A over HTTP+JSON (specification §11): resources and verbs, the same operations behind them.

The path, the query and the body together are the operation's parameters. A leading segment that names no
resource is the tenant. Answers are `application/a2a+json`, or `application/json` to a client that speaks only
that. A request that names no version speaks 0.3 (`v03/rest.py`); the clients of 0.3 add `/v1` by themselves.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters.a2a import errors, request, sse
from adapters.a2a.dispatch import ClientGone, Dispatcher, Frames
from adapters.a2a.errors import A2AError, describe
from adapters.a2a.protojson import Params
from adapters.a2a.v03 import rest as old
from adapters.a2a.v03.proto import error_told
from adapters.a2a.v03.words import Told, as_it_is
from adapters.a2a.version import LEGACY, negotiate
from schemas.strict_json import InvalidJson, dump_json, parse_json

A2A_JSON: Final = "application/a2a+json"
JSON: Final = "application/json"

_TASK: Final = ("tasks", "{id}")
_CONFIGS: Final = ("tasks", "{taskId}", "pushNotificationConfigs")
RESOURCES: Final[Mapping[tuple[str, ...], Mapping[str, str]]] = {
    ("message:send",): {"POST": "SendMessage"},
    ("message:stream",): {"POST": "SendStreamingMessage"},
    ("tasks",): {"GET": "ListTasks"},
    _TASK: {"GET": "GetTask"},
    ("tasks", "{id}:cancel"): {"POST": "CancelTask"},
    ("tasks", "{id}:subscribe"): {"GET": "SubscribeToTask", "POST": "SubscribeToTask"},
    _CONFIGS: {"POST": "CreateTaskPushNotificationConfig", "GET": "ListTaskPushNotificationConfigs"},
    (*_CONFIGS, "{id}"): {
        "GET": "GetTaskPushNotificationConfig",
        "DELETE": "DeleteTaskPushNotificationConfig",
    },
    ("extendedAgentCard",): {"GET": "GetExtendedAgentCard"},
}
"""Every path below the binding's root, and the operation of each method."""
_HEADS: Final = frozenset(path[0] for path in RESOURCES)


def resource_of(path: str) -> tuple[Mapping[str, str], dict[str, str]]:
    """The operations of a path by method, and the parameters in it.

    Raises:
        A2AError: no such resource.
    """
    segments = path.strip("/").split("/")
    given: dict[str, str] = {}
    if segments[0] not in _HEADS and len(segments) > 1:
        given["tenant"], *segments = segments
    if segments[0] != "tasks" or len(segments) == 1:
        found = RESOURCES.get(tuple(segments))
    elif len(segments) == 2:
        id, verb = _verb(segments[1])
        found = RESOURCES.get(("tasks", "{id}" + verb))
        given["id"] = id
    else:
        found = RESOURCES.get(("tasks", "{taskId}", segments[2], *("{id}" for _ in segments[3:])))
        given["taskId"] = segments[1]
        if segments[3:]:
            given["id"] = segments[3]
    if found is None:
        raise A2AError(errors.METHOD_NOT_FOUND, "No such resource.")
    return found, given


def _verb(segment: str) -> tuple[str, str]:
    for verb in (":cancel", ":subscribe"):
        if segment.endswith(verb):
            return segment.removesuffix(verb), verb
    return segment, ""


class RestEndpoint:
    """Serves over HTTP+JSON the agents that requests address."""

    def __init__(
        self, dispatcher: Dispatcher, addressed: request.Addressed, authenticator: request.Authenticator
    ) -> None:
        self._dispatcher = dispatcher
        self._addressed = addressed
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        with ExitStack() as held:
            try:
                answer = await self._answer(scope, receive, held)
            except ClientGone:
                answer = Response(status_code=499)
            except Exception as error:
                answer = render(describe(error), scope)
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, held: ExitStack) -> request.Answer:
        call = await request.call_of(scope, receive, self._addressed, self._authenticator, held)
        call.protocol_version = negotiate(request.named_version(scope))
        legacy = call.protocol_version == LEGACY
        path = scope.get("path_params", {}).get("path", "")
        methods, given = (old.CARD, {}) if legacy and old.is_card(path) else resource_of(path)
        name = methods.get(scope["method"])
        if name is None:
            raise NotAllowed(methods)
        params = await self._params(scope, receive, given)
        told: Told = as_it_is
        if legacy:
            asked = old.asked(name, params)
            name, told = asked.operation, asked.told
            params = {**asked.params, "tenant": given["tenant"]} if "tenant" in given else asked.params
        dispatcher = self._dispatcher
        operation = dispatcher.find(name)
        if operation.stream is not None:
            frames = await dispatcher.open(operation, call, params)
            return sse.EventStream(
                _encoded(frames, told),
                heartbeat_seconds=dispatcher.config.heartbeat_seconds,
                revoked=lambda: self._authenticator.ended(scope),
                farewell=_farewell,
                headers=call.notes,
            )
        result = await dispatcher.answer(operation, call, params)
        return Response(dump_json(told(result)), 200, call.notes, media_type(scope))

    async def _params(self, scope: Scope, receive: Receive, given: Mapping[str, str]) -> Params:
        params: dict[str, Any] = dict(request.query(scope))
        if scope["method"] == "POST":
            body = await request.body_of(scope, receive, self._dispatcher.config.max_body_bytes)
            if body:
                request.check_json(scope, A2A_JSON)
                params.update(_object(body))
        for name, value in given.items():
            if params.get(name) not in (None, "", value):
                raise errors.invalid(name, "differs from the one in the path")
            params[name] = value
        return params


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = parse_json(body)
    except InvalidJson as error:
        raise A2AError(errors.PARSE, f"The body cannot be read: {error}") from None
    if type(value) is not dict:
        raise A2AError(errors.INVALID_REQUEST, "The body must be a JSON object.")
    return value


class NotAllowed(A2AError):
    """The resource answers other methods."""

    def __init__(self, methods: Mapping[str, str]) -> None:
        self.allowed = ", ".join(sorted(methods))
        super().__init__(errors.METHOD_NOT_ALLOWED, f"This resource answers {self.allowed}.")

    @property
    def headers(self) -> dict[str, str]:
        """Says which methods it answers."""
        return {"Allow": self.allowed}


def media_type(scope: Scope) -> str:
    """A2A's own type, unless the client asks for, or sends, plain JSON and nothing more, or speaks 0.3."""
    if is_legacy(scope):
        return JSON
    accept = request.header(scope, b"accept") or ""
    if A2A_JSON in accept:
        return A2A_JSON
    if JSON in accept:
        return JSON
    sent = (request.header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    return JSON if sent == JSON else A2A_JSON


def is_legacy(scope: Scope) -> bool:
    """Whether a request speaks 0.3; one that cannot be read speaks 1.0."""
    try:
        return negotiate(request.named_version(scope)) == LEGACY
    except A2AError:
        return False


def render(error: A2AError, scope: Scope) -> Response:
    """A refusal as HTTP+JSON tells it."""
    body = error_told(error) if is_legacy(scope) else error.status
    return Response(dump_json(body), error.kind.http, error.headers, media_type(scope))


async def _encoded(frames: Frames, told: Told) -> AsyncGenerator[bytes, None]:
    """Each frame as it is, with its id."""
    try:
        async for batch in frames:
            yield b"".join(
                sse.event(dump_json(told(frame)), id=number) for number, frame in sse.numbered(batch)
            )
    except Exception as error:
        yield _farewell(error)
    finally:
        await frames.aclose()


def _farewell(reason: Exception) -> bytes:
    return sse.event(dump_json(describe(reason).status), kind="error")


def paths(root: str) -> Sequence[str]:
    """The routes under which the endpoint is reached."""
    return [root, root + "/{path:path}"]
