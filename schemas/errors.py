"""Every error code of the platform and what it means on each transport.

Not here: JSON-RPC numbers. The same number means different things in different protocols, so each JSON-RPC
adapter keeps its own table from `ErrorCode`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class ErrorCode(StrEnum):
    """The `error.code` of an answer. Clients branch on it; the message is for people."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    CYCLE_DETECTED = "CYCLE_DETECTED"
    BAD_REQUEST = "BAD_REQUEST"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    AGENT_BUSY = "AGENT_BUSY"
    INVALID_STATE_TRANSITION = "INVALID_STATE_TRANSITION"
    GONE = "GONE"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    SCHEMA_VALIDATION_FAILED = "SCHEMA_VALIDATION_FAILED"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    BAD_GATEWAY = "BAD_GATEWAY"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    """How one code is told on each transport."""

    http: int
    """HTTP status."""
    grpc: str
    """Name of the gRPC status code."""
    retryable: bool
    """Whether the same request may succeed later without being changed."""
    meaning: str
    """One sentence for the API reference."""


MEANINGS: Mapping[ErrorCode, ErrorMeaning] = MappingProxyType(
    {
        ErrorCode.VALIDATION_ERROR: ErrorMeaning(
            400, "INVALID_ARGUMENT", False, "A query, path or rule of meaning was broken."
        ),
        ErrorCode.CYCLE_DETECTED: ErrorMeaning(
            400, "INVALID_ARGUMENT", False, "The dependencies would form a cycle."
        ),
        ErrorCode.BAD_REQUEST: ErrorMeaning(
            400, "INVALID_ARGUMENT", False, "The request could not be read: malformed JSON or framing."
        ),
        ErrorCode.UNAUTHORIZED: ErrorMeaning(
            401,
            "UNAUTHENTICATED",
            False,
            "The credential is missing, malformed, unknown, revoked or expired.",
        ),
        ErrorCode.FORBIDDEN: ErrorMeaning(
            403, "PERMISSION_DENIED", False, "The credential is valid but may not do this."
        ),
        ErrorCode.NOT_FOUND: ErrorMeaning(404, "NOT_FOUND", False, "No such thing, or not yours to see."),
        ErrorCode.METHOD_NOT_ALLOWED: ErrorMeaning(
            405, "UNIMPLEMENTED", False, "The path exists but does not answer this method."
        ),
        ErrorCode.CONFLICT: ErrorMeaning(
            409,
            "ABORTED",
            False,
            "It clashes with what exists: uniqueness, a concurrent change or a replay mismatch.",
        ),
        ErrorCode.AGENT_BUSY: ErrorMeaning(
            409, "FAILED_PRECONDITION", True, "The agent already holds as much work as it may."
        ),
        ErrorCode.INVALID_STATE_TRANSITION: ErrorMeaning(
            409, "FAILED_PRECONDITION", False, "The present state does not allow this move."
        ),
        ErrorCode.GONE: ErrorMeaning(
            410,
            "OUT_OF_RANGE",
            False,
            "It existed once, but retention has removed it; the cursor is too old.",
        ),
        ErrorCode.PAYLOAD_TOO_LARGE: ErrorMeaning(
            413, "RESOURCE_EXHAUSTED", False, "The body or one of its parts is larger than allowed."
        ),
        ErrorCode.UNSUPPORTED_MEDIA_TYPE: ErrorMeaning(
            415, "INVALID_ARGUMENT", False, "The body's media type is not understood here."
        ),
        ErrorCode.SCHEMA_VALIDATION_FAILED: ErrorMeaning(
            422, "INVALID_ARGUMENT", False, "The body does not match its schema."
        ),
        ErrorCode.RATE_LIMITED: ErrorMeaning(
            429, "RESOURCE_EXHAUSTED", True, "Too many requests or too much open work; try again later."
        ),
        ErrorCode.INTERNAL_ERROR: ErrorMeaning(
            500, "INTERNAL", False, "A fault of the hub; it has been logged."
        ),
        ErrorCode.BAD_GATEWAY: ErrorMeaning(
            502, "UNAVAILABLE", True, "A server that the hub called failed or answered wrongly."
        ),
        ErrorCode.SERVICE_UNAVAILABLE: ErrorMeaning(
            503, "UNAVAILABLE", True, "The hub cannot reach something it needs, or is stopping."
        ),
    }
)
"""Total by test: indexed, never read with a default."""
