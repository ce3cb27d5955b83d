"""What a command may refuse, each bound to one `ErrorCode`.

    HubError
    ├── Invalid                 400
    ├── Unauthenticated         401
    ├── Forbidden               403
    ├── NotFound                404
    ├── Conflict                409
    │   ├── InvalidTransition
    │   └── AgentBusy
    ├── Gone                    410
    ├── TooLarge                413
    ├── Unprocessable           422
    ├── TooMany                 429
    ├── UpstreamFailed          502
    └── Unavailable             503

A child exists only where a caller acts differently. Causes go to the log, not into `details`: those are
public.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from schemas.errors import ErrorCode


class HubError(Exception):
    """A refusal that is told to the caller. Not raised itself: raise a child."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR

    def __init__(
        self, message: str, *, details: Mapping[str, Any] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.hint = hint


class Invalid(HubError):
    """A query, path or rule of meaning was broken."""

    code = ErrorCode.VALIDATION_ERROR


class Unauthenticated(HubError):
    """No valid credential."""

    code = ErrorCode.UNAUTHORIZED


class Forbidden(HubError):
    """A valid credential that may not do this."""

    code = ErrorCode.FORBIDDEN


class NotFound(HubError):
    """No such thing, or not the caller's to see: the two are never told apart."""

    code = ErrorCode.NOT_FOUND


class Conflict(HubError):
    """It clashes with what exists."""

    code = ErrorCode.CONFLICT


class InvalidTransition(Conflict):
    """The present state does not allow this move."""

    code = ErrorCode.INVALID_STATE_TRANSITION


class AgentBusy(Conflict):
    """The agent already holds as much work as it may."""

    code = ErrorCode.AGENT_BUSY


class Gone(HubError):
    """Retention has passed it by; `details` say where to begin again."""

    code = ErrorCode.GONE


class TooLarge(HubError):
    """The body or one of its parts is larger than allowed."""

    code = ErrorCode.PAYLOAD_TOO_LARGE


class Unprocessable(HubError):
    """A body that does not match its schema. `details.issues` name the fields."""

    code = ErrorCode.SCHEMA_VALIDATION_FAILED

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        form: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
        hint: str | None = None,
    ) -> None:
        issues = {
            "fieldErrors": {name: list(said) for name, said in (fields or {}).items()},
            "formErrors": list(form),
        }
        super().__init__(message, details={"issues": issues, **(details or {})}, hint=hint)


class TooMany(HubError):
    """A limit was reached; `retry_after` is in seconds, when known."""

    code = ErrorCode.RATE_LIMITED

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, details=details, hint=hint)
        self.retry_after = retry_after


class UpstreamFailed(HubError):
    """A server that the hub called failed or answered wrongly."""

    code = ErrorCode.BAD_GATEWAY


class Unavailable(HubError):
    """The hub cannot reach something it needs, or is stopping. The same call may succeed later."""

    code = ErrorCode.SERVICE_UNAVAILABLE
