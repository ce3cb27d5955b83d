"""The server's own bounds, spoken to over raw sockets, and its life from start to stop."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import websockets
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.http_protocol import WireLimits
from hub.server import Serving, StartFailed

Serve = Callable[..., Any]
PATIENCE = 5
HOST = b"Host: x\r\n"
SLOW = WireLimits(head_seconds=0.1, silence_seconds=0.1)
SHORT = WireLimits(silence_seconds=PATIENCE, body_seconds=0.3)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path and the length of the body."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await echo(scope, receive, send)
    else:
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        await PlainTextResponse(f"{scope['path']} {len(body)}")(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(inner: ASGIApp = app, **options: Any) -> Serving:
            return await stack.enter_async_context(Serving(inner, drain_seconds=1, **options))

        yield start


OPEN: list["Wire"] = []


@pytest.fixture(autouse=True)
async def hang_up() -> AsyncIterator[None]:
    yield
    while OPEN:
        await OPEN.pop().close()


class Wire:
    """One raw connection, closed after the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, serving: Serving) -> "Wire":
        wire = cls(*await asyncio.open_connection("127.0.0.1", serving.port, limit=2**24))
        OPEN.append(wire)
        return wire

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), PATIENCE)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE)
        status, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0))
        return (
            int(status.split()[1]),
            headers,
            await asyncio.wait_for(self._reader.readexactly(size), PATIENCE),
        )

    async def ended(self) -> bytes:
        """Whatever still comes until the server closes."""
        try:
            return await asyncio.wait_for(self._reader.read(), PATIENCE)
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await asyncio.wait_for(self._writer.wait_closed(), PATIENCE)


async def refusal(serving: Serving, *pieces: bytes) -> int:
    """The status of an answer that must be the envelope, after which the server closes."""
    wire = await Wire.to(serving)
    for piece in pieces:
        await wire.send(piece)
    status, headers, body = await wire.answer()
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/json"
    assert {"date", "x-request-id", "x-content-type-options", "cache-control"} <= set(headers)
    assert "server" not in headers
    told = json.loads(body)
    assert told["error"]["code"] == "BAD_REQUEST"
    assert told["meta"]["request_id"] == headers["x-request-id"]
    assert await wire.ended() == b""
    return status


async def accepted(serving: Serving, *pieces: bytes) -> bytes:
    wire = await Wire.to(serving)
    for piece in pieces:
        await wire.send(piece)
    status, headers, body = await wire.answer()
    assert (status, "server" in headers) == (200, False)
    return body


class TestHeads:
    async def test_an_ordinary_request_is_answered(self, serve: Serve) -> None:
        assert await accepted(await serve(), b"GET /a%20b HTTP/1.1\r\n" + HOST + b"\r\n") == b"/a b 0"

    async def test_a_url_of_8_kib_is_accepted_and_a_longer_one_is_not(self, serve: Serve) -> None:
        serving = await serve()
        fits = b"/" + b"x" * (8 * 1024 - 1)
        await accepted(serving, b"GET " + fits + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        assert await refusal(serving, b"GET " + fits + b"x HTTP/1.1\r\n" + HOST + b"\r\n") == 414

    async def test_a_url_that_never_ends_is_refused_before_it_does(self, serve: Serve) -> None:
        assert await refusal(await serve(), b"GET /", *[b"x" * 1000] * 10) == 414

    async def test_headers_of_32_kib_are_accepted_and_more_are_not(self, serve: Serve) -> None:
        serving = await serve()
        used = len(b"/") + len("host") + len("x") + 4 + len("a") + 4
        value = b"v" * (32 * 1024 - used)
        await accepted(serving, b"GET / HTTP/1.1\r\n" + HOST + b"a: " + value + b"\r\n\r\n")
        assert await refusal(serving, b"GET / HTTP/1.1\r\n" + HOST + b"a: v" + value + b"\r\n\r\n") == 431

    async def test_a_header_that_never_ends_is_refused_before_it_does(self, serve: Serve) -> None:
        assert await refusal(await serve(), b"GET / HTTP/1.1\r\na: ", *[b"x" * 8192] * 6) == 431

    async def test_a_megabyte_of_header_is_refused(self, serve: Serve) -> None:
        wire = await Wire.to(await serve())
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"x" * 1_000_000 + b"\r\n\r\n")
        assert (await wire.answer())[0] == 431

    async def test_100_fields_are_accepted_and_101_are_not(self, serve: Serve) -> None:
        serving = await serve()
        fields = b"a: b\r\n" * 99
        await accepted(serving, b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n")
        assert await refusal(serving, b"GET / HTTP/1.1\r\n" + HOST + fields + b"a: b\r\n\r\n") == 431

    async def test_fields_that_never_end_are_refused_before_they_do(self, serve: Serve) -> None:
        assert await refusal(await serve(), b"GET / HTTP/1.1\r\n", *[b"a: b\r\n" * 60] * 2) == 431

    @pytest.mark.parametrize(
        "head",
        [
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
        ],
    )
    async def test_there_is_exactly_one_host(self, head: bytes, serve: Serve) -> None:
        assert await refusal(await serve(), head) == 400

    @pytest.mark.parametrize(
        "head",
        [
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"GET \xff HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ],
    )
    async def test_what_is_not_plainly_http_is_refused(self, head: bytes, serve: Serve) -> None:
        assert await refusal(await serve(), head) == 400

    async def test_pipelined_requests_are_counted_each_by_itself(self, serve: Serve) -> None:
        wire = await Wire.to(await serve())
        one = b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"x" * 20_000 + b"\r\n\r\n"
        await wire.send(one * 5)
        for _ in range(5):
            assert (await wire.answer())[0] == 200
        big = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000
        await wire.send(big + one[:-10])
        assert (await wire.answer())[2] == b"/ 100000"
        await wire.send(one[-10:])
        assert (await wire.answer())[0] == 200

    async def test_a_refusal_does_not_garble_an_answer_under_way(self, serve: Serve) -> None:
        wire = await Wire.to(await serve())
        await wire.send(b"GET /one HTTP/1.1\r\n" + HOST + b"\r\nGET /two HTTP/1.1\r\n\r\n")
        rest = await wire.ended()
        assert b"BAD_REQUEST" not in rest

    @pytest.mark.parametrize("pieces", [1, 3], ids=["whole", "in pieces"])
    async def test_an_offer_of_another_protocol_is_declined_and_its_body_read(
        self, pieces: int, serve: Serve
    ) -> None:
        """What java.net.http does by default on plain http."""
        wire = await Wire.to(await serve())
        upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAA\r\n"
        request = b"POST /x HTTP/1.1\r\n" + HOST + upgrade + b"Content-Length: 2\r\n\r\nhi"
        for n in range(pieces):
            await wire.send(request[n * len(request) // pieces : (n + 1) * len(request) // pieces])
        status, headers, body = await wire.answer()
        assert (status, headers["connection"], body) == (200, "close", b"/x 2")
        await wire.ended()

    async def test_a_tunnel_is_refused(self, serve: Serve) -> None:
        assert await refusal(await serve(), b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n") == 400


class TestTime:
    async def test_headers_that_do_not_end_are_given_up(self, serve: Serve) -> None:
        assert await refusal(await serve(limits=SLOW), b"GET / HTTP/1.1\r\n") == 408

    async def test_headers_that_drip_are_given_up(self, serve: Serve) -> None:
        """Each byte is in time, the whole is not."""
        wire = await Wire.to(await serve(limits=WireLimits(head_seconds=0.1)))
        answered = asyncio.create_task(wire.answer())
        while not answered.done():
            await wire.send(b"G")
            await asyncio.wait({answered}, timeout=0.02)
        assert (await answered)[0] in {400, 408}

    async def test_a_connection_that_says_nothing_is_closed(self, serve: Serve) -> None:
        wire = await Wire.to(await serve(limits=SLOW))
        assert await wire.ended() == b""

    async def test_empty_lines_keep_no_connection_open(self, serve: Serve) -> None:
        serving = await serve(limits=WireLimits(head_seconds=0.1, keep_alive_seconds=0.1))
        wire = await Wire.to(serving)
        await wire.send(b"\r\n")
        assert await wire.ended() == b""
        wire = await Wire.to(serving)
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.answer()
        await wire.send(b"\r\n")
        assert await wire.ended() == b""

    async def test_the_second_request_is_timed_like_the_first(self, serve: Serve) -> None:
        wire = await Wire.to(await serve(limits=SLOW))
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.answer()
        await wire.send(b"GET / HTTP/1.1\r\n")
        assert (await wire.answer())[0] == 408

    async def test_a_body_that_falls_silent_is_given_up(self, serve: Serve) -> None:
        post = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\nContent-Type: text/x\r\n\r\n12"
        assert await refusal(await serve(limits=SLOW), post) == 408

    @pytest.mark.parametrize("kind", [b"application/json", b"application/a2a+json", b""])
    async def test_a_json_body_that_drips_is_given_up(self, kind: bytes, serve: Serve) -> None:
        assert await self.drip(await serve(limits=SHORT), b"/", kind) == 408

    @pytest.mark.parametrize(("path", "kind"), [(b"/", b"application/zip"), (b"/up", b"application/json")])
    async def test_an_upload_may_take_its_time(self, path: bytes, kind: bytes, serve: Serve) -> None:
        assert (
            await self.drip(await serve(limits=SHORT, is_upload=lambda path: path == "/up"), path, kind)
            == 200
        )

    async def drip(self, serving: Serving, path: bytes, kind: bytes) -> int:
        """Send a body in 25 pieces, 20 ms apart: each in time for the silence, together past the whole."""
        wire = await Wire.to(serving)
        declared = b"Content-Type: " + kind + b"\r\n" if kind else b""
        await wire.send(b"POST " + path + b" HTTP/1.1\r\n" + HOST + declared + b"Content-Length: 25\r\n\r\n")
        answered = asyncio.create_task(wire.answer())
        for _ in range(25):
            await asyncio.wait({answered}, timeout=0.02)
            if answered.done():
                break
            await wire.send(b"x")
        status, _, _ = await answered
        return status

    async def test_a_slow_handler_is_not_the_callers_fault(self, serve: Serve) -> None:
        """Reading stops while the app does not take the body; that silence does not count."""
        go_on = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await lifespan(receive, send)
                return
            await receive()
            await go_on.wait()
            await app(scope, receive, send)

        wire = await Wire.to(await serve(slow, limits=WireLimits(silence_seconds=0.2)))
        size = 64_000_000  # more than the kernel keeps for both ends
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size
        sending = asyncio.create_task(wire.send(head + b"x" * size))
        await asyncio.wait({sending}, timeout=0.5)
        assert not sending.done()
        go_on.set()
        await sending
        assert (await wire.answer())[0] == 200

    async def test_waiting_for_leave_to_send_is_not_silence(self, serve: Serve) -> None:
        go_on = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await go_on.wait()
            await app(scope, receive, send)

        wire = await Wire.to(await serve(slow, limits=SLOW))
        await wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        asked = asyncio.create_task(wire.answer())
        await asyncio.wait({asked}, timeout=0.3)
        assert not asked.done()
        go_on.set()
        assert (await asked)[0] == 100
        await wire.send(b"hi")
        assert (await wire.answer())[2] == b"/ 2"

    async def test_a_long_answer_is_not_timed(self, serve: Serve) -> None:
        go_on = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await go_on.wait()
            await app(scope, receive, send)

        wire = await Wire.to(await serve(slow, limits=SLOW))
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        asked = asyncio.create_task(wire.answer())
        await asyncio.wait({asked}, timeout=0.3)
        go_on.set()
        assert (await asked)[0] == 200

    async def test_the_defaults_are_those_that_are_documented(self) -> None:
        limits = WireLimits()
        assert (limits.url_bytes, limits.head_bytes, limits.fields) == (8192, 32768, 100)
        assert (limits.head_seconds, limits.silence_seconds, limits.body_seconds) == (10, 30, 60)


class TestEarlyAnswers:
    async def test_an_unread_body_is_thrown_away_and_the_connection_lives_on(self, serve: Serve) -> None:
        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await lifespan(receive, send)
            else:
                await PlainTextResponse("too large", 413)(scope, receive, send)

        wire = await Wire.to(await serve(refuse))
        for _ in range(2):
            size = 3_000_000
            await wire.send(
                b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
            )
            assert (await wire.answer())[0] == 413

    async def test_but_not_without_end(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hub.http_protocol.LINGER_BYTES", 100_000)

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await lifespan(receive, send)
            else:
                await PlainTextResponse("too large", 413)(scope, receive, send)

        wire = await Wire.to(await serve(refuse))
        await wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\n")
        assert (await wire.answer())[0] == 413

        async def flood() -> None:
            while True:
                await wire.send(b"x" * 10_000)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(), PATIENCE)


class TestWebSockets:
    async def test_messages_go_both_ways(self, serve: Serve) -> None:
        serving = await serve()
        async with websockets.connect(f"ws://127.0.0.1:{serving.port}/", open_timeout=PATIENCE) as socket:
            assert socket.response is not None
            assert "Server" not in socket.response.headers
            assert "Sec-WebSocket-Extensions" not in socket.response.headers
            await socket.send("hello")
            assert await asyncio.wait_for(socket.recv(), PATIENCE) == "hello"

    async def test_they_outlive_the_bounds_of_a_request(self, serve: Serve) -> None:
        limits = WireLimits(head_seconds=0.05, silence_seconds=0.05, keep_alive_seconds=0.05)
        serving = await serve(limits=limits)
        async with websockets.connect(f"ws://127.0.0.1:{serving.port}/", open_timeout=PATIENCE) as socket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.2)
            await socket.send("still here")
            assert await asyncio.wait_for(socket.recv(), PATIENCE) == "still here"

    async def test_a_handshake_needs_its_host(self, serve: Serve) -> None:
        upgrade = (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        head = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + upgrade + b"\r\n"
        assert await refusal(await serve(), head) == 400

    async def test_a_stop_closes_them_as_going_away(self, serve: Serve) -> None:
        serving = await serve()
        async with websockets.connect(f"ws://127.0.0.1:{serving.port}/", open_timeout=PATIENCE) as socket:
            await asyncio.wait_for(serving.stop(), PATIENCE)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), PATIENCE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code in {1001, 1012}


class TestLife:
    async def test_the_port_is_told_and_given_back(self) -> None:
        serving = Serving(app)
        await serving.start()
        port = serving.port
        assert serving.url == f"http://127.0.0.1:{port}"
        assert serving.addresses == [("127.0.0.1", port)]
        await serving.stop()
        await serving.stop()
        async with Serving(app, port=port) as again:
            assert again.port == port

    async def test_localhost_gets_one_port(self) -> None:
        async with Serving(app, host="localhost") as serving:
            assert len({port for _, port in serving.addresses}) == 1

    async def test_the_lifespan_surrounds_the_sockets(self) -> None:
        seen: list[str] = []

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                seen.append(scope["state"]["word"])
                await app(scope, receive, send)
                return
            await receive()
            seen.append("up")
            scope["state"]["word"] = "shared"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            seen.append("down")
            await send({"type": "lifespan.shutdown.complete"})

        async with Serving(watched) as serving:
            await accepted(serving, b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert seen == ["up", "shared", "down"]

    async def test_an_app_that_fails_to_start_says_why_and_nothing_listens(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            raise RuntimeError("no database")

        with pytest.raises(StartFailed, match="no database") as failed:
            await Serving(broken).start()
        assert isinstance(failed.value.__cause__, RuntimeError)

        async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "trace"})
            raise RuntimeError("no database")

        with pytest.raises(StartFailed, match="no database"):
            await Serving(refusing).start()

        async def silent(scope: Scope, receive: Receive, send: Send) -> None:
            pass

        with pytest.raises(StartFailed, match="ended before"):
            await Serving(silent).start()

    async def test_a_port_in_use_is_an_error_and_the_app_is_shut_down(self) -> None:
        seen: list[str] = []

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            await lifespan(receive, send)
            seen.append("down")

        async with Serving(app) as first:
            with pytest.raises(OSError, match="address already in use"):
                await Serving(watched, port=first.port).start()
        assert seen == ["down"]

    async def test_an_app_that_fails_to_stop_says_why(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            raise RuntimeError("still busy")

        serving = Serving(broken)
        await serving.start()
        with pytest.raises(RuntimeError, match="still busy"):
            await serving.stop()

    async def test_a_request_in_flight_is_answered_and_new_ones_are_not_taken(self) -> None:
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                entered.set()
                await go_on.wait()
            await app(scope, receive, send)

        serving = Serving(slow, drain_seconds=PATIENCE)
        await serving.start()
        wire = await Wire.to(serving)
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await asyncio.wait_for(entered.wait(), PATIENCE)
        stop = asyncio.create_task(serving.stop())
        await asyncio.wait_for(serving.stopping.wait(), PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            await Wire.to(serving)
        go_on.set()
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        await asyncio.wait_for(stop, PATIENCE)
        await wire.ended()

    async def test_an_idle_connection_does_not_hold_up_a_stop(self) -> None:
        serving = Serving(app, drain_seconds=60)
        await serving.start()
        silent, used = await Wire.to(serving), await Wire.to(serving)
        await used.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await used.answer()
        await asyncio.wait_for(serving.stop(), PATIENCE)
        assert (await silent.ended(), await used.ended()) == (b"", b"")

    async def test_a_stream_ends_when_it_is_told(self) -> None:
        stopping = asyncio.Event()

        async def ticks() -> AsyncIterator[bytes]:
            yield b"first"
            await stopping.wait()
            yield b"last"

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await lifespan(receive, send)
            else:
                await StreamingResponse(ticks())(scope, receive, send)

        serving = Serving(stream, stopping=stopping, drain_seconds=60)
        await serving.start()
        wire = await Wire.to(serving)
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wire.answer()
        await asyncio.wait_for(serving.stop(), PATIENCE)
        assert (await wire.ended()).endswith(b"last\r\n0\r\n\r\n")

    @pytest.mark.parametrize("seconds", [0.05, 0])
    async def test_what_does_not_end_in_time_is_cut_off(self, seconds: float) -> None:
        entered = asyncio.Event()

        async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                entered.set()
                await asyncio.Event().wait()
            await app(scope, receive, send)

        serving = Serving(stuck, drain_seconds=60)
        await serving.start()
        wire = await Wire.to(serving)
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await asyncio.wait_for(entered.wait(), PATIENCE)
        if seconds:
            await asyncio.wait_for(serving.stop(seconds), PATIENCE)
        else:
            first = asyncio.create_task(serving.stop())
            await asyncio.wait_for(serving.stopping.wait(), PATIENCE)
            await serving.stop(0)
            await asyncio.wait_for(first, PATIENCE)
        await wire.ended()

    async def test_no_forwarded_header_is_believed_here(self, serve: Serve) -> None:
        async def who(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await lifespan(receive, send)
            else:
                await PlainTextResponse(f"{scope['client'][0]} {scope['scheme']}")(scope, receive, send)

        forwarded = b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"
        body = await accepted(await serve(who), b"GET / HTTP/1.1\r\n" + HOST + forwarded + b"\r\n")
        assert body == b"127.0.0.1 http"


PROGRAM = """
import asyncio
from hub.server import run

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("down", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("in", flush=True)
    await asyncio.Event().wait()

run(app, "127.0.0.1", 0, on_ready=lambda serving: print(serving.port, flush=True), drain_seconds=60)
print("end", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_in_order(number: signal.Signals) -> None:
    with program() as process:
        assert int(line(process)) > 0
        process.send_signal(number)
        assert [line(process), line(process)] == ["down", "end"]
        assert process.wait(PATIENCE) == 0


async def test_a_second_signal_cuts_the_drain_short() -> None:
    with program() as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(line(process)))
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert line(process) == "in"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert [line(process), line(process)] == ["down", "end"]
        assert process.wait(PATIENCE) == 0
        await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()


def program() -> "subprocess.Popen[str]":
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
