"""What both HTTP bindings read from a request in the same way: headers, query, body, caller."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final, Protocol
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from adapters.a2a import errors
from adapters.a2a.agent import ExposedAgent
from adapters.a2a.dispatch import Call, ClientGone, through
from adapters.a2a.errors import A2AError, invalid
from adapters.a2a.sse import disconnected
from adapters.a2a.version import extensions
from core.caller import Caller
from schemas.vocabulary import Face


class Authenticator(Protocol):
    """Who tells the caller of a request (`hub/authentication.py`)."""

    async def identify(self, scope: Scope, face: str) -> Caller:
        """Who calls, through which face.

        Raises:
            HubError: no valid credential.
        """

    async def ended(self, scope: Scope) -> None:
        """Return when the request's credential proves nothing any more."""


Answer = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI response."""

Addressed = Callable[[Scope, Caller], Awaitable[ExposedAgent]]
"""Finds the agent that a request addresses. Raises A2AError when there is none for its caller."""


def always(agent: ExposedAgent) -> Addressed:
    """Finds one and the same."""

    async def found(scope: Scope, caller: Caller) -> ExposedAgent:
        return agent

    return found


FACE: Final = Face.A2A.value
_VERSION: Final = b"a2a-version"


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name, trimmed; None when it is absent or empty."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1").strip() or None
    return None


def query(scope: Scope) -> dict[str, str]:
    """The query parameters; of a repeated one the last counts.

    Raises:
        A2AError: they cannot be decoded, or hold a NUL.
    """
    raw: bytes = scope["query_string"]
    if not raw:
        return {}
    try:
        pairs = dict(
            parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
        )
    except ValueError:
        raise A2AError(errors.INVALID_REQUEST, "The query cannot be decoded.") from None
    for name, value in pairs.items():
        if "\0" in value:
            raise invalid(name[:60].replace("\0", ""), "a NUL character is not accepted")
    return pairs


def named_version(scope: Scope) -> str | None:
    """The version that a request names, in its header or in its query."""
    named = header(scope, _VERSION)
    if named is None and _VERSION in scope["query_string"].lower():
        for name, value in query(scope).items():
            if name.lower() == "a2a-version":
                return value.strip() or None
    return named


async def call_of(
    scope: Scope, receive: Receive, addressed: Addressed, authenticator: Authenticator, held: ExitStack
) -> Call:
    """The authenticated call that a request makes.

    Raises:
        HubError: no valid credential.
        A2AError: it addresses no agent.
    """
    caller = await authenticator.identify(scope, FACE)
    agent = await addressed(scope, caller)
    return Call(
        through(caller, agent),
        agent,
        idempotency_key=header(scope, b"idempotency-key"),
        last_event_id=header(scope, b"last-event-id"),
        extensions=extensions(header(scope, b"a2a-extensions") or header(scope, b"x-a2a-extensions")),
        gone=lambda: disconnected(receive),
        held=held,
    )


async def body_of(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        A2AError: it is larger than `limit`, or compressed.
        ClientGone: the client hung up before its end.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise A2AError(errors.MEDIA_TYPE, "Compressed bodies are not read.")
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def check_json(scope: Scope, *also: str) -> None:
    """Refuse a body that is not declared as JSON.

    Raises:
        A2AError: it is declared as something else, or as nothing.
    """
    declared = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if declared != "application/json" and declared not in also:
        said = f"not {declared[:60]!r}" if declared else "and it must be said"
        raise A2AError(errors.MEDIA_TYPE, f"Content-Type must be application/json, {said}.")


def _too_large(limit: int) -> A2AError:
    return A2AError(errors.TOO_LARGE, f"The body is larger than {limit} bytes.")
