"""What can go wrong with a call to a remote agent, told apart by what the caller may do next."""

import aiohttp

from adapters.outbound import Failure, OutboundError


class RemoteError(Exception):
    """A call that brought no result. Its text is safe to show."""


class NotSent(RemoteError):
    """The remote agent has certainly not acted on the call; it may be repeated."""


class Unreached(RemoteError):
    """Nobody knows whether the remote agent got the call."""


class Unauthorized(RemoteError):
    """The remote agent does not accept the hub's credential, and has not acted on the call."""


class BadAnswer(RemoteError):
    """The remote agent answered with something that is no A2A."""


class Refused(RemoteError):
    """The remote agent refused, in the protocol's words. `reason` is the error's name (§5.4)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def failure_of(error: OutboundError) -> RemoteError:
    """What a failed HTTP call means: it was never sent, or nobody knows."""
    if error.failure is Failure.TOO_LARGE:
        return BadAnswer("the answer is too large")
    cause = error.__cause__
    connecting = isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    if connecting or error.failure in (Failure.BLOCKED, Failure.TLS):
        return NotSent(f"the remote agent could not be called: {error.failure.value}")
    return Unreached(f"the connection to the remote agent failed: {error.failure.value}")
