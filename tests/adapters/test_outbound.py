"""The guarded HTTP client against real sockets: what is dialled, what is read, and what a failure is called.

Targets on 127.0.0.1 are reachable only because a test allows them; names are answered by a scripted resolver.
"""

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from adapters.outbound import (
    A2A,
    MCP,
    METADATA,
    TOKEN,
    WEBHOOK,
    Failure,
    Outbound,
    OutboundError,
    Purpose,
    classified,
)
from core.egress import Allowed, BadTarget, Blocked

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[URL]]
PATIENT = Purpose("test", 5, 1024)


class Names(AbstractResolver):
    """Answers look-ups in turn; the last answer stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


class Stuck(Names):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: AsyncExitStack) -> Serve:
    async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> URL:
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        return URL(f"http{'s' if tls else ''}://127.0.0.1:{port}/")

    return start


@pytest.fixture
def outbound(stack: AsyncExitStack) -> Callable[..., Outbound]:
    def make(allow: str = "127.0.0.1", **options: object) -> Outbound:
        made = Outbound(Allowed.parse(allow), **options)  # type: ignore[arg-type]
        stack.push_async_callback(made.close)
        return made

    return make


async def echo(request: web.BaseRequest) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": (await request.read()).decode(),
        }
    )


async def failure_of(call: Awaitable[object]) -> Failure:
    with pytest.raises(OutboundError) as caught:
        await call
    return caught.value.failure


async def test_a_call_comes_back_whole(serve: Serve, outbound: Callable[..., Outbound]) -> None:
    url = await serve(echo)
    answer = await outbound().fetch("POST", url, purpose=TOKEN, headers={"X-Mine": "1"}, data=b"hello")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert b'"body": "hello"' in answer.body
    assert b'"x-mine": "1"' in answer.body


async def test_the_name_reaches_the_server_and_its_address_is_dialled(
    serve: Serve, outbound: Callable[..., Outbound]
) -> None:
    url = (await serve(echo)).with_host("receiver")
    names = Names(["127.0.0.1"])
    answer = await outbound("receiver", resolver=names).fetch("GET", url, purpose=PATIENT)
    assert f'"host": "receiver:{url.port}"'.encode() in answer.body
    assert names.asked == ["receiver"]


class TestBlocked:
    async def test_a_private_address_in_the_url(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        url = await serve(echo)
        for target in (url, url.with_scheme("https")):
            assert await failure_of(outbound("").fetch("GET", target, purpose=PATIENT)) is Failure.BLOCKED

    @pytest.mark.parametrize(
        "answers",
        [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]],
    )
    async def test_a_name_with_any_answer_that_is_not_public(
        self, answers: list[str], outbound: Callable[..., Outbound]
    ) -> None:
        """One bad answer among good ones is enough: which would be dialled is chance."""
        call = outbound("", resolver=Names(answers)).fetch("GET", "https://evil.example/", purpose=PATIENT)
        assert await failure_of(call) is Failure.BLOCKED

    @pytest.mark.parametrize("answers", [["127.0.0.1"], ["127.0.0.1", "::1"]], ids=["one", "two"])
    async def test_the_address_that_is_finally_dialled(
        self,
        answers: list[str],
        serve: Serve,
        outbound: Callable[..., Outbound],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whatever tricks the look-up: the socket itself is refused, whoever resolved and however often."""
        seen: list[str] = []

        async def handler(request: web.BaseRequest) -> web.Response:
            seen.append(request.path)
            return web.Response()

        url = (await serve(handler)).with_host("evil.example").with_scheme("https")
        monkeypatch.setattr(
            "adapters.outbound._GuardedResolver.resolve", Names(answers).resolve, raising=True
        )
        assert await failure_of(outbound("").fetch("GET", url, purpose=PATIENT)) is Failure.BLOCKED
        assert seen == []

    async def test_a_name_that_turns_private_between_two_calls(
        self, serve: Serve, outbound: Callable[..., Outbound], tmp_path: Path
    ) -> None:
        url = (await serve(echo, tls=self_signed(tmp_path))).with_host("receiver.example")
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        out = outbound("127.0.0.1", resolver=names, tls=trusting)
        closing = {"Connection": "close"}
        assert (await out.fetch("GET", url, purpose=PATIENT, headers=closing)).status == 200
        assert out._connector is not None
        out._connector.clear_dns_cache()
        assert await failure_of(out.fetch("GET", url, purpose=PATIENT)) is Failure.BLOCKED
        assert names.asked == ["receiver.example"] * 2

    async def test_a_disguised_address(self, serve: Serve, outbound: Callable[..., Outbound]) -> None:
        port = (await serve(echo)).port
        for host in ("0x7f000001", "①②⑦.0.0.1", "2130706433", "127.1", "localhost"):
            call = outbound("").fetch("GET", f"https://{host}:{port}/", purpose=PATIENT)
            assert await failure_of(call) is Failure.BLOCKED

    async def test_the_hub_itself_whatever_is_allowed(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        url = await serve(echo)
        assert url.port is not None
        for own in ("127.0.0.1", "0.0.0.0"):
            out = outbound("127.0.0.1, receiver", listening=lambda own=own: [(own, url.port)])
            assert await failure_of(out.fetch("GET", url, purpose=PATIENT)) is Failure.BLOCKED
        other = outbound(listening=lambda: [("127.0.0.1", 1), ("192.0.2.1", url.port)])
        assert (await other.fetch("GET", url, purpose=PATIENT)).status == 200

    async def test_plain_http_to_a_target_that_is_not_listed(self, outbound: Callable[..., Outbound]) -> None:
        names = Names(["8.8.8.8"])
        call = outbound("other.example", resolver=names).fetch("GET", "http://a.example/", purpose=PATIENT)
        assert await failure_of(call) is Failure.BLOCKED
        assert names.asked == []

    async def test_a_session_is_guarded_like_a_fetch(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        url = await serve(echo)
        assert await failure_of(outbound("").session(MCP).request("GET", url)) is Failure.BLOCKED

    def test_registration_judges_the_same_way(self) -> None:
        out = Outbound(Allowed.parse("receiver:9000"))
        assert str(out.check("http://receiver:9000/x")) == "http://receiver:9000/x"
        with pytest.raises(BadTarget):
            out.check("http://receiver:9001/x")
        with pytest.raises(Blocked):
            out.check("https://127.0.0.1/")


class TestResolve:
    """For channels that are opened elsewhere."""

    async def test_gives_judged_addresses(self, outbound: Callable[..., Outbound]) -> None:
        names = Names(["8.8.8.8", "2606:4700::1111"])
        found = await outbound("", resolver=names).resolve("a.example", 443)
        assert found == [ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("2606:4700::1111")]

    async def test_refuses_a_private_answer(self, outbound: Callable[..., Outbound]) -> None:
        call = outbound("", resolver=Names(["8.8.8.8", "10.0.0.1"])).resolve("a.example", 443)
        assert await failure_of(call) is Failure.BLOCKED

    async def test_gives_up_on_a_slow_name_server(
        self, outbound: Callable[..., Outbound], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.outbound.RESOLVE_SECONDS", 0.01)
        out = outbound("", resolver=Stuck([]))
        assert await failure_of(out.resolve("a.example", 443)) is Failure.TIMEOUT
        call = out.fetch("GET", "https://a.example/", purpose=PATIENT)
        assert await failure_of(call) is Failure.TIMEOUT

    async def test_no_address_is_unreachable(self, outbound: Callable[..., Outbound]) -> None:
        call = outbound("", resolver=Names([])).resolve("a.example", 443)
        assert await failure_of(call) is Failure.UNREACHABLE


class TestRedirects:
    async def test_a_redirect_is_an_answer(self, serve: Serve, outbound: Callable[..., Outbound]) -> None:
        seen: list[str] = []

        async def handler(request: web.BaseRequest) -> web.Response:
            seen.append(request.path)
            return web.Response(status=302, headers={"Location": "/next"})

        url = await serve(handler)
        answer = await outbound().fetch("GET", url, purpose=WEBHOOK)
        assert (answer.status, seen) == (302, ["/"])
        with pytest.raises(OutboundError, match="status 302"):
            answer.expect_success()
        async with await outbound().session(A2A).request("GET", url) as response:
            assert response.status == 302
        assert seen == ["/", "/"]

    async def test_discovery_follows_two_within_the_origin(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        async def handler(request: web.BaseRequest) -> web.Response:
            step = int(request.path.strip("/") or 0)
            return web.Response(status=307, headers={"Location": f"/{step + 1}"}, text=str(step))

        answer = await outbound().fetch("GET", await serve(handler), purpose=METADATA, hops=2)
        assert (answer.status, answer.body) == (307, b"2")

    async def test_another_origin_is_never_visited(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        seen: list[str] = []

        async def target(request: web.BaseRequest) -> web.Response:
            seen.append(request.path)
            return web.Response()

        other = await serve(target)

        async def handler(request: web.BaseRequest) -> web.Response:
            return web.Response(status=302, headers={"Location": str(other)})

        answer = await outbound().fetch("GET", await serve(handler), purpose=METADATA, hops=2)
        assert (answer.status, seen) == (302, [])

    @pytest.mark.parametrize(
        ("method", "headers"),
        [("POST", {}), ("GET", {"authorization": "Bearer x"}), ("GET", {"Cookie": "a=b"})],
    )
    async def test_credentials_and_writes_are_not_redirected(
        self, method: str, headers: dict[str, str], outbound: Callable[..., Outbound]
    ) -> None:
        with pytest.raises(ValueError, match="without credentials"):
            await outbound().fetch(method, "https://a.example/", purpose=METADATA, headers=headers, hops=1)


class TestNothingLeaks:
    async def test_the_environment_names_no_proxy(
        self, serve: Serve, outbound: Callable[..., Outbound], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        async def proxy(request: web.BaseRequest) -> web.Response:
            return web.Response(text="proxied")

        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password secret")
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, str(await serve(proxy)))
        answer = await outbound().fetch("GET", await serve(echo), purpose=PATIENT)
        assert b'"method"' in answer.body
        assert b"authorization" not in answer.body

    async def test_cookies_are_not_kept(self, serve: Serve, outbound: Callable[..., Outbound]) -> None:
        async def handler(request: web.BaseRequest) -> web.Response:
            return web.Response(text=request.headers.get("Cookie", ""), headers={"Set-Cookie": "a=b"})

        url = (await serve(handler)).with_host("receiver")
        out = outbound("receiver", resolver=Names(["127.0.0.1"]))
        for _ in range(2):
            assert (await out.fetch("GET", url, purpose=PATIENT)).body == b""

    async def test_compression_is_neither_asked_for_nor_undone(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        bomb = b"\x1f\x8b" + b"\0" * 20

        async def handler(request: web.BaseRequest) -> web.Response:
            assert request.headers["Accept-Encoding"] == "identity"
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

        assert (await outbound().fetch("GET", await serve(handler), purpose=PATIENT)).body == bomb


class TestBounds:
    def test_each_purpose_has_its_own(self) -> None:
        assert (WEBHOOK.seconds, WEBHOOK.max_bytes) == (10, 4096)
        assert (METADATA.seconds, METADATA.max_bytes) == (5, 262_144)
        assert (TOKEN.seconds, TOKEN.max_bytes) == (10, 65_536)
        assert (MCP.seconds, MCP.max_bytes) == (None, 10_485_760)

    @pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
    async def test_a_longer_answer_is_too_large(
        self, chunked: bool, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            if not chunked:
                response.content_length = 10**9
            await response.prepare(request)
            for _ in range(100):
                await response.write(b"x" * 1024)
            return response

        call = outbound().fetch("GET", await serve(handler), purpose=PATIENT)
        assert await failure_of(call) is Failure.TOO_LARGE

    async def test_an_answer_at_the_bound_is_read(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        async def handler(request: web.BaseRequest) -> web.Response:
            return web.Response(body=b"x" * PATIENT.max_bytes)

        answer = await outbound().fetch("GET", await serve(handler), purpose=PATIENT)
        assert len(answer.body) == PATIENT.max_bytes

    async def test_of_a_webhook_only_the_beginning_is_read(
        self, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        async def handler(request: web.BaseRequest) -> web.Response:
            return web.Response(body=b"x" * 100_000)

        answer = await outbound().fetch("POST", await serve(handler), purpose=WEBHOOK)
        assert (answer.status, len(answer.body)) == (200, WEBHOOK.max_bytes)

    @pytest.mark.parametrize("begun", [False, True], ids=["no head", "no end"])
    async def test_an_answer_that_does_not_end_is_a_timeout(
        self, begun: bool, serve: Serve, outbound: Callable[..., Outbound]
    ) -> None:
        released = asyncio.Event()

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            if begun:
                await response.prepare(request)
                await response.write(b"x")
            await released.wait()
            return response

        call = outbound().fetch("GET", await serve(handler), purpose=Purpose("short", 0.05, 1024))
        assert await failure_of(call) is Failure.TIMEOUT
        released.set()

    async def test_a_connection_that_does_not_open_is_a_timeout(
        self, outbound: Callable[..., Outbound], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("adapters.outbound.CONNECT_SECONDS", 0.05)
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), 5):
                call = outbound().fetch("GET", f"http://127.0.0.1:{port}/", purpose=PATIENT)
                assert await failure_of(call) is Failure.TIMEOUT


class TestFailures:
    async def test_a_closed_port_is_unreachable(self, outbound: Callable[..., Outbound]) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            call = outbound().fetch("GET", f"http://127.0.0.1:{port}/", purpose=PATIENT)
            assert await failure_of(call) is Failure.UNREACHABLE

    @pytest.mark.parametrize(
        "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
    )
    async def test_an_answer_that_is_not_http_is_unreachable(
        self, answer: bytes, outbound: Callable[..., Outbound]
    ) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            call = outbound().fetch("POST", f"http://127.0.0.1:{port}/", purpose=PATIENT)
            assert await failure_of(call) is Failure.UNREACHABLE

    async def test_a_certificate_nobody_vouches_for_is_tls(
        self, serve: Serve, outbound: Callable[..., Outbound], tmp_path: Path
    ) -> None:
        url = await serve(echo, tls=self_signed(tmp_path))
        assert await failure_of(outbound().fetch("GET", url, purpose=PATIENT)) is Failure.TLS

    async def test_the_certificate_is_for_the_name_and_not_the_address(
        self, serve: Serve, outbound: Callable[..., Outbound], tmp_path: Path
    ) -> None:
        url = await serve(echo, tls=self_signed(tmp_path))
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        out = outbound("127.0.0.1, receiver.example", resolver=Names(["127.0.0.1"]), tls=trusting)
        named = url.with_host("receiver.example")
        assert (await out.fetch("GET", named, purpose=PATIENT)).status == 200
        assert await failure_of(out.fetch("GET", url, purpose=PATIENT)) is Failure.TLS

    async def test_a_failure_says_its_class_and_nothing_else(self, outbound: Callable[..., Outbound]) -> None:
        with pytest.raises(OutboundError) as caught:
            await outbound("", resolver=Names(["10.1.2.3"])).fetch(
                "GET", "https://a.example/", purpose=PATIENT
            )
        assert str(caught.value) == "blocked"
        assert "10.1.2.3" in repr(caught.value.__cause__)

    def test_a_classified_failure_is_not_classified_again(self) -> None:
        error = OutboundError(Failure.TOO_LARGE)
        assert classified(error) is error


async def test_after_closing_nothing_is_left_open(serve: Serve) -> None:
    url = await serve(echo)
    out = Outbound(Allowed.parse("127.0.0.1"))
    await out.fetch("GET", url, purpose=PATIENT)
    await out.close()
    await out.close()
    await out.fetch("GET", url, purpose=PATIENT)
    await out.close()


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("receiver.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
