"""A2A over gRPC (specification §10): the services of 1.0 and of 0.3 on one port of their own.

It needs the extra `grpc`; nothing else imports this module. A message becomes the JSON that it stands for and
goes the way of every other call; what comes back becomes a message. Services are made from the descriptors of
the SDK, so there is no stub to keep in step. TLS is ended by the proxy in front, as for HTTP.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import grpc.aio  # type: ignore[import-untyped]
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2
from google.protobuf import json_format, message_factory  # type: ignore[import-untyped]
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from starlette.types import Message, Scope

from adapters.a2a import errors, request
from adapters.a2a.agent import A2AConfig, CannotListen, ExposedAgent
from adapters.a2a.dispatch import Call, Dispatcher, Frames
from adapters.a2a.errors import A2AError, describe
from adapters.a2a.operations import OPERATIONS
from adapters.a2a.sse import STALL_SECONDS, stop
from adapters.a2a.v03 import proto
from adapters.a2a.v03.words import Asked, Told, as_it_is
from adapters.a2a.version import CURRENT, LEGACY, negotiate
from core.errors import TooMany, Unauthenticated
from core.platform import Platform
from schemas.strict_json import InvalidJson, dump_json, parse_json

GRACE_SECONDS: Final = 5.0
"""How long a stop waits for calls in flight."""
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error
    # A peer that went without a word is noticed, and may notice us.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
DETAILS: Final = "grpc-status-details-bin"
_MOST_DETAILS: Final = 4096
"""Trailers beyond 8 KiB are dropped by peers, and the answer with them."""
_MOST_MESSAGE: Final = 1024

assert error_details_pb2.DESCRIPTOR, "the types of details are known by their import"


@dataclass(frozen=True)
class Service:
    """One version of the protocol: its service, and how its calls are read."""

    version: str
    descriptor: Any
    read: Callable[[str, Any], Asked]


SERVICES: Final = (
    Service(
        CURRENT,
        a2a_pb2.DESCRIPTOR.services_by_name["A2AService"],
        lambda name, params: Asked(name, params, as_it_is),
    ),
    Service(LEGACY, a2a_v0_3_pb2.DESCRIPTOR.services_by_name["A2AService"], proto.rpc),
)


class GrpcServer:
    """Serves one agent over gRPC, between `start` and `stop`. Without reflection."""

    def __init__(
        self,
        platform: Platform,
        config: A2AConfig,
        authenticator: request.Authenticator,
        *,
        host: str,
        port: int,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._servicer = _Servicer(
            Dispatcher(platform, config, OPERATIONS), config.hub, authenticator, stall_seconds
        )
        self._config = config
        self._address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
        self._server: Any = None

    async def start(self) -> int:
        """Begin to serve; the port that was taken.

        Raises:
            CannotListen: it cannot be.
        """
        largest = ("grpc.max_receive_message_length", self._config.max_body_bytes)
        server = grpc.aio.server(options=[largest, *_OPTIONS])
        for service in SERVICES:
            server.add_generic_rpc_handlers([self._servicer.handlers(service)])
        try:
            port: int = server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise CannotListen(f"cannot listen on {self._address} for gRPC") from error
        await server.start()
        self._server = server
        return port

    async def stop(self) -> None:
        """End, once the calls in flight are answered or the grace is over."""
        if self._server is not None:
            await self._server.stop(GRACE_SECONDS)


class _Servicer:
    """Answers the calls of every service in the same way."""

    def __init__(
        self, dispatcher: Dispatcher, agent: ExposedAgent, authenticator: request.Authenticator, stall: float
    ) -> None:
        self._dispatcher = dispatcher
        self._addressed = request.always(agent)
        self._authenticator = authenticator
        self._stall = stall

    def handlers(self, service: Service) -> Any:
        """The handlers of a service's methods."""
        made = {}
        for method in service.descriptor.methods:
            answer = message_factory.GetMessageClass(method.output_type)
            kind = (
                grpc.unary_stream_rpc_method_handler
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            made[method.name] = kind(
                partial(self._serve, service, method.name, answer),
                request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
                response_serializer=answer.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(service.descriptor.full_name, made)

    async def _serve(self, service: Service, name: str, answer: type[Any], asked: Any, context: Any) -> Any:
        """Serve one call: the answer, or None once a stream is written."""
        with ExitStack() as held:
            try:
                return await self._answer(service, name, answer, asked, context, held)
            except Exception as error:
                refusal = describe(error)
        await _abort(context, refusal, legacy=service.version == LEGACY)

    async def _answer(
        self, service: Service, name: str, answer: type[Any], asked: Any, context: Any, held: ExitStack
    ) -> Any:
        scope = _scope(context, name)
        call = await request.call_of(scope, _hangs_up_never, self._addressed, self._authenticator, held)
        call.gone = None  # a client that hangs up cancels the call itself
        call.last_event_id = None  # messages have no ids
        call.protocol_version = _version(service, scope)
        read = service.read(name, _params(asked))
        operation = self._dispatcher.find(read.operation)
        if operation.stream is not None:
            frames = await self._dispatcher.open(operation, call, read.params)
            await self._stream(frames, read.told, answer, scope, context, call)
            return None
        result = await self._dispatcher.answer(operation, call, read.params)
        _note(context, call)
        return _message(answer, read.told(result))

    async def _stream(
        self, frames: Frames, told: Told, answer: type[Any], scope: Scope, context: Any, call: Call
    ) -> None:
        _note(context, call)
        async with aclosing(frames):
            pump = asyncio.ensure_future(self._pump(frames, told, answer, context.write))
            revoked = asyncio.ensure_future(self._authenticator.ended(scope))
            try:
                await asyncio.wait({pump, revoked}, return_when=asyncio.FIRST_COMPLETED)
                if not pump.done():
                    raise Unauthenticated("The credential of this stream is no longer valid.")
                pump.result()
            except TimeoutError:
                raise TooMany(f"Nothing was read for {self._stall:g} seconds.", retry_after=1) from None
            finally:
                await stop(pump, revoked)

    async def _pump(
        self, frames: Frames, told: Told, answer: type[Any], write: Callable[[Any], Awaitable[None]]
    ) -> None:
        async for batch in frames:
            for _, frame in batch:
                async with asyncio.timeout(self._stall):
                    await write(_message(answer, told(frame)))


def _scope(context: Any, name: str) -> Scope:
    """A call as the scope of a request, for what reads headers."""
    headers = [
        (key.encode(), value if isinstance(value, bytes) else value.encode())
        for key, value in context.invocation_metadata() or ()
    ]
    _, _, peer = unquote(context.peer()).partition(":")
    host, _, port = peer.rpartition(":")
    return {
        "type": "http",
        "method": "POST",
        "path": f"/{name}",
        "query_string": b"",
        "headers": headers,
        "client": (host.strip("[]"), int(port)) if port.isdecimal() else None,
    }


async def _hangs_up_never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def _version(service: Service, scope: Scope) -> str:
    """The version of a call: its service's, which a caller may name as well.

    Raises:
        A2AError: VersionNotSupported, it names another.
    """
    named = request.named_version(scope)
    if named is not None and negotiate(named) != service.version:
        raise A2AError(
            errors.VERSION_NOT_SUPPORTED,
            f"{service.descriptor.full_name} speaks A2A {service.version}, not {named[:20]!r}.",
            metadata={"supportedVersions": service.version},
        )
    return service.version


def _params(asked: Any) -> Any:
    """The JSON that a message stands for, as strictly as any other JSON that arrives.

    Raises:
        A2AError: it stands for none.
    """
    try:
        return parse_json(json_format.MessageToJson(asked, indent=None).encode())
    except (json_format.SerializeToJsonError, InvalidJson, ValueError) as error:
        raise A2AError(errors.INVALID_REQUEST, f"The request cannot be read: {error}") from None


def _message(answer: type[Any], told: Any) -> Any:
    return json_format.Parse(dump_json(told), answer(), ignore_unknown_fields=True)


def _note(context: Any, call: Call) -> None:
    if call.notes:
        context.set_trailing_metadata(tuple((name.lower(), value) for name, value in call.notes.items()))


async def _abort(context: Any, error: A2AError, *, legacy: bool) -> None:
    """Refuse a call, with typed details (specification §10.6); clients of 0.3 read the name in the text."""
    code = grpc.StatusCode[error.kind.status]
    said = f"{proto.error_name(error)}: {error.message}" if legacy else error.message
    said = said[:_MOST_MESSAGE]
    status = status_pb2.Status(code=code.value[0], message=said)
    for detail in error.details:
        made = json_format.ParseDict({"details": [detail]}, status_pb2.Status())
        if status.ByteSize() + made.ByteSize() <= _MOST_DETAILS:
            status.MergeFrom(made)
    trailers = [(name.lower(), value) for name, value in error.headers.items()]
    await context.abort(code, said, ((DETAILS, status.SerializeToString()), *trailers))
