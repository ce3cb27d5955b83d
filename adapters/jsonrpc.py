"""JSON-RPC 2.0 envelopes, as pure functions: bytes in, values out, and back.

Not a server and not a peer: it reads no socket, knows no method and keeps no state. What a batch or a
notification means is the protocol's business, so this module only tells them apart.
`adapters/jsonrpc_peer.py` is the peer. See https://www.jsonrpc.org/specification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from schemas.strict_json import InvalidJson, dump_json, parse_json

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

Id: TypeAlias = str | int | None


class BadEnvelope(Exception):
    """The bytes are no JSON-RPC request. `id` is the request's, where it could be read."""

    def __init__(self, code: int, message: str, id: Id = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `notification`: it carries no id, so its sender expects no answer."""

    id: Id
    method: str
    params: Any
    """An object, an array, or None when the member is absent."""
    notification: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """The other side's answer to a call of ours. `error` is None when it succeeded."""

    id: Id
    result: Any = None
    error: Mapping[str, Any] | None = None


def read_request(body: bytes, *, max_bytes: int | None = None) -> Request:
    """Read one request.

    Raises:
        BadEnvelope: not JSON as `schemas.strict_json` takes it, a batch, or no JSON-RPC 2.0 request.
    """
    try:
        value = parse_json(body, max_bytes=max_bytes)
    except InvalidJson as error:
        raise BadEnvelope(PARSE_ERROR, f"The body cannot be read: {error}") from None
    return request_of(value)


def request_of(value: Any) -> Request:
    """The request that a parsed JSON value is.

    Raises:
        BadEnvelope: it is a batch, or no JSON-RPC 2.0 request.
    """
    if type(value) is not dict:
        what = "Batches are not supported" if type(value) is list else "A request is a JSON object"
        raise BadEnvelope(INVALID_REQUEST, what)
    id = value.get("id")
    if id is not None and type(id) is not str and type(id) is not int:
        raise BadEnvelope(INVALID_REQUEST, "id must be a string, an integer or null")
    if value.get("jsonrpc") != "2.0":
        raise BadEnvelope(INVALID_REQUEST, 'jsonrpc must be exactly "2.0"', id)
    method = value.get("method")
    if type(method) is not str or not method:
        raise BadEnvelope(INVALID_REQUEST, "method must be a string that is not empty", id)
    params = value.get("params")
    if params is not None and type(params) is not dict and type(params) is not list:
        raise BadEnvelope(INVALID_REQUEST, "params must be an object or an array", id)
    return Request(id, method, params, "id" not in value)


def message_of(value: Any) -> Request | Response:
    """What a parsed JSON value is, where both sides call. A request's `params` may be anything here.

    Raises:
        BadEnvelope: it is a batch, or no JSON-RPC 2.0 message.
    """
    if type(value) is dict and "method" not in value and ("result" in value or "error" in value):
        id = value.get("id")
        if value.get("jsonrpc") != "2.0" or (id is not None and type(id) is not str and type(id) is not int):
            raise BadEnvelope(INVALID_REQUEST, "This is no JSON-RPC 2.0 response")
        failure = value.get("error")
        if failure is not None and type(failure) is not dict:
            failure = {"code": INTERNAL_ERROR, "message": "An error that is no object"}
        return Response(id, value.get("result"), failure)
    if type(value) is not dict or type(value.get("params")) in (dict, list, type(None)):
        return request_of(value)
    # Wrong parameters concern the method: they are told under the id, and nobody takes them for a bad frame.
    asked = request_of({**value, "params": None})
    return Request(asked.id, asked.method, value["params"], asked.notification)


def call(id: Id, method: str, params: Any) -> bytes:
    """A request of ours."""
    return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}' % (
        dump_json(id),
        dump_json(method),
        dump_json(params),
    )


def notification(method: str, params: Any) -> bytes:
    """A notification of ours."""
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (dump_json(method), dump_json(params))


def result(id: Id, value: Any) -> bytes:
    """The answer to a call that succeeded."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (dump_json(id), dump_json(value))


def error(id: Id, code: int, message: str, data: Any = None) -> bytes:
    """The answer to a call that failed. `data` is left out when it is None."""
    problem = {"code": code, "message": message}
    if data is not None:
        problem["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (dump_json(id), dump_json(problem))
