"""A2A over JSON-RPC 2.0 (specification §9): one URL, one request, one answer or one event stream.

Errors of operations travel with HTTP 200, as JSON-RPC has it; refusals of the HTTP exchange itself (401, 403,
413, 415, 429, 503) keep their status and carry a JSON-RPC body all the same.
"""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapters import jsonrpc
from adapters.a2a import errors, request, sse
from adapters.a2a.dispatch import Call, ClientGone, Dispatcher, Frames
from adapters.a2a.errors import A2AError, describe
from adapters.a2a.protojson import Params
from adapters.a2a.v03 import methods
from adapters.a2a.v03.words import Told, as_it_is
from adapters.a2a.version import LEGACY, negotiate
from adapters.a2a.wire import params_of

_BAD_ENVELOPES: Final = {jsonrpc.PARSE_ERROR: errors.PARSE, jsonrpc.INVALID_REQUEST: errors.INVALID_REQUEST}


class JsonRpcEndpoint:
    """Serves over JSON-RPC the agents that requests address."""

    def __init__(
        self, dispatcher: Dispatcher, addressed: request.Addressed, authenticator: request.Authenticator
    ) -> None:
        self._dispatcher = dispatcher
        self._addressed = addressed
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        with ExitStack() as held:
            answer = await self._answer(scope, receive, held)
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, held: ExitStack) -> request.Answer:
        id: jsonrpc.Id = None
        dispatcher = self._dispatcher
        try:
            if scope["method"] != "POST":
                raise A2AError(errors.METHOD_NOT_ALLOWED, "JSON-RPC is sent by POST.")
            call = await request.call_of(scope, receive, self._addressed, self._authenticator, held)
            request.check_json(scope)
            asked = _read(await request.body_of(scope, receive, dispatcher.config.max_body_bytes))
            id = asked.id
            known = asked.method in dispatcher.operations
            version = negotiate(request.named_version(scope), asked.method if known else None)
            call.protocol_version = version
            if version == LEGACY:
                old = methods.asked(asked.method, params_of(asked.params))
                return await self._run(id, call, scope, old.operation, old.params, old.told)
            return await self._run(id, call, scope, asked.method, params_of(asked.params))
        except ClientGone:
            return Response(status_code=499)
        except Refused as refused:
            return render(refused.error, refused.id)
        except Exception as error:
            return render(describe(error), id)

    async def _run(
        self, id: jsonrpc.Id, call: Call, scope: Scope, name: str, params: Params, told: Told = as_it_is
    ) -> request.Answer:
        dispatcher = self._dispatcher
        operation = dispatcher.find(name)
        if operation.stream is not None:
            frames = await dispatcher.open(operation, call, params)
            return self._stream(id, frames, scope, call.notes, told)
        result = await dispatcher.answer(operation, call, params)
        return _response(jsonrpc.result(id, told(result)), headers=call.notes)

    def _stream(
        self, id: jsonrpc.Id, frames: Frames, scope: Scope, notes: dict[str, str], told: Told
    ) -> sse.EventStream:
        return sse.EventStream(
            _encoded(id, frames, told),
            heartbeat_seconds=self._dispatcher.config.heartbeat_seconds,
            revoked=lambda: self._authenticator.ended(scope),
            farewell=lambda reason: sse.event(_told(id, describe(reason))),
            headers=notes,
        )


class Refused(Exception):
    """An envelope that is none, with the id that its answer carries."""

    def __init__(self, error: A2AError, id: jsonrpc.Id) -> None:
        super().__init__(error.message)
        self.error = error
        self.id = id


def render(error: A2AError, id: jsonrpc.Id = None) -> Response:
    """A refusal as a JSON-RPC answer."""
    return _response(_told(id, error), error.kind.http if error.kind.of_transport else 200, _headers(error))


def _told(id: jsonrpc.Id, error: A2AError) -> bytes:
    return jsonrpc.error(id, error.kind.rpc, error.message, error.details)


def _headers(error: A2AError) -> dict[str, str]:
    return {**error.headers, "Allow": "POST"} if error.kind is errors.METHOD_NOT_ALLOWED else error.headers


def _read(body: bytes) -> jsonrpc.Request:
    try:
        asked = jsonrpc.read_request(body)
    except jsonrpc.BadEnvelope as bad:
        raise Refused(A2AError(_BAD_ENVELOPES[bad.code], bad.message), bad.id) from None
    if asked.notification:
        raise A2AError(errors.INVALID_REQUEST, "A request needs an id: A2A has no notifications.")
    return asked


async def _encoded(id: jsonrpc.Id, frames: Frames, told: Told) -> AsyncGenerator[bytes, None]:
    """Each frame as a whole JSON-RPC answer, with its id."""
    try:
        async for batch in frames:
            yield b"".join(
                sse.event(jsonrpc.result(id, told(frame)), id=number) for number, frame in sse.numbered(batch)
            )
    except Exception as error:
        yield sse.event(_told(id, describe(error)))
    finally:
        await frames.aclose()


def _response(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, "application/json")
