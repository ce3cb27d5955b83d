"""JSON-RPC messages as the launcher reads and writes them: one line, one message."""

import json
import re
from typing import Any, Final, TypeAlias

from schemas.acp import AFTER

Key: TypeAlias = tuple[type, str | int | None]
"""Ids are compared with their type: 1 is not "1"."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INTERNAL_ERROR: Final = -32603
AUTH_REQUIRED: Final = -32000
NOT_FOUND: Final = -32002
TOO_MANY: Final = -31429

_ID: Final = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(-?\d{1,18}|"[^"\\]{0,100}")\s*,')


class BadLine(Exception):
    """A line is no message. `id` is what it would be answered under."""

    def __init__(self, code: int, message: str, id: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id


def read(line: bytes, *, first: bool) -> dict[str, Any]:
    """The message of a line. The `first` is read without what takes long to load.

    Raises:
        BadLine: it is no JSON, a batch, or no JSON-RPC 2.0 message.
    """
    value = _parsed(line, first)
    if type(value) is not dict:
        what = "Batches are not supported" if type(value) is list else "A message is a JSON object"
        raise BadLine(INVALID_REQUEST, what)
    id = value.get("id")
    if id is not None and type(id) is not str and type(id) is not int:
        raise BadLine(INVALID_REQUEST, "id must be a string, an integer or null")
    if value.get("jsonrpc") != "2.0":
        raise BadLine(INVALID_REQUEST, 'jsonrpc must be exactly "2.0"', id)
    method = value.get("method")
    if "method" in value and (type(method) is not str or not method):
        raise BadLine(INVALID_REQUEST, "method must be a string that is not empty", id)
    if "method" not in value and "result" not in value and "error" not in value:
        raise BadLine(INVALID_REQUEST, "A message has a method, a result or an error", id)
    return value


def _parsed(line: bytes, first: bool) -> Any:
    try:
        if first:
            return json.loads(line)
        from schemas.strict_json import parse_json

        return parse_json(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(PARSE_ERROR, f"This is no JSON: {error}") from None


def id_of_start(start: bytes) -> str | int | None:
    """The id of a request of which only the start is known, where it stands there."""
    found = _ID.match(start)
    if found is None:
        return None
    id: str | int = json.loads(found[1])
    return id


def key_of(id: str | int | None) -> Key:
    """An id that can be looked up."""
    return type(id), id


def dumped(message: dict[str, Any]) -> bytes:
    """One line, without its end."""
    return json.dumps(message, separators=(",", ":")).encode()


def error(id: str | int | None, code: int, message: str, data: Any = None) -> dict[str, Any]:
    """An error answer."""
    problem: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        problem["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": problem}


def result(id: str | int | None, value: Any) -> dict[str, Any]:
    """An answer."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def call(id: str | int | None, method: str, params: Any) -> dict[str, Any]:
    """A request."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def notification(method: str, params: Any) -> dict[str, Any]:
    """A notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def params_of(message: dict[str, Any]) -> dict[str, Any]:
    """The parameters, if they are an object."""
    params = message.get("params")
    return params if type(params) is dict else {}


def meta_of(params: Any, name: str) -> Any:
    """A member of `_meta`; None where there is none."""
    meta = params.get("_meta") if type(params) is dict else None
    return meta.get(name) if type(meta) is dict else None


def with_meta(params: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Parameters with more in `_meta`, given by name with `crossdock/` left out; what is there stays."""
    meta = params.get("_meta")
    added = {f"crossdock/{name}": value for name, value in members.items() if value is not None}
    return {**params, "_meta": {**added, **(meta if type(meta) is dict else {})}}


def told_up_to(params: dict[str, Any], cursor: str) -> dict[str, Any]:
    """Parameters of a load or resume that goes on behind a cursor, whatever they said before."""
    meta = params.get("_meta")
    return {**params, "_meta": {**(meta if type(meta) is dict else {}), AFTER: cursor}}
