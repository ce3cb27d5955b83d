"""Every A2A error, and how each binding tells it (specification §5.4, §9.5, §11.6).

One table leads from the platform's `ErrorCode` to an A2A error; it is total, and it is indexed, never
guessed. Nothing here looks at a request: `describe` turns an exception into an `A2AError`, the bindings
render that.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from adapters import jsonrpc
from core.errors import HubError, TooMany
from schemas.errors import ErrorCode

logger = logging.getLogger(__name__)

A2A_DOMAIN: Final = "a2a-protocol.org"
HUB_DOMAIN: Final = "crossdock"
"""The domain of reasons that the protocol does not know."""

_TYPE: Final = "type.googleapis.com/google.rpc."


@dataclass(frozen=True, slots=True)
class Kind:
    """One error on all bindings: JSON-RPC code, HTTP status, gRPC status and the reason in its details."""

    rpc: int
    http: int
    status: str
    reason: str
    domain: str = A2A_DOMAIN
    of_transport: bool = False
    """It concerns the HTTP exchange itself, so that a JSON-RPC answer keeps its HTTP status."""


TASK_NOT_FOUND: Final = Kind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
TASK_NOT_CANCELABLE: Final = Kind(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
PUSH_NOT_SUPPORTED: Final = Kind(-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")
UNSUPPORTED_OPERATION: Final = Kind(-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
CONTENT_TYPE_NOT_SUPPORTED: Final = Kind(-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
INVALID_AGENT_RESPONSE: Final = Kind(-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE")
EXTENDED_CARD_NOT_CONFIGURED: Final = Kind(
    -32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED"
)
EXTENSION_REQUIRED: Final = Kind(-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
VERSION_NOT_SUPPORTED: Final = Kind(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")

PARSE: Final = Kind(jsonrpc.PARSE_ERROR, 400, "INVALID_ARGUMENT", "PARSE_ERROR")
INVALID_REQUEST: Final = Kind(jsonrpc.INVALID_REQUEST, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
METHOD_NOT_FOUND: Final = Kind(jsonrpc.METHOD_NOT_FOUND, 404, "NOT_FOUND", "METHOD_NOT_FOUND")
INVALID_PARAMS: Final = Kind(jsonrpc.INVALID_PARAMS, 400, "INVALID_ARGUMENT", "INVALID_PARAMS")
INTERNAL: Final = Kind(jsonrpc.INTERNAL_ERROR, 500, "INTERNAL", "INTERNAL_ERROR")


def _of_hub(rpc: int, http: int, status: str, reason: str, *, of_transport: bool = False) -> Kind:
    return Kind(rpc, http, status, reason, HUB_DOMAIN, of_transport)


# JSON-RPC keeps -32768 to -32000 for itself and A2A; what only the hub knows is numbered like HTTP, below.
UNAUTHENTICATED: Final = _of_hub(-31401, 401, "UNAUTHENTICATED", "UNAUTHENTICATED", of_transport=True)
FORBIDDEN: Final = _of_hub(-31403, 403, "PERMISSION_DENIED", "FORBIDDEN", of_transport=True)
AGENT_NOT_FOUND: Final = _of_hub(
    jsonrpc.METHOD_NOT_FOUND, 404, "NOT_FOUND", "AGENT_NOT_FOUND", of_transport=True
)
METHOD_NOT_ALLOWED: Final = _of_hub(
    jsonrpc.INVALID_REQUEST, 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", of_transport=True
)
CONFLICT: Final = _of_hub(-31409, 409, "ABORTED", "CONFLICT")
AGENT_BUSY: Final = _of_hub(-31409, 409, "FAILED_PRECONDITION", "AGENT_BUSY")
GONE: Final = _of_hub(-31410, 410, "OUT_OF_RANGE", "GONE")
TOO_LARGE: Final = _of_hub(
    jsonrpc.INVALID_REQUEST, 413, "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE", of_transport=True
)
MEDIA_TYPE: Final = _of_hub(
    jsonrpc.INVALID_REQUEST, 415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE", of_transport=True
)
RATE_LIMITED: Final = _of_hub(-31429, 429, "RESOURCE_EXHAUSTED", "RATE_LIMITED", of_transport=True)
BAD_GATEWAY: Final = _of_hub(-31502, 502, "UNAVAILABLE", "BAD_GATEWAY")
UNAVAILABLE: Final = _of_hub(-31503, 503, "UNAVAILABLE", "SERVICE_UNAVAILABLE", of_transport=True)

OF_CODE: Final[Mapping[ErrorCode, Kind]] = MappingProxyType(
    {
        ErrorCode.VALIDATION_ERROR: INVALID_PARAMS,
        ErrorCode.CYCLE_DETECTED: INVALID_PARAMS,
        ErrorCode.BAD_REQUEST: INVALID_REQUEST,
        ErrorCode.UNAUTHORIZED: UNAUTHENTICATED,
        ErrorCode.FORBIDDEN: FORBIDDEN,
        ErrorCode.NOT_FOUND: TASK_NOT_FOUND,
        ErrorCode.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED,
        ErrorCode.CONFLICT: CONFLICT,
        ErrorCode.AGENT_BUSY: AGENT_BUSY,
        ErrorCode.INVALID_STATE_TRANSITION: UNSUPPORTED_OPERATION,
        ErrorCode.GONE: GONE,
        ErrorCode.PAYLOAD_TOO_LARGE: TOO_LARGE,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE: MEDIA_TYPE,
        ErrorCode.SCHEMA_VALIDATION_FAILED: INVALID_PARAMS,
        ErrorCode.RATE_LIMITED: RATE_LIMITED,
        ErrorCode.INTERNAL_ERROR: INTERNAL,
        ErrorCode.BAD_GATEWAY: BAD_GATEWAY,
        ErrorCode.SERVICE_UNAVAILABLE: UNAVAILABLE,
    }
)
"""What a platform error is in A2A. An operation that knows better says so before (cancel: not cancelable)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong: its path in the JSON names, and why."""

    field: str
    description: str


class A2AError(Exception):
    """A refusal in the protocol's own words. Everything in it is public."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.violations = violations
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that belong to it on every binding over HTTP."""
        headers = {}
        if self.kind is UNAUTHENTICATED:
            headers["WWW-Authenticate"] = 'Bearer realm="crossdock"'
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        return headers

    @property
    def details(self) -> list[dict[str, Any]]:
        """The typed details (`google.rpc`), an `ErrorInfo` first."""
        kind = self.kind
        info = {"@type": _TYPE + "ErrorInfo", "reason": kind.reason, "domain": kind.domain}
        details: list[dict[str, Any]] = [{**info, "metadata": self.metadata} if self.metadata else info]
        if self.violations:
            fields = [{"field": v.field, "description": v.description} for v in self.violations]
            details.append({"@type": _TYPE + "BadRequest", "fieldViolations": fields})
        if self.retry_after is not None:
            details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{self.retry_after:g}s"})
        return details

    @property
    def status(self) -> dict[str, Any]:
        """The body of HTTP+JSON: a `google.rpc.Status` as AIP-193 writes it."""
        kind = self.kind
        body = {"code": kind.http, "status": kind.status, "message": self.message, "details": self.details}
        return {"error": body}


def describe(error: Exception) -> A2AError:
    """What the caller is told about an exception. One that nobody expected is logged and told as a fault."""
    if isinstance(error, A2AError):
        return error
    if isinstance(error, HubError):
        return _of_hub_error(error)
    logger.error("an A2A operation failed", exc_info=error)
    return A2AError(INTERNAL, "The hub failed to answer; the fault has been logged.")


def _of_hub_error(error: HubError) -> A2AError:
    kind = OF_CODE[error.code]
    if kind is TASK_NOT_FOUND:
        # Details of a missing thing could tell it from a foreign one.
        return A2AError(kind, "No such task.")
    metadata = {name: value for name, value in error.details.items() if isinstance(value, str)}
    if error.hint:
        metadata["hint"] = error.hint
    issues = error.details.get("issues", {}).get("fieldErrors", {})
    return A2AError(
        kind,
        error.message,
        violations=[Violation(field, said) for field, all_said in issues.items() for said in all_said],
        metadata=metadata,
        retry_after=error.retry_after if isinstance(error, TooMany) else None,
    )


def invalid(field: str, description: str) -> A2AError:
    """One field is wrong."""
    return A2AError(INVALID_PARAMS, f"{field}: {description}", violations=[Violation(field, description)])
