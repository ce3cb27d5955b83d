"""How the hub answers over HTTP: one envelope for results, one shape for errors, on every route.

Refusals of the transport (a wrong method, a body that is no JSON) are `HubError`s like those of core, so that
one place renders them all. This module knows neither routes nor models.
"""

from collections.abc import Iterable, Mapping
from random import getrandbits
from typing import Any, ClassVar
from uuid import UUID

from pydantic_core import to_json
from starlette.types import Scope, Send

from core.errors import HubError, TooMany
from schemas.errors import MEANINGS, ErrorCode
from schemas.v1.envelope import error_body
from schemas.v1.fields import now

Headers = Iterable[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class Unreadable(HubError):
    """The body is not JSON as the hub accepts it."""

    code: ClassVar[ErrorCode] = ErrorCode.BAD_REQUEST


class MethodNotAllowed(HubError):
    """The path answers other methods."""

    code: ClassVar[ErrorCode] = ErrorCode.METHOD_NOT_ALLOWED

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"{method} is not allowed here; allowed: {self.allowed}")


class UnsupportedMediaType(HubError):
    """The body is not in a form that the hub reads."""

    code: ClassVar[ErrorCode] = ErrorCode.UNSUPPORTED_MEDIA_TYPE


def request_id_of(scope: Scope) -> str:
    """The correlation id of a request: the middleware's, or one made here where there is none."""
    state = scope.setdefault("state", {})
    found: str | None = state.get("request_id")
    if found is None:
        found = state["request_id"] = new_request_id()
    return found


def new_request_id() -> str:
    """A fresh correlation id. It is no secret: the system's randomness would cost the interpreter's lock."""
    return str(UUID(int=getrandbits(128), version=4))


def enveloped(data: Any, request_id: str, meta: Mapping[str, Any] | None = None) -> bytes:
    """A result as it goes out."""
    about = {"request_id": request_id, "timestamp": now()}
    return to_json({"data": data, "meta": {**meta, **about} if meta else about})


def refused(error: HubError, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of a refusal."""
    headers = [JSON]
    if isinstance(error, TooMany) and error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    elif isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    elif error.code is ErrorCode.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    elif error.code is ErrorCode.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"1"))
    body = to_json(
        {
            "error": error_body(error.code, error.message, error.details, error.hint),
            "meta": {"request_id": request_id, "timestamp": now()},
        }
    )
    return MEANINGS[error.code].http, headers, body


async def send_answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Send a whole answer. `headers` is taken over."""
    if status != 204:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
