"""The sender of notifications: what it sends, and by which word it tells what came of it."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from adapters.outbound import Outbound
from adapters.webhook import WebhookSender
from core.egress import Allowed, BadTarget, Blocked
from core.ports import Outgoing, Sent

Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler on loopback; gives the port."""
    runners: list[web.AppRunner] = []

    async def begin(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    yield begin
    for runner in runners:
        await runner.cleanup()


async def sent(port: int, *, allowed: bool = True) -> Sent:
    """One request to a port of loopback."""
    outbound = Outbound(Allowed.parse(f"127.0.0.1:{port}" if allowed else ()))
    try:
        outgoing = Outgoing(
            f"http://127.0.0.1:{port}/hook?secret=1", {"Authorization": "Bearer s", "X": "y"}, b"{}"
        )
        return await WebhookSender(outbound).send(outgoing)
    finally:
        await outbound.close()


async def test_a_notification_is_one_post_with_its_headers_and_its_body(serve: Serve) -> None:
    heard: list[tuple[str, str, str, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        heard.append(
            (request.method, request.path_qs, request.headers["Authorization"], await request.read())
        )
        return web.Response(status=204)

    assert await sent(await serve(handler)) == Sent(status=204)
    assert heard == [("POST", "/hook?secret=1", "Bearer s", b"{}")]


@pytest.mark.parametrize("status", [200, 302, 404, 410, 500])
async def test_any_status_is_an_answer_and_only_2xx_is_accepted(serve: Serve, status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    answer = await sent(await serve(handler))
    assert (answer.status, answer.failure, answer.accepted) == (status, None, status == 200)


async def test_an_endless_answer_is_cut(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 1024)
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        assert (await sent(await serve(handler))).accepted


async def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # taken, and nobody listens
        assert (await sent(probe.getsockname()[1])).failure == "unreachable"


async def test_what_may_not_be_called_is_blocked_and_logged_without_its_path(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise AssertionError("called")

    port = await serve(handler)
    with caplog.at_level(logging.WARNING, "crossdock.webhook"):
        assert (await sent(port, allowed=False)).failure == "blocked"
    assert f"127.0.0.1:{port}" in caplog.text
    assert "secret" not in caplog.text


async def test_a_receiver_is_judged_when_it_is_named() -> None:
    outbound = Outbound()
    sender = WebhookSender(outbound)
    address = await sender.admit("https://93.184.216.34:8443/a?b=c")
    assert (address.url, address.endpoint) == (
        "https://93.184.216.34:8443/a?b=c",
        "https://93.184.216.34:8443",
    )
    with pytest.raises(BadTarget):
        await sender.admit("http://93.184.216.34/")
    with pytest.raises(Blocked):
        await sender.admit("https://192.168.0.1/")
    await outbound.close()
