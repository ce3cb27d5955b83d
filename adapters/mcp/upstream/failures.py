"""Why a server that the hub calls gave no answer. Texts are safe to show: they hold nothing of its body."""

from adapters.outbound import Failure, OutboundError


class UpstreamError(Exception):
    """A call that brought no answer of the protocol. Not raised itself: a child is."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unreachable(UpstreamError):
    """It could not be reached, hung up in the middle, or says itself that it is not well."""

    def __init__(self, message: str, *, status: int | None = None, sent: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.sent = sent
        """Whether the server may have got the request."""


class TimedOut(UpstreamError):
    """It took longer than the call may. The hub's own verdict, never the server's."""


class NeedsAuth(UpstreamError):
    """It does not accept the hub's credential, or asks for one, or for more scopes."""

    def __init__(self, message: str, *, status: int = 401, challenge: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.challenge = challenge
        """`WWW-Authenticate`, for whoever authorizes the hub."""


class BadAnswer(UpstreamError):
    """It answered, but not as the protocol asks."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TooLarge(BadAnswer):
    """Its answer is larger than the hub takes."""


def failure_of(error: OutboundError) -> UpstreamError:
    """What a failed call over HTTP means."""
    if error.failure is Failure.TOO_LARGE:
        return TooLarge("the answer is too large")
    sent = error.failure not in (Failure.BLOCKED, Failure.TLS)
    texts = {
        Failure.BLOCKED: "the hub does not call there (blocked)",
        Failure.TLS: "no safe connection could be made (tls)",
        Failure.TIMEOUT: "no connection in time (timeout)",
    }
    return Unreachable(texts.get(error.failure, "no connection (unreachable)"), sent=sent)
