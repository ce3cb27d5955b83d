"""What may arrive on a socket before there is a request: the bounds that httptools and uvicorn leave open.

Left alone they take megabytes of headers, no `Host` or several, and wait for ever for a head or a body that
does not come. This protocol counts and times; everything after the head is uvicorn's. It knows neither routes
nor credentials, so its refusals are the plain envelope.
"""

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from hub.answers import Unreadable, new_request_id, refused
from hub.coalescing import CoalescingTransport
from hub.sse import ABORT

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 16 * 1024 * 1024
"""How much is thrown away after a refusal, so that the caller reads it instead of a reset connection."""

_HOP_BY_HOP: Final = frozenset({b"connection", b"upgrade", b"http2-settings", b"keep-alive"})


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds of one connection."""

    url_bytes: int = 8 * 1024
    head_bytes: int = 32 * 1024
    fields: int = 100
    head_seconds: float = 10.0
    """From the first byte, or from connecting, to the end of the headers."""
    silence_seconds: float = 30.0
    """Between two pieces of a body."""
    body_seconds: float = 60.0
    """For a whole JSON body."""
    keep_alive_seconds: float = 75.0
    """More than proxies in front keep theirs, so that they never write into a closing connection."""


class _Phase(enum.Enum):
    BETWEEN = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    REFUSED = enum.auto()


class HubProtocol(HttpToolsProtocol):
    """One connection. `is_upload` names the paths whose bodies may take their time."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        limits: WireLimits,
        is_upload: Callable[[str], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._limits = limits
        self._is_upload = is_upload
        self._phase = _Phase.BETWEEN
        self._began = False
        self._declined = False
        self._head_bytes = 0
        self._thrown_away = 0
        self._refusal: tuple[int, str] | None = None
        # One timer at most, and none for a request that arrives whole.
        self._timer: asyncio.TimerHandle | None = None
        self._timed = _Phase.BETWEEN
        self._since = 0.0
        self._last_bytes = 0.0
        self._held = False

    # -- the transport speaks ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescingTransport(transport, self.loop))
        self._since = self.loop.time()
        self._arm(_Phase.HEAD, self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._phase is _Phase.REFUSED:
            self._throw_away(len(data))
            return
        self._began = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._disarm()
            if self._declined:
                self._decline(data[upgrade.args[0] :])
            else:
                self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "this is no HTTP/1.1 request")))
            return
        if self._phase is _Phase.HEAD:
            # Bytes of a head that began amid `data` are not known; the end of the head counts them exactly.
            self._head_bytes += 0 if self._began else len(data)
            if self._head_bytes > self._limits.head_bytes or len(self.headers) > self._limits.fields:
                self._refuse(431, "the request's headers are too large")
                return
        self._watch()

    # -- the parser speaks ---------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        self._phase = _Phase.HEAD
        self._began = True
        self._head_bytes = 0
        self._thrown_away = 0
        super().on_message_begin()
        self.scope[ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]  # ours to add

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._limits.url_bytes:
            self._stop(414, f"the URL is longer than {self._limits.url_bytes} bytes")

    def on_headers_complete(self) -> None:
        size = len(self.url)
        hosts = 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
        if size > self._limits.head_bytes or len(self.headers) > self._limits.fields:
            self._stop(431, "the request's headers are too large")
        if hosts != 1:
            self._stop(400, "a request has exactly one Host header")
        if self.parser.should_upgrade() and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(400, "this is no proxy")
            self.scope["method"] = self.parser.get_method().decode()
            self._declined = True
            return
        self._phase = _Phase.BODY
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self._latest
        if cycle is not None and cycle.response_complete:
            self._thrown_away += len(body)
            if self._thrown_away > LINGER_BYTES:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._declined:
            return
        self._phase = _Phase.BETWEEN
        super().on_message_complete()
        cycle = self._latest
        if cycle is not None and cycle.response_complete and self.timeout_keep_alive_task is None:
            # Answered before its body had ended, so that nobody has armed it yet.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._phase is _Phase.BETWEEN:
            super().timeout_keep_alive_handler()

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The request last begun, if there was one. (uvicorn's types do not say that there may be none.)"""
        return self.cycle

    # -- time ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Time what is unfinished; called after each piece of data."""
        phase = self._phase
        if phase is _Phase.BETWEEN:
            if self._timer is not None and self._latest is not None:
                self._disarm()
            return
        now = self._last_bytes = self.loop.time()
        if self._timed is phase and not (phase is _Phase.HEAD and self._began):
            return
        self._disarm()
        self._since, self._held = now, False
        limits = self._limits
        seconds = limits.head_seconds if phase is _Phase.HEAD else self._body_wait(now)
        self._arm(phase, seconds)

    def _body_wait(self, now: float) -> float:
        """Seconds until this body is overdue, if nothing more arrives."""
        wait = self._last_bytes + self._limits.silence_seconds - now
        if self._is_json() and not self._is_upload(self.scope["path"]):
            wait = min(wait, self._since + self._limits.body_seconds - now)
        return wait

    def _is_json(self) -> bool:
        for name, value in self.headers:
            if name == b"content-type":
                return b"json" in value
        return True

    def _overdue(self) -> None:
        self._timer, self._timed = None, _Phase.BETWEEN
        if self._phase is _Phase.BETWEEN:  # connected, and never said a thing
            self.transport.close()
            return
        now = self.loop.time()
        cycle = self._latest
        held, self._held = (
            self._held,
            (self.flow.read_paused or (cycle is not None and cycle.waiting_for_100_continue)),
        )
        if held or self._held:  # it is, or was a moment ago, we who kept the caller waiting
            self._since = self._last_bytes = now
        if self._phase is _Phase.HEAD:
            wait = self._since + self._limits.head_seconds - now
        else:
            wait = self._body_wait(now)
        if wait > 0.001:
            self._arm(self._phase, wait)
            return
        self._refuse(408, "the request did not arrive in time")

    def _arm(self, phase: _Phase, seconds: float) -> None:
        self._timed = phase
        self._timer = self.loop.call_later(seconds, self._overdue)

    def _disarm(self) -> None:
        self._timed = _Phase.BETWEEN
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- refusing ------------------------------------------------------------------------------------------

    def _stop(self, status: int, message: str) -> None:
        """Stop the parser from within; `data_received` answers."""
        self._refusal = (status, message)
        raise ValueError(message)

    def _refuse(self, status: int, message: str) -> None:
        self._disarm()
        in_head, self._phase = self._phase is not _Phase.BODY, _Phase.REFUSED
        cycle = self._latest
        if cycle is not None and not cycle.response_complete:
            if in_head or cycle.response_started:
                # An earlier answer, or part of this one, is on its way: words now would garble it.
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle is not None and not in_head:
            self.transport.close()
            return
        request_id = new_request_id()
        _, headers, body = refused(Unreadable(message), request_id)
        headers += [
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request_id.encode()),
            *self.server_state.default_headers,
        ]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closing with unread bytes resets the connection, and the caller may never read why.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > LINGER_BYTES:
            self.transport.abort()

    def _decline(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not (RFC 9110 §7.8).

        The parser would skip its body; clients that try HTTP/2 in clear text do send one.
        """
        self._declined = False
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name not in _HOP_BY_HOP:
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"connection: close\r\n\r\n", rest]))
