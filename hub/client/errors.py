"""What can go wrong when the hub is asked: one exception per error code of its API.

CrossdockError
├── Unreachable             no answer, or none that can be trusted
├── WaitTimeout             the time given to `wait` is over; the task goes on
└── ApiError                the hub answered with an error
    ├── Invalid             400 VALIDATION_ERROR, BAD_REQUEST, CYCLE_DETECTED
    │   └── SchemaInvalid   422 SCHEMA_VALIDATION_FAILED
    ├── Unauthorized        401 UNAUTHORIZED
    ├── Forbidden           403 FORBIDDEN
    ├── NotFound            404 NOT_FOUND
    ├── MethodNotAllowed    405 METHOD_NOT_ALLOWED
    ├── Conflict            409 CONFLICT; `reason_code` tells which
    │   ├── AgentBusy       409 AGENT_BUSY
    │   └── InvalidTransition  409 INVALID_STATE_TRANSITION
    ├── Gone                410 GONE: the cursor is older than what the hub keeps
    ├── PayloadTooLarge     413 PAYLOAD_TOO_LARGE
    ├── UnsupportedMediaType   415 UNSUPPORTED_MEDIA_TYPE
    ├── RateLimited         429 RATE_LIMITED
    └── ServerFault         500 INTERNAL_ERROR
        ├── BadGateway      502 BAD_GATEWAY
        └── Unavailable     503 SERVICE_UNAVAILABLE
"""

from collections.abc import Mapping
from typing import Any


class CrossdockError(Exception):
    """The call did not do what was asked."""


class Unreachable(CrossdockError):
    """No answer came, or one that is not the hub's. Whether the call took effect is not known."""


class WaitTimeout(CrossdockError, TimeoutError):
    """The task was not final in time. It goes on; waiting again continues."""


class ApiError(CrossdockError):
    """The hub answered with an error and changed nothing."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        recovery_hint: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details: Mapping[str, Any] = details or {}
        self.recovery_hint = recovery_hint
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def reason_code(self) -> str | None:
        """The machine-readable reason inside `details`, where the hub gives one."""
        reason = self.details.get("reason_code")
        return reason if isinstance(reason, str) else None

    def __str__(self) -> str:
        reason = f" {self.reason_code}" if self.reason_code else ""
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.code}{reason}: {self.message}{request}"


class Invalid(ApiError):
    """The request breaks a rule; sending it again will not help."""


class SchemaInvalid(Invalid):
    """The body does not have the route's shape; `field_errors` says where."""

    @property
    def field_errors(self) -> Mapping[str, list[str]]:
        """The complaints per top-level field."""
        issues = self.details.get("issues")
        fields = issues.get("fieldErrors") if isinstance(issues, Mapping) else None
        return fields if isinstance(fields, Mapping) else {}


class Unauthorized(ApiError):
    """The key is missing, malformed, unknown, revoked or expired."""


class Forbidden(ApiError):
    """The key is good and may not do this."""


class NotFound(ApiError):
    """No such thing, or not one that this key may see."""


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""


class Conflict(ApiError):
    """Allowed, and too late or at the wrong moment."""

    @property
    def lease_lost(self) -> bool:
        """Whether the conflict says that the caller does not execute the task any more."""
        return self.reason_code in LEASE_LOST


class AgentBusy(Conflict):
    """The agent has no place for as many tasks."""


class InvalidTransition(Conflict):
    """The task's state does not allow this move."""


class Gone(ApiError):
    """The events after this cursor are not kept any more; `details` names the oldest that are."""


class PayloadTooLarge(ApiError):
    """The body is larger than the route takes."""


class UnsupportedMediaType(ApiError):
    """The body's content type is not one that the route reads."""


class RateLimited(ApiError):
    """Too many requests; `retry_after` says when to come back."""


class ServerFault(ApiError):
    """The hub failed."""


class BadGateway(ServerFault):
    """Something behind the hub failed."""


class Unavailable(ServerFault):
    """The hub, or its database, cannot answer now."""


LEASE_LOST = frozenset({"lease_expired", "task_ownership_moved", "task_already_cancelled"})
"""The reasons with which the hub tells an executor to drop its result."""

BY_CODE: Mapping[str, type[ApiError]] = {
    "AGENT_BUSY": AgentBusy,
    "BAD_GATEWAY": BadGateway,
    "BAD_REQUEST": Invalid,
    "CONFLICT": Conflict,
    "CYCLE_DETECTED": Invalid,
    "FORBIDDEN": Forbidden,
    "GONE": Gone,
    "INTERNAL_ERROR": ServerFault,
    "INVALID_STATE_TRANSITION": InvalidTransition,
    "METHOD_NOT_ALLOWED": MethodNotAllowed,
    "NOT_FOUND": NotFound,
    "PAYLOAD_TOO_LARGE": PayloadTooLarge,
    "RATE_LIMITED": RateLimited,
    "SCHEMA_VALIDATION_FAILED": SchemaInvalid,
    "SERVICE_UNAVAILABLE": Unavailable,
    "UNAUTHORIZED": Unauthorized,
    "UNSUPPORTED_MEDIA_TYPE": UnsupportedMediaType,
    "VALIDATION_ERROR": Invalid,
}

BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    410: Gone,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: SchemaInvalid,
    429: RateLimited,
    500: ServerFault,
    502: BadGateway,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, body: object, headers: Mapping[str, str]) -> ApiError:
    """The exception for an error answer, whoever gave it: a proxy's answer has no envelope, only a status."""
    envelope = body if isinstance(body, Mapping) else {}
    error = envelope.get("error")
    error = error if isinstance(error, Mapping) else {}
    meta = envelope.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    code = str(error.get("code") or "")
    details = error.get("details")
    kind = BY_CODE.get(code) or BY_STATUS.get(status) or (ServerFault if status >= 500 else ApiError)
    return kind(
        str(error.get("message") or f"the answer has status {status} and no error envelope"),
        status=status,
        code=code,
        details=details if isinstance(details, Mapping) else None,
        recovery_hint=error.get("recovery_hint"),
        request_id=meta.get("request_id") or headers.get("x-request-id"),
        retry_after=_seconds(headers.get("retry-after")),
    )


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:  # an HTTP date: the hub sends none, and a guess would be worse than our own backoff
        return None
