"""Raw clients of the three bindings with one face: they send what a test says, right or wrong.

What they read is made comparable: a result is its JSON, a refusal its reason, its code and its details.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote
from uuid import uuid4

import grpc.aio  # type: ignore[import-untyped]
import httpx
from a2a.types import a2a_pb2 as pb
from a2a.utils.grpc_status import status_from_call
from google.protobuf import json_format, message_factory  # type: ignore[import-untyped]
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

BINDINGS: Final = ("JSONRPC", "HTTP+JSON", "GRPC")
Params = Mapping[str, Any]
_SERVICE: Final = pb.DESCRIPTOR.services_by_name["A2AService"]

assert error_details_pb2.DESCRIPTOR, "the types of details are known by their import"


@dataclass(eq=False)
class Refusal(Exception):
    """An error of the protocol, as its binding told it."""

    code: int | str
    """JSON-RPC's code, the HTTP status, or the name of gRPC's status."""
    message: str
    details: list[dict[str, Any]]
    headers: Mapping[str, str] = field(default_factory=dict)
    whole: Any = None

    @property
    def info(self) -> dict[str, Any]:
        """The `ErrorInfo` among its details."""
        (found,) = [d for d in self.details if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"]
        return found

    @property
    def reason(self) -> str:
        """What is wrong, in one word."""
        reason: str = self.info["reason"]
        return reason

    @property
    def fields(self) -> list[str]:
        """The fields that are wrong."""
        return [v["field"] for d in self.details for v in d.get("fieldViolations", ())]


@dataclass(frozen=True)
class Told:
    """A result, and what came beside it."""

    result: Any
    headers: Mapping[str, str]


class Wire(Protocol):
    """One caller over one binding."""

    @property
    def binding(self) -> str:
        """Which one."""

    async def told(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> Told:
        """Call once. A header of None is left out.

        Raises:
            Refusal: it was refused.
        """

    def streamed(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> Any:
        """A context that opens a stream and gives its frames, one after the other.

        Raises:
            Refusal: it was refused before its first frame.
        """


@dataclass(frozen=True)
class Http:
    """Where a hub is, and who calls."""

    client: httpx.AsyncClient
    url: str
    key: str

    def headers(self, more: Mapping[str, str | None] | None) -> dict[str, str]:
        """The headers of a well-behaved call, changed as a test wants."""
        known: dict[str, str | None] = {"Authorization": f"Bearer {self.key}", "A2A-Version": "1.0"}
        return {name: value for name, value in {**known, **(more or {})}.items() if value is not None}


@dataclass(frozen=True)
class JsonRpc:
    """JSON-RPC at `/a2a`."""

    http: Http
    binding: str = "JSONRPC"

    async def told(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> Told:
        """As `Wire.told`."""
        body = {"jsonrpc": "2.0", "id": "one", "method": operation, "params": params}
        answer = await self.http.client.post(
            f"{self.http.url}/a2a", json=body, headers=self.http.headers(headers)
        )
        return Told(_rpc_result(answer.json(), answer.headers), answer.headers)

    @asynccontextmanager
    async def streamed(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """As `Wire.streamed`."""
        body = {"jsonrpc": "2.0", "id": "one", "method": operation, "params": params}
        sent = self.http.headers(headers)
        async with self.http.client.stream("POST", f"{self.http.url}/a2a", json=body, headers=sent) as answer:
            if not answer.headers["content-type"].startswith("text/event-stream"):
                _rpc_result(json.loads(await answer.aread()), answer.headers)
                raise AssertionError("no stream, and no refusal")
            yield (_rpc_result(event, answer.headers) async for event in _events(answer))


def _rpc_result(told: Any, headers: Mapping[str, str]) -> Any:
    assert told["jsonrpc"] == "2.0", told
    if "error" in told:
        assert "result" not in told, told
        error = told["error"]
        raise Refusal(error["code"], error["message"], error["data"], headers, told)
    assert told["id"] == "one", told
    return told["result"]


def route_of(operation: str, params: Params) -> tuple[str, str, Params, Params]:
    """Method, path, query and body of an operation over HTTP+JSON."""
    given = dict(params)
    tenant = given.pop("tenant", None)
    root = "" if tenant is None else f"/{tenant}"

    def taken(name: str) -> str:
        return quote(str(given.pop(name, "")), safe="")

    if operation in ("SendMessage", "SendStreamingMessage"):
        verb = "send" if operation == "SendMessage" else "stream"
        return "POST", f"{root}/message:{verb}", {}, given
    if operation == "ListTasks":
        return "GET", f"{root}/tasks", given, {}
    if operation == "GetTask":
        return "GET", f"{root}/tasks/{taken('id')}", given, {}
    if operation == "CancelTask":
        return "POST", f"{root}/tasks/{taken('id')}:cancel", {}, given
    if operation == "SubscribeToTask":
        return "POST", f"{root}/tasks/{taken('id')}:subscribe", {}, given
    if operation == "GetExtendedAgentCard":
        return "GET", f"{root}/extendedAgentCard", given, {}
    configs = f"{root}/tasks/{taken('taskId')}/pushNotificationConfigs"
    match operation:
        case "CreateTaskPushNotificationConfig":
            return "POST", configs, {}, given
        case "ListTaskPushNotificationConfigs":
            return "GET", configs, given, {}
        case "GetTaskPushNotificationConfig":
            return "GET", f"{configs}/{taken('id')}", given, {}
    return "DELETE", f"{configs}/{taken('id')}", given, {}


@dataclass(frozen=True)
class Rest:
    """HTTP+JSON at `/a2a/v1`."""

    http: Http
    binding: str = "HTTP+JSON"

    def _request(self, operation: str, params: Params, headers: Mapping[str, str | None] | None) -> Any:
        method, path, query, body = route_of(operation, params)
        sent = self.http.headers(headers)
        content = None
        if method == "POST":
            sent.setdefault("Content-Type", "application/a2a+json")
            content = json.dumps(body)
        words = {name: _word(value) for name, value in query.items() if value is not None}
        return self.http.client.build_request(
            method, f"{self.http.url}/a2a/v1{path}", params=words, content=content, headers=sent
        )

    async def told(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> Told:
        """As `Wire.told`."""
        answer = await self.http.client.send(self._request(operation, params, headers))
        if answer.status_code != 200:
            raise _of_status(answer.json(), answer)
        return Told(answer.json(), answer.headers)

    @asynccontextmanager
    async def streamed(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """As `Wire.streamed`."""
        answer = await self.http.client.send(self._request(operation, params, headers), stream=True)
        try:
            if answer.status_code != 200:
                raise _of_status(json.loads(await answer.aread()), answer)
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _events(answer)
        finally:
            await answer.aclose()


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_status(told: Any, answer: httpx.Response) -> Refusal:
    error = told["error"]
    assert error["code"] == answer.status_code, told
    return Refusal(answer.status_code, error["message"], error["details"], answer.headers, told)


async def _events(answer: httpx.Response) -> AsyncIterator[Any]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


@dataclass(frozen=True)
class Grpc:
    """gRPC on its own port. Members that the messages do not have are left out, as they cannot be sent."""

    channel: Any
    key: str
    binding: str = "GRPC"

    def _call(self, operation: str, params: Params, headers: Mapping[str, str | None] | None) -> Any:
        method = _SERVICE.methods_by_name[operation]
        request = json_format.ParseDict(
            params, message_factory.GetMessageClass(method.input_type)(), ignore_unknown_fields=True
        )
        kind = "unary_stream" if method.server_streaming else "unary_unary"
        sent: dict[str, str | None] = {"authorization": f"Bearer {self.key}", "a2a-version": "1.0"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        return getattr(self.channel, kind)(
            f"/{_SERVICE.full_name}/{operation}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request, metadata=tuple((name, value) for name, value in sent.items() if value is not None))

    async def told(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> Told:
        """As `Wire.told`."""
        call = self._call(operation, params, headers)
        try:
            answer = await call
            return Told(json_format.MessageToDict(answer), dict(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            raise _of_grpc(error) from None

    @asynccontextmanager
    async def streamed(
        self, operation: str, params: Params, headers: Mapping[str, str | None] | None = None
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """As `Wire.streamed`."""
        call = self._call(operation, params, headers)
        try:
            first = await call.read()
        except grpc.aio.AioRpcError as error:
            raise _of_grpc(error) from None
        if first is grpc.aio.EOF:
            raise _of_grpc(await _end_of(call))

        async def frames() -> AsyncIterator[Any]:
            told = first
            while told is not grpc.aio.EOF:
                yield json_format.MessageToDict(told)
                told = await call.read()
            assert await call.code() is grpc.StatusCode.OK, await call.details()

        try:
            yield frames()
        finally:
            call.cancel()


async def _end_of(call: Any) -> Any:
    code, details = await call.code(), await call.details()
    return grpc.aio.AioRpcError(
        code, await call.initial_metadata(), await call.trailing_metadata(), details=details
    )


def _of_grpc(error: Any) -> Refusal:
    status = status_from_call(error)
    assert status is not None, error
    told = json_format.MessageToDict(status)
    assert told["code"] == error.code().value[0]
    assert told["message"] == error.details()
    trailers = {
        name: value for name, value in error.trailing_metadata() or () if name != "grpc-status-details-bin"
    }
    return Refusal(error.code().name, error.details(), told["details"], trailers, told)


def message(text: str = "echo hi", **members: Any) -> dict[str, Any]:
    """Parameters of a send that waits; `configuration` and `metadata_of_request` are the request's own."""
    params: dict[str, Any] = {}
    for name in ("configuration", "tenant"):
        if name in members:
            params[name] = members.pop(name)
    said = {"messageId": uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}], **members}
    return {"message": {name: value for name, value in said.items() if value is not None}, **params}


def at_once(text: str = "wait", **members: Any) -> dict[str, Any]:
    """Parameters of a send that does not wait."""
    configuration = {"returnImmediately": True, **members.pop("configuration", {})}
    return message(text, configuration=configuration, **members)
