"""The HTTP server: uvicorn's parts on uvloop, under bounds of our own, for a process or inside a test.

`Serving` opens the sockets, runs the app's lifespan and stops without cutting anybody off; `run` is all of a
process. A stop tells the streams, closes the doors, lets requests end, cuts off what is left, and ends the
lifespan.
"""

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any, Final, Self

import uvloop
from starlette.types import ASGIApp, Message
from uvicorn.config import Config
from uvicorn.server import ServerState

from hub.http_protocol import HubProtocol, WireLimits

DRAIN_SECONDS: Final = 25.0
MAX_WS_MESSAGE: Final = 16 * 1024 * 1024
"""The widest face's bound; narrower ones are the faces' own."""
_CUT_SECONDS: Final = 2.0


class StartFailed(Exception):
    """The app refused to start. Its own exception is the cause, where it raised one."""


class Serving:
    """One app on one address. `async with` starts and stops it.

    Args:
        port: 0 takes a free one; `port` tells which.
        stopping: set when a stop begins, for everything that would otherwise stream on.
        is_upload: paths whose bodies may take longer than a JSON body may.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        stopping: asyncio.Event | None = None,
        drain_seconds: float = DRAIN_SECONDS,
        limits: WireLimits | None = None,
        is_upload: Callable[[str], bool] = lambda path: False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.stopping = stopping or asyncio.Event()
        self._app = app
        self._host = host
        self._asked_port = port
        self._drain_seconds = drain_seconds
        self._limits = limits or WireLimits()
        self._is_upload = is_upload
        self._tls = tls
        self._state = ServerState()
        self._lifespan = _Lifespan(app)
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._addresses: Sequence[tuple[str, int]] = ()

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Every address and port listened on; empty before the start."""
        return self._addresses

    @property
    def port(self) -> int:
        """The port really taken."""
        return self._addresses[0][1]

    @property
    def url(self) -> str:
        """Where to reach it from this machine, without a trailing slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._addresses[0][0], self._addresses[0][0])  # noqa: S104
        return f"http{'s' if self._tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Start the app, then listen: the first connection finds it ready.

        Raises:
            StartFailed: the app's lifespan failed.
            OSError: the address cannot be listened on; the app has been shut down again.
        """
        loop = asyncio.get_running_loop()
        config = Config(
            self._app,
            ws="websockets-sansio",
            ws_max_size=MAX_WS_MESSAGE,
            ws_per_message_deflate=False,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="warning",  # below it, uvicorn logs query strings
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=self._limits.keep_alive_seconds,  # type: ignore[arg-type]
        )
        config.load()
        await self._lifespan.start()
        # Two addresses would get two ports.
        host = "127.0.0.1" if self._host == "localhost" and not self._asked_port else self._host.strip("[]")
        try:
            self._server = await loop.create_server(
                lambda: HubProtocol(
                    config,
                    self._state,
                    self._lifespan.state,
                    limits=self._limits,
                    is_upload=self._is_upload,
                    loop=loop,
                ),
                host,
                self._asked_port,
                ssl=self._tls,
                backlog=2048,
            )
        except BaseException:
            await self._lifespan.stop()
            raise
        self._addresses = [_address(listening) for listening in self._server.sockets]
        self._tick()

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Stop. While it is stopping, a second call changes nothing, or with 0 cuts the drain short.

        Requests in flight have `drain_seconds` to end. Then they are cancelled and their connections dropped.
        """
        self.stopping.set()
        server, self._server = self._server, None
        if server is None:
            if drain_seconds == 0:
                self._cut()
            return
        server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._drain_seconds if drain_seconds is None else drain_seconds)
        while self._state.tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(set(self._state.tasks), timeout=left)
        self._cut()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=_CUT_SECONDS)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._lifespan.stop()
        if self._ticker is not None:
            self._ticker.cancel()
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def _cut(self) -> None:
        for task in set(self._state.tasks):
            task.cancel("the hub is stopping")

    def _tick(self) -> None:
        """Answers carry a date (RFC 9110 §6.6.1); one is enough for all of a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._ticker = asyncio.get_running_loop().call_later(1.0, self._tick)


def run(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    on_ready: Callable[[Serving], None] = lambda serving: None,
    **options: Any,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal cuts the drain short.

    `options` are those of `Serving`. Raises as `Serving.start`.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(app, host, port, on_ready, options))


async def _run(
    app: ASGIApp, host: str, port: int, on_ready: Callable[[Serving], None], options: dict[str, Any]
) -> None:
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, None)
    serving = Serving(app, host=host, port=port, **options)
    await serving.start()
    on_ready(serving)
    await signals.get()
    stop = asyncio.create_task(serving.stop())
    again = asyncio.create_task(signals.get())
    await asyncio.wait({stop, again}, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not stop.done():
        await serving.stop(0)
    await stop


class _Lifespan:
    """The app's lifespan, with its own exception when it fails."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._call(scope))
        answer = await self._ask("lifespan.startup")
        if answer is None or answer["type"] != "lifespan.startup.complete":
            cause = await self._outcome()
            raise StartFailed(str(cause or "the app ended before it had started")) from cause

    async def stop(self) -> None:
        """Raises whatever the app's shutdown raised."""
        if self._task is None:
            return
        await self._ask("lifespan.shutdown")
        cause = await self._outcome()
        self._task = None
        if cause is not None:
            raise cause

    async def _call(self, scope: dict[str, Any]) -> None:
        await self._app(scope, self._asked.get, self._answers.put)

    async def _ask(self, kind: str) -> Message | None:
        """The app's answer, or None when it ended without one."""
        assert self._task is not None, "asked between start and stop only"
        self._asked.put_nowait({"type": kind})
        answer = asyncio.create_task(self._answers.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _outcome(self) -> BaseException | None:
        assert self._task is not None, "asked between start and stop only"
        await asyncio.wait({self._task})
        return self._task.exception()


def _address(listening: socket.socket) -> tuple[str, int]:
    name = listening.getsockname()
    return name[0], name[1]
