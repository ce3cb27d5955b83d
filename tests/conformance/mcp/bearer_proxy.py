"""A proxy that adds a credential, for a suite that has none to send. Whatever else comes, it passes on."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from aiohttp import web

_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class _Proxy:
    def __init__(self, upstream: str, key: str) -> None:
        self._upstream = upstream
        self._key = key
        self._host = upstream.removeprefix("http://")

    async def run(self, ready: "asyncio.Future[int]", stopping: asyncio.Event) -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            application = web.Application(client_max_size=32 * 2**20)
            application.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            ready.set_result(runner.addresses[0][1])
            await stopping.wait()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers.copy()
        own = f"127.0.0.1:{request.url.port}", f"localhost:{request.url.port}"
        if headers.get("Host") in own:
            headers["Host"] = self._host
        if headers.get("Origin", "").removeprefix("http://") in own:
            headers["Origin"] = self._upstream
        headers.setdefault("Authorization", f"Bearer {self._key}")
        url = self._upstream + request.raw_path
        body = await request.read()
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            kept = [(n, v) for n, v in answer.headers.items() if n.lower() not in _HOP]
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


@contextmanager
def bearer_proxy(upstream: str, key: str) -> Iterator[str]:
    """The address of a proxy in front of `upstream` that speaks with `key`."""
    loop = asyncio.new_event_loop()
    ready: asyncio.Future[int] = loop.create_future()
    stopping = asyncio.Event()
    work = loop.create_task(_Proxy(upstream, key).run(ready, stopping))
    port = loop.run_until_complete(ready)
    thread = threading.Thread(target=loop.run_until_complete, args=[work], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()
