"""Why there is no token, in words that may be shown: they repeat nothing that a server said."""

from typing import Any

from adapters.outbound import Answer, OutboundError
from schemas.strict_json import InvalidJson, parse_json


class OAuthFailure(Exception):
    """There is no token. `code` is for programs; `retryable`: the same step may succeed later."""

    def __init__(self, code: str, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retryable = retryable


class Refused(OAuthFailure):
    """An authorization server said no; `error` is its word for why (RFC 6749 §5.2), if it is a known one."""

    def __init__(self, what: str, error: str | None, status: int) -> None:
        super().__init__(error or "refused", f"{what}: {error or f'HTTP {status}'}")
        self.error = error
        self.definite = error is not None or status in (400, 401)
        """Whether it said so as OAuth does, and not some proxy before it."""


def unreachable(what: str, error: OutboundError) -> OAuthFailure:
    """A call that brought no answer."""
    return OAuthFailure("unreachable", f"{what} cannot be reached: {error}", retryable=True)


def object_of(answer: Answer, what: str) -> dict[str, Any]:
    """The JSON object that an answer holds.

    Raises:
        OAuthFailure: it holds none.
    """
    try:
        told = parse_json(answer.body)
    except InvalidJson:
        told = None
    if type(told) is not dict:
        raise OAuthFailure("malformed", f"{what} answered with no JSON object")
    return told
