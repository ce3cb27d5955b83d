"""The one stack around every face: who is asking, may the request come in, and how refusals are told.

One plain ASGI callable instead of a tower of them, because each layer costs every request. It knows no
routes: what is public, how long a body may be and which calls are rationed are handed in. A face that has its
own form of error handles `HubError` itself; only what escapes it is rendered here.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.caller import Caller
from core.errors import Forbidden, HubError, Invalid, NotFound, TooLarge, Unauthenticated, Unavailable
from hub.admission import Admission, check_framing, too_large
from hub.answers import MethodNotAllowed, Unreadable, UnsupportedMediaType, new_request_id, refused
from hub.limits import Buckets, Rate, RateLimited, network_of
from schemas.strict_json import InvalidJson

Authenticate = Callable[[Scope], Awaitable[Caller]]
"""Who calls; raises `Unauthenticated`, and `TooMany` for guessing."""
Render = Callable[[Scope, HubError], Response]
"""How one face tells a refusal."""

FUSE: Final = Rate(5_000, 1)
"""Per principal: no quota, but what keeps a runaway client from drowning the others."""
RATIONED: Final = Rate(30, 60)
"""Per principal, or per address where nobody is known: minting and proving credentials, registering."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_NO_STORE: Final = (b"cache-control", b"no-store")
_ALLOWED_HEADERS: Final = (
    b"authorization, content-type, idempotency-key, x-request-id, x-csrf-token, last-event-id, "
    b"a2a-version, a2a-extensions, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, "
    b"acp-connection-id, acp-session-id"
)
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"x-request-id, acp-connection-id, mcp-session-id, mcp-protocol-version, a2a-version, a2a-extensions",
)
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

_log = logging.getLogger(__name__)


class Edge:
    """The stack. In order: request id, host, origin, framing, credential, rates; then the app.

    Args:
        is_public: (method, path) for which no credential is asked; whatever else comes in has a caller.
        body_limit: bytes that a body on this path may have; None where the face counts by itself.
        is_rationed: (method, path) of calls under `RATIONED`.
        answered: hears of each answer over HTTP when it begins: its status, and how long it took.
        renderers: (owns this path, its form of refusals), first match wins; else the envelope.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        authenticate: Authenticate,
        is_public: Callable[[str, str], bool],
        body_limit: Callable[[str], int | None],
        is_rationed: Callable[[str, str], bool] = lambda method, path: False,
        renderers: Sequence[tuple[Callable[[str], bool], Render]] = (),
        fuse: Rate = FUSE,
        rationed: Rate = RATIONED,
        answered: Callable[[Scope, int, float], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._app = app
        self._admission = admission
        self._authenticate = authenticate
        self._is_public = is_public
        self._body_limit = body_limit
        self._is_rationed = is_rationed
        self._renderers = renderers
        self._answered = answered
        self._fuse = Buckets(fuse, clock=clock)
        self._rationed = Buckets(rationed, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = headers.get(b"x-request-id")
        if request_id is None or _REQUEST_ID.fullmatch(request_id) is None:
            request_id = new_request_id().encode()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        # Starlette's router raises its 404 and 405 instead of writing them when an app is named.
        scope.setdefault("app", self)
        added = [(b"x-request-id", request_id), _NOSNIFF]
        begun, came = False, monotonic()
        answered = self._answered if kind == "http" else None

        async def send_out(message: Message) -> None:
            nonlocal begun
            if message["type"] in _STARTS:
                begun = True
                if answered is not None:
                    answered(scope, message["status"], monotonic() - came)
                sent = [*message.get("headers", ()), *added]
                if not any(name == b"cache-control" for name, _ in sent):
                    sent.append(_NO_STORE)
                message = {**message, "headers": sent}
            elif message["type"] == "websocket.accept":
                begun = True
            await send(message)

        try:
            if self._admission.proxied:
                self._admission.believe_proxy(scope)
            if scope["scheme"] in ("https", "wss"):
                added.append(_HSTS)
            await self._serve(scope, headers, receive, send_out, added)
        except HubError as error:
            if begun:
                _log.error(
                    "request %s: refused in the middle of its answer", state["request_id"], exc_info=error
                )
                return
            await self._refuse(scope, error, receive, send_out)
        except ClientDisconnect:
            return
        except Exception as error:
            known = _known(error, scope)
            if known is None or begun:
                _log.error("request %s failed", state["request_id"], exc_info=error)
            if not begun:
                await self._refuse(scope, known or HubError("internal error"), receive, send_out)

    async def _serve(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        added: list[tuple[bytes, bytes]],
    ) -> None:
        path: str = scope["path"]
        method: str = scope.get("method", "GET")
        if not path.startswith("/health"):  # probes call by address
            self._admission.check_host(headers)
        if b"origin" in headers:
            origin = self._admission.check_origin(scope, headers)
            if origin is not None:
                added += [(b"access-control-allow-origin", origin.encode()), (b"vary", b"origin"), _EXPOSED]
                if method == "OPTIONS" and b"access-control-request-method" in headers:
                    await _answer_preflight(send)
                    return
        if b"content-length" in headers or method not in _BODILESS or b"transfer-encoding" in headers:
            limit = self._body_limit(path)
            if check_framing(headers, limit) and limit is not None:
                receive = _counted(receive, limit)
        if self._is_public(method, path):
            if self._is_rationed(method, path):
                client = scope.get("client")
                self._rationed.take(network_of(client[0]) if client else "")
        else:
            caller = await self._authenticate(scope)
            scope["state"]["caller"] = caller
            self._fuse.take(caller.principal_id)
            if self._is_rationed(method, path):
                self._rationed.take(caller.principal_id)
        await self._app(scope, receive, send)

    async def _refuse(self, scope: Scope, error: HubError, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        for owns, render in self._renderers:
            if owns(path):
                response = render(scope, error)
                status, sent, body = response.status_code, list(response.raw_headers), bytes(response.body)
                _, plain, _ = refused(error, "")
                sent += [header for header in plain if header[0] in (b"www-authenticate", b"allow")]
                break
        else:
            status, sent, body = refused(error, scope["state"]["request_id"])
        own_status: int | None = getattr(error, "http_status", None)
        if isinstance(error, RateLimited):
            sent = [header for header in sent if header[0] != b"retry-after"] + error.headers
        sent = [*_once(sent), (b"content-length", b"%d" % len(body))]
        await _send_whole(scope, send, own_status or status, sent, body)


async def authenticated(scope: Scope) -> Caller:
    """The caller that the stack has found: what faces behind it use to authenticate.

    Raises:
        Unauthenticated: the path is public, and nobody was asked.
    """
    caller: Caller | None = scope["state"].get("caller")
    if caller is None:
        raise Unauthenticated("This needs a credential.")
    return caller


async def _send_whole(
    scope: Scope, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    prefix = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        prefix = "websocket.http.response"
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


async def _answer_preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", _ALLOWED_HEADERS),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _counted(receive: Receive, limit: int) -> Receive:
    """A body of unknown length, cut off where it passes the limit."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise too_large(limit)
        return message

    return counted


def _known(error: Exception, scope: Scope) -> HubError | None:
    """A failure of the HTTP libraries as a refusal of ours."""
    if isinstance(error, InvalidJson):
        return Unreadable(f"the body cannot be read: {error.message}")
    if not isinstance(error, HTTPException):
        return None
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(
            scope["method"], [name.strip() for name in allowed.split(",") if name.strip()]
        )
    if error.status_code == 404:
        return NotFound("no such route")
    if error.status_code >= 500:
        return Unavailable(str(error.detail)) if error.status_code == 503 else None
    return _REFUSALS.get(error.status_code, Invalid)(str(error.detail))


_REFUSALS: Final[Mapping[int, type[HubError]]] = {
    400: Unreadable,
    401: Unauthenticated,
    403: Forbidden,
    413: TooLarge,
    415: UnsupportedMediaType,
}


def _once(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Each name once, and no length: the body is whole here."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    found.pop(b"content-length", None)
    return list(found.items())
