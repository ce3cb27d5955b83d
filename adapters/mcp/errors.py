"""Every MCP error: its JSON-RPC code, its HTTP status in each era, and what a platform error becomes.

The table from `ErrorCode` is total and is indexed, never guessed. A tool that refuses is no error here: its
refusal is a result with `isError`, which a model can read (`toolbox.py`).
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from adapters import jsonrpc
from core.errors import HubError, TooMany
from schemas.errors import ErrorCode

_log = logging.getLogger(__name__)

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
RESOURCE_NOT_FOUND: Final = -32002
"""Up to 2025-11-25; since then a missing resource is a wrong parameter."""
SESSION_NOT_FOUND: Final = -32001

# What only the hub knows is numbered like HTTP, outside of what JSON-RPC and MCP keep for themselves.
UNAUTHENTICATED: Final = -31401
FORBIDDEN: Final = -31403
NO_SUCH_SERVER: Final = -31404
METHOD_NOT_ALLOWED: Final = -31405
NOT_ACCEPTABLE: Final = -31406
CONFLICT: Final = -31409
GONE: Final = -31410
TOO_LARGE: Final = -31413
MEDIA_TYPE: Final = -31415
RATE_LIMITED: Final = -31429
BAD_GATEWAY: Final = -31502
UNAVAILABLE: Final = -31503

_OF_EXCHANGE: Final[Mapping[int, int]] = MappingProxyType(
    {
        UNAUTHENTICATED: 401,
        FORBIDDEN: 403,
        NO_SUCH_SERVER: 404,
        SESSION_NOT_FOUND: 404,
        METHOD_NOT_ALLOWED: 405,
        NOT_ACCEPTABLE: 406,
        TOO_LARGE: 413,
        MEDIA_TYPE: 415,
        RATE_LIMITED: 429,
        UNAVAILABLE: 503,
    }
)
"""Refusals of the HTTP exchange itself keep their status in both eras."""
_OF_MODERN: Final[Mapping[int, int]] = MappingProxyType(
    {
        jsonrpc.PARSE_ERROR: 400,
        jsonrpc.INVALID_REQUEST: 400,
        jsonrpc.INVALID_PARAMS: 400,
        jsonrpc.METHOD_NOT_FOUND: 404,
        HEADER_MISMATCH: 400,
        MISSING_CAPABILITY: 400,
        UNSUPPORTED_VERSION: 400,
    }
)

OF_CODE: Final[Mapping[ErrorCode, int]] = MappingProxyType(
    {
        ErrorCode.VALIDATION_ERROR: jsonrpc.INVALID_PARAMS,
        ErrorCode.CYCLE_DETECTED: jsonrpc.INVALID_PARAMS,
        ErrorCode.BAD_REQUEST: jsonrpc.INVALID_REQUEST,
        ErrorCode.UNAUTHORIZED: UNAUTHENTICATED,
        ErrorCode.FORBIDDEN: FORBIDDEN,
        ErrorCode.NOT_FOUND: jsonrpc.INVALID_PARAMS,
        ErrorCode.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED,
        ErrorCode.CONFLICT: CONFLICT,
        ErrorCode.AGENT_BUSY: CONFLICT,
        ErrorCode.INVALID_STATE_TRANSITION: CONFLICT,
        ErrorCode.GONE: GONE,
        ErrorCode.PAYLOAD_TOO_LARGE: TOO_LARGE,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE: MEDIA_TYPE,
        ErrorCode.SCHEMA_VALIDATION_FAILED: jsonrpc.INVALID_PARAMS,
        ErrorCode.RATE_LIMITED: RATE_LIMITED,
        ErrorCode.INTERNAL_ERROR: jsonrpc.INTERNAL_ERROR,
        ErrorCode.BAD_GATEWAY: BAD_GATEWAY,
        ErrorCode.SERVICE_UNAVAILABLE: UNAVAILABLE,
    }
)
"""What a platform error is in MCP."""


class McpError(Exception):
    """A refusal in the protocol's own words. Everything in it is public."""

    def __init__(
        self,
        code: int,
        message: str,
        data: Any = None,
        *,
        http: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.headers = dict(headers or {})
        self._http = http

    def status(self, *, modern: bool) -> int:
        """The HTTP status that carries it."""
        if self._http is not None:
            return self._http
        kept = _OF_EXCHANGE.get(self.code)
        if kept is not None:
            return kept
        return _OF_MODERN.get(self.code, 200) if modern else 200


def describe(error: Exception) -> McpError:
    """What the client is told about an exception. One that nobody expected is logged and told as a fault."""
    if isinstance(error, McpError):
        return error
    if isinstance(error, HubError):
        data = {"code": error.code.value, **({"details": error.details} if error.details else {})}
        headers = {}
        if isinstance(error, TooMany) and error.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after)))
        return McpError(OF_CODE[error.code], error.message, data, headers=headers)
    _log.error("an MCP request failed", exc_info=error)
    return McpError(jsonrpc.INTERNAL_ERROR, "The hub failed to answer; the fault has been logged.")


def invalid(message: str, data: Any = None) -> McpError:
    """A parameter is wrong."""
    return McpError(jsonrpc.INVALID_PARAMS, message, data)


def no_method(method: str) -> McpError:
    """There is no such method here."""
    return McpError(jsonrpc.METHOD_NOT_FOUND, f"No method is called {method[:60]!r} here.")
