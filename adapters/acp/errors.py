"""One table from the platform's errors to ACP's, total and indexed. Texts are shown to users: short."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from adapters import jsonrpc
from adapters.jsonrpc_peer import TOO_MANY, Closed, RpcError
from core.errors import HubError
from schemas.errors import ErrorCode

AUTH_REQUIRED: Final = -32000
RESOURCE_NOT_FOUND: Final = -32002

# What the protocol has no number for is numbered like HTTP, below what JSON-RPC keeps for itself.
FORBIDDEN: Final = -31403
CONFLICT: Final = -31409
UPSTREAM: Final = -31502
UNAVAILABLE: Final = -31503

OF_CODE: Final[Mapping[ErrorCode, int]] = MappingProxyType(
    {
        ErrorCode.VALIDATION_ERROR: jsonrpc.INVALID_PARAMS,
        ErrorCode.CYCLE_DETECTED: jsonrpc.INVALID_PARAMS,
        ErrorCode.BAD_REQUEST: jsonrpc.INVALID_REQUEST,
        ErrorCode.UNAUTHORIZED: AUTH_REQUIRED,
        ErrorCode.FORBIDDEN: FORBIDDEN,
        ErrorCode.NOT_FOUND: RESOURCE_NOT_FOUND,
        ErrorCode.METHOD_NOT_ALLOWED: jsonrpc.INVALID_REQUEST,
        ErrorCode.CONFLICT: CONFLICT,
        ErrorCode.AGENT_BUSY: CONFLICT,
        ErrorCode.INVALID_STATE_TRANSITION: CONFLICT,
        ErrorCode.GONE: RESOURCE_NOT_FOUND,
        ErrorCode.PAYLOAD_TOO_LARGE: jsonrpc.INVALID_REQUEST,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE: jsonrpc.INVALID_REQUEST,
        ErrorCode.SCHEMA_VALIDATION_FAILED: jsonrpc.INVALID_PARAMS,
        ErrorCode.RATE_LIMITED: TOO_MANY,
        ErrorCode.INTERNAL_ERROR: jsonrpc.INTERNAL_ERROR,
        ErrorCode.BAD_GATEWAY: UPSTREAM,
        ErrorCode.SERVICE_UNAVAILABLE: UNAVAILABLE,
    }
)

_log = logging.getLogger(__name__)


def describe(error: Exception) -> RpcError:
    """What the client is told about a failure. One that nobody expected is logged and told as a fault.

    Raises:
        Closed: the connection has ended, so that nothing can be told.
    """
    if isinstance(error, Closed):
        raise error
    if isinstance(error, RpcError):
        return error
    if not isinstance(error, HubError):
        _log.error("an ACP method failed", exc_info=error)
        return RpcError(jsonrpc.INTERNAL_ERROR, "The hub failed here; the fault has been logged.")
    code = OF_CODE[error.code]
    if code == RESOURCE_NOT_FOUND:
        # Details of a missing thing could tell it from a foreign one.
        return RpcError(code, "No such session.")
    return RpcError(code, _sentence(error.message), dict(error.details) or None)


def no_session(session_id: str) -> RpcError:
    """Unknown, foreign and deleted sessions: one answer."""
    return RpcError(RESOURCE_NOT_FOUND, "No such session.", {"uri": session_id[:1024]})


def invalid(field: str, why: str) -> RpcError:
    """A parameter is wrong."""
    return RpcError(jsonrpc.INVALID_PARAMS, f"{field} {why}", {"field": field})


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")
