"""A webhook receiver on loopback: it can be slow, fail, and restart on its port."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Request:
    """One notification that arrived."""

    path: str
    headers: Mapping[str, str]
    body: Any
    status: int
    """What it was answered."""


@dataclass
class Receiver:
    """Serves on a port of its own, which it keeps over a restart."""

    answer: Callable[[int], tuple[float, int]] = lambda n: (0.0, 200)
    """For the n-th request: how long to wait, and what to say."""
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    restarts: int = 0
    _runner: web.AppRunner | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _restarting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self) -> None:
        """Begin to serve."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Hang up, in mid-request too."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """Be away for a moment."""
        async with self._restarting:
            await self.stop()
            self.restarts += 1
            await self.start()

    def url(self, path: str = "hook") -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/{path}"

    async def _take(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        wait, status = self.answer(len(self.requests))
        taken = Request(request.path.removeprefix("/"), dict(request.headers), body, status)
        self.requests.append(taken)
        self._arrived.set()
        await asyncio.sleep(wait)
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else None)

    def accepted(self, path: str = "hook") -> list[Request]:
        """What was answered with success there, in order of arrival."""
        return [request for request in self.requests if request.path == path and request.status < 300]

    def bodies(self, path: str = "hook") -> list[Any]:
        """The accepted bodies, each delivery once however often it came."""
        told = {request.headers["X-Crossdock-Delivery"]: request.body for request in self.accepted(path)}
        return list(told.values())

    async def until(self, enough: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for requests until there are enough."""
        async with asyncio.timeout(seconds):
            while not enough():
                self._arrived.clear()
                if enough():
                    return
                await self._arrived.wait()
