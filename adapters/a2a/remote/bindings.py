"""How a call to a remote agent is written, and how its answer is read, on each binding the hub speaks as a
client: JSON-RPC and HTTP+JSON of 1.0 (specification §9, §11), JSON-RPC of 0.3. Pure functions; no I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from adapters.a2a import errors
from adapters.a2a.remote import legacy
from adapters.a2a.remote.failures import BadAnswer, NotSent, Refused, RemoteError, Unauthorized, Unreached
from adapters.a2a.version import CURRENT
from schemas.strict_json import InvalidJson, dump_json, parse_json

REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        kind.rpc: kind.reason
        for kind in (
            errors.TASK_NOT_FOUND,
            errors.TASK_NOT_CANCELABLE,
            errors.PUSH_NOT_SUPPORTED,
            errors.UNSUPPORTED_OPERATION,
            errors.CONTENT_TYPE_NOT_SUPPORTED,
            errors.INVALID_AGENT_RESPONSE,
            errors.EXTENDED_CARD_NOT_CONFIGURED,
            errors.EXTENSION_REQUIRED,
            errors.VERSION_NOT_SUPPORTED,
            errors.PARSE,
            errors.INVALID_REQUEST,
            errors.METHOD_NOT_FOUND,
            errors.INVALID_PARAMS,
            errors.INTERNAL,
        )
    }
)
"""The name of each error by its JSON-RPC code."""
_LONGEST: Final = 500
"""Of what a remote agent says about an error; the rest is left out."""


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it goes out."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class Binding(Protocol):
    """One way to speak."""

    def write(self, operation: str, params: Mapping[str, Any], *, streaming: bool = False) -> Written:
        """The call of an operation. Raises Refused when this version of the protocol has none."""

    def read(self, status: int, body: bytes) -> Any:
        """The result that an answer holds, in the words of 1.0.

        Raises:
            RemoteError: it holds none.
        """

    def event(self, data: bytes) -> Any:
        """The `StreamResponse` that an event of a stream holds. Raises as `read`."""


class JsonRpc:
    """JSON-RPC of 1.0."""

    def __init__(self, url: str, tenant: str | None = None) -> None:
        self._url = url
        self._tenant = tenant

    def write(self, operation: str, params: Mapping[str, Any], *, streaming: bool = False) -> Written:
        """A POST of one request."""
        said = {**params, "tenant": self._tenant} if self._tenant else params
        body = {"jsonrpc": "2.0", "id": 1, "method": operation, "params": said}
        return Written("POST", self._url, {**_json(streaming), "A2A-Version": CURRENT}, dump_json(body))

    def read(self, status: int, body: bytes) -> Any:
        """The `result`."""
        return _result(status, body)

    def event(self, data: bytes) -> Any:
        """The `result` of the answer that each event is."""
        return _result(200, data)


class LegacyJsonRpc:
    """JSON-RPC of 0.3."""

    def __init__(self, url: str) -> None:
        self._url = url

    def write(self, operation: str, params: Mapping[str, Any], *, streaming: bool = False) -> Written:
        """A POST of one request, under the method's old name."""
        method = legacy.METHODS.get(operation)
        if method is None:
            raise Refused("METHOD_NOT_FOUND", f"A2A 0.3 has no {operation}")
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": legacy.params_told(operation, params)}
        return Written("POST", self._url, _json(streaming), dump_json(body))

    def read(self, status: int, body: bytes) -> Any:
        """The `result`; a bare task stays one."""
        result = _result(status, body)
        framed = legacy.frame_of(result)
        return framed if framed is not result else legacy.task_of(result)

    def event(self, data: bytes) -> Any:
        """The `result` of the answer that each event is."""
        return legacy.frame_of(_result(200, data))


class Rest:
    """HTTP+JSON of 1.0."""

    def __init__(self, url: str, tenant: str | None = None) -> None:
        self._base = url.rstrip("/") + (f"/{quote(tenant, safe='')}" if tenant else "")

    def write(self, operation: str, params: Mapping[str, Any], *, streaming: bool = False) -> Written:
        """A request on the operation's own path."""
        headers = {"Accept": _ACCEPTS[streaming], "A2A-Version": CURRENT}
        task = f"/tasks/{quote(str(params.get('id', '')), safe='')}"
        match operation:
            case "SendMessage" | "SendStreamingMessage":
                path = "/message:send" if operation == "SendMessage" else "/message:stream"
                return Written("POST", self._base + path, {**headers, **_TYPE}, dump_json(params))
            case "CancelTask":
                body = {name: value for name, value in params.items() if name != "id"}
                return Written("POST", f"{self._base}{task}:cancel", {**headers, **_TYPE}, dump_json(body))
            case "SubscribeToTask":
                return Written("POST", f"{self._base}{task}:subscribe", headers, None)
            case "GetTask":
                query = {name: value for name, value in params.items() if name != "id"}
                return Written("GET", self._base + task + _query(query), headers, None)
            case "ListTasks":
                return Written("GET", f"{self._base}/tasks{_query(params)}", headers, None)
        raise Refused("METHOD_NOT_FOUND", f"{operation} is not called by this hub")

    def read(self, status: int, body: bytes) -> Any:
        """The body."""
        value = _parsed(status, body)
        if status >= 300 or (type(value) is dict and type(value.get("error")) is dict):
            raise _rest_error(status, value)
        return value

    def event(self, data: bytes) -> Any:
        """The event's data."""
        return self.read(200, data)


def binding_of(interface: Mapping[str, Any]) -> Binding:
    """The binding of an interface that `card.py` has chosen."""
    url, tenant = interface["url"], interface.get("tenant")
    if interface["version"] != CURRENT:
        return LegacyJsonRpc(url)
    return JsonRpc(url, tenant) if interface["binding"] == "JSONRPC" else Rest(url, tenant)


_TYPE: Final = {"Content-Type": "application/json"}
_ACCEPTS: Final = {False: "application/json, application/a2a+json", True: "text/event-stream"}


def _json(streaming: bool) -> dict[str, str]:
    return {**_TYPE, "Accept": "text/event-stream, application/json" if streaming else "application/json"}


def _query(params: Mapping[str, Any]) -> str:
    said = {
        name: str(value).lower() if type(value) is bool else value
        for name, value in params.items()
        if value is not None
    }
    return f"?{urlencode(said)}" if said else ""


def _parsed(status: int, body: bytes) -> Any:
    """The JSON of an answer. Without any, the status is all that is said.

    Raises:
        RemoteError: there is none.
    """
    try:
        return parse_json(body)
    except InvalidJson as error:
        raise of_status(status) from error


def of_status(status: int) -> RemoteError:
    """What an answer without a word of A2A means."""
    if status in (401, 403):
        return Unauthorized(f"the remote agent does not accept the hub's credential (HTTP {status})")
    if status in (429, 503):
        return NotSent(f"the remote agent has no room now (HTTP {status})")
    if status >= 500:
        return Unreached(f"the remote agent failed (HTTP {status})")
    if status == 404:
        return BadAnswer("there is no A2A at that address (HTTP 404)")
    return BadAnswer(f"the remote agent answered with no A2A (HTTP {status})")


def _result(status: int, body: bytes) -> Any:
    if status in (401, 403):
        raise of_status(status)
    value = _parsed(status, body)
    if type(value) is not dict or value.get("jsonrpc") != "2.0":
        raise of_status(status)
    problem = value.get("error")
    if problem is None:
        if "result" not in value:
            raise BadAnswer("the answer has neither a result nor an error")
        return value["result"]
    code = problem.get("code") if type(problem) is dict else None
    message = problem.get("message") if type(problem) is dict else None
    if status in (429, 503):
        raise of_status(status)
    raise Refused(REASONS.get(code, f"CODE_{code}") if type(code) is int else "UNKNOWN", _words(message))


def _rest_error(status: int, value: Any) -> RemoteError:
    if status in (401, 403, 429, 503):
        return of_status(status)
    problem = value.get("error") if type(value) is dict else None
    if type(problem) is not dict:
        return of_status(status)
    details = problem.get("details")
    for detail in details if type(details) is list else ():
        reason = detail.get("reason") if type(detail) is dict else None
        if type(reason) is str and reason:
            return Refused(reason, _words(problem.get("message")))
    if status >= 500:
        return of_status(status)
    return Refused("TASK_NOT_FOUND" if status == 404 else "INVALID_PARAMS", _words(problem.get("message")))


def _words(message: Any) -> str:
    return message[:_LONGEST] if type(message) is str and message else "no reason was given"
