"""The stack around every face, called as the ASGI app it is. Socket limits are in test_server.py."""

import json
import logging
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.caller import Caller
from core.errors import Conflict, Forbidden, HubError, NotFound, TooMany, Unauthenticated, Unprocessable
from hub.admission import Admission, Site
from hub.limits import Buckets, Rate, RateLimited, network_of
from hub.middleware import Edge, authenticated
from schemas.errors import MEANINGS, ErrorCode
from schemas.strict_json import parse_json
from schemas.vocabulary import Scope as Power

MIB = 1024 * 1024
KEY = b"Bearer good"


@dataclass
class Seen:
    """What came back, and whether the body was read."""

    messages: list[Message] = field(default_factory=list)
    received: int = 0

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> Mapping[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def error(self) -> Mapping[str, Any]:
        answer = json.loads(self.body)
        assert set(answer) == {"error", "meta"}
        assert set(answer["meta"]) == {"request_id", "timestamp"}
        assert answer["meta"]["request_id"] == self.headers["x-request-id"]
        assert set(answer["error"]) <= {"code", "message", "recovery_hint", "details"}
        assert ErrorCode(answer["error"]["code"]) in MEANINGS
        result: Mapping[str, Any] = answer["error"]
        return result


async def ask(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/api/v1/tasks",
    headers: Sequence[tuple[bytes, bytes]] = ((b"authorization", KEY),),
    body: Sequence[bytes] = (),
    *,
    host: bytes | None = b"hub.example",
    **scope: Any,
) -> Seen:
    seen = Seen()
    chunks = [
        {"type": "http.request", "body": chunk, "more_body": n + 1 < len(body)}
        for n, chunk in enumerate(body)
    ] or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        seen.received += 1
        return chunks.pop(0) if chunks else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        seen.messages.append(message)

    all_headers = [*headers] if host is None else [(b"host", host), *headers]
    asked = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "client": ("192.0.2.7", 1234),
        "headers": all_headers,
        **scope,
    }
    await app(asked, receive, send)
    return seen


async def authenticate(scope: Scope) -> Caller:
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if found == [b"Bearer flood"]:
        raise TooMany("Too many wrong credentials from this address.", retry_after=7)
    if not found or not found[0].startswith(KEY):
        raise Unauthenticated("This credential is not valid.")
    number = int(found[0].removeprefix(KEY) or b"1")
    return Caller(UUID(int=number), UUID(int=9), Power.AGENT, "agent", None)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


def edge(app: ASGIApp = hello, site: Site | None = None, **options: Any) -> Edge:
    options.setdefault("is_public", lambda method, path: path in {"/health", "/api/v1/auth/token"})
    options.setdefault("body_limit", lambda path: None if path == "/raw" else MIB)
    site = site or Site.of("https://hub.example", loopback=False)
    return Edge(app, admission=Admission(site), authenticate=authenticate, **options)


def raising(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


class TestRequestId:
    async def test_a_good_one_is_kept_and_echoed(self) -> None:
        inner: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            inner.append(scope["state"]["request_id"])
            await hello(scope, receive, send)

        seen = await ask(edge(app), headers=[(b"authorization", KEY), (b"x-request-id", b"A-z_0.9")])
        assert (seen.headers["x-request-id"], inner) == ("A-z_0.9", ["A-z_0.9"])

    @pytest.mark.parametrize("given", [b"", b"x" * 129, b"a b", b"a\r\nb", b"\xff", b"a/b", b"a\n"])
    async def test_a_bad_one_is_replaced(self, given: bytes) -> None:
        seen = await ask(edge(), headers=[(b"authorization", KEY), (b"x-request-id", given)])
        assert str(UUID(seen.headers["x-request-id"])) == seen.headers["x-request-id"]

    async def test_each_request_gets_its_own(self) -> None:
        ids = {(await ask(edge())).headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3


class TestHost:
    SITE = Site.of("https://Hub.example", loopback=False, hosts=["other.internal", "exact.internal:8080"])

    @pytest.mark.parametrize(
        "host",
        [b"hub.example", b"HUB.example", b"hub.example:443", b"other.internal:99", b"exact.internal:8080"],
    )
    async def test_the_hubs_own_names_are_answered(self, host: bytes) -> None:
        app = edge(site=self.SITE)
        for _ in range(2):
            assert (await ask(app, host=host)).status == 200

    @pytest.mark.parametrize(
        "host",
        [
            None, b"", b"evil.example", b"hub.example.evil", b"evil.hub.example", b"exact.internal",
            b"localhost", b"127.0.0.1", b"hub.example@evil", b"[::1]", b"exact.internal:8081", b"\xff",
        ],
    )  # fmt: skip
    async def test_any_other_name_is_misdirected(self, host: bytes | None) -> None:
        seen = await ask(edge(site=self.SITE), host=host)
        assert (seen.status, seen.error["code"]) == (421, "BAD_REQUEST")

    @pytest.mark.parametrize(
        "host", [b"localhost:8080", b"127.0.0.1:1", b"[::1]:8080", b"localhost", b"[::1]"]
    )
    async def test_loopback_names_are_answered_when_bound_there(self, host: bytes) -> None:
        here = edge(site=Site.of("http://127.0.0.1:8080", loopback=True))
        assert (await ask(here, host=host)).status == 200
        assert (await ask(here, host=b"evil.example")).status == 421

    async def test_probes_may_call_by_any_name(self) -> None:
        assert (await ask(edge(), path="/health", host=b"10.0.0.1", headers=())).status == 200

    async def test_a_websocket_is_judged_too(self) -> None:
        seen = await ask(edge(), host=b"evil.example", type="websocket", scheme="ws")
        assert seen.messages == [{"type": "websocket.close", "code": 1008}]


class TestOrigin:
    SITE = Site.of("https://hub.example", loopback=False, hosts=["inside"], origins=["https://app.example"])

    @pytest.mark.parametrize(
        ("host", "origin"),
        [
            (b"hub.example", b"https://hub.example"),
            (b"inside:8080", b"https://hub.example"),
            (b"inside:8080", b"http://inside:8080"),
            (b"inside:8080", b"https://inside:8080"),
        ],
    )
    async def test_the_hubs_own_pages_may_call(self, host: bytes, origin: bytes) -> None:
        seen = await ask(
            edge(site=self.SITE), host=host, headers=[(b"authorization", KEY), (b"origin", origin)]
        )
        assert seen.status == 200
        assert "access-control-allow-origin" not in seen.headers

    @pytest.mark.parametrize(
        "origin",
        [
            b"https://evil.example",
            b"null",
            b"",
            b"http://hub.example:81",
            b"https://app.example.evil",
            b"\xff",
        ],
    )
    async def test_other_pages_may_not(self, origin: bytes) -> None:
        for kind, scheme in (("http", "http"), ("websocket", "ws")):
            seen = await ask(
                edge(site=self.SITE),
                headers=[(b"authorization", KEY), (b"origin", origin)],
                type=kind,
                scheme=scheme,
                extensions={"websocket.http.response": {}},
            )
            assert (seen.status, seen.error["code"]) == (403, "FORBIDDEN")
            assert "access-control-allow-origin" not in seen.headers

    async def test_a_plain_page_may_not_call_the_encrypted_hub(self) -> None:
        origin = [(b"authorization", KEY), (b"origin", b"http://hub.example")]
        assert (await ask(edge(site=self.SITE), headers=origin, scheme="https")).status == 403

    async def test_a_listed_page_may_call_and_read_the_answer(self) -> None:
        headers = [(b"authorization", KEY), (b"origin", b"https://app.example")]
        seen = await ask(edge(site=self.SITE), headers=headers)
        assert seen.status == 200
        assert seen.headers["access-control-allow-origin"] == "https://app.example"
        assert seen.headers["vary"] == "origin"

    async def test_a_listed_page_may_ask_beforehand_without_a_credential(self) -> None:
        asks = [(b"origin", b"https://app.example"), (b"access-control-request-method", b"POST")]
        seen = await ask(edge(site=self.SITE), "OPTIONS", headers=asks)
        assert seen.status == 204
        assert "authorization" in seen.headers["access-control-allow-headers"]
        asks[0] = (b"origin", b"https://evil.example")
        assert (await ask(edge(site=self.SITE), "OPTIONS", headers=asks)).status == 403


class TestForwarded:
    """X-Forwarded-* from whom it is believed."""

    async def client(self, peer: str, headers: Sequence[tuple[bytes, bytes]], proxies: Sequence[str]) -> Any:
        found: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            found.append((scope["client"][0], scope["scheme"]))
            await hello(scope, receive, send)

        site = Site.of("https://hub.example", loopback=False, proxies=proxies)
        seen = await ask(
            edge(app, site), headers=[(b"authorization", KEY), *headers], client=(peer, 1)
        )  # fmt: skip
        return (*found[0], "strict-transport-security" in seen.headers)

    async def test_nobody_is_believed_by_default(self) -> None:
        headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-proto", b"https")]
        assert await self.client("10.0.0.1", headers, []) == ("10.0.0.1", "http", False)

    @pytest.mark.parametrize(
        ("chain", "client"),
        [
            ([b"1.2.3.4"], "1.2.3.4"),
            ([b"6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
            ([b"6.6.6.6", b"1.2.3.4:5678"], "1.2.3.4"),
            ([b"[2001:db8::1]:5678"], "2001:db8::1"),
            ([b"2001:db8::1"], "2001:db8::1"),
            ([b"6.6.6.6, nonsense, 10.0.0.2"], "10.0.0.2"),
            ([], "10.0.0.1"),
        ],
    )
    async def test_a_trusted_proxy_names_the_client(self, chain: list[bytes], client: str) -> None:
        headers = [(b"x-forwarded-for", line) for line in chain] + [(b"x-forwarded-proto", b"https")]
        assert await self.client("10.0.0.1", headers, ["10.0.0.0/8"]) == (client, "https", True)
        assert await self.client("::ffff:10.0.0.1", headers, ["10.0.0.0/8"]) == (
            client if chain else "::ffff:10.0.0.1", "https", True,
        )  # fmt: skip

    async def test_another_peer_is_not_believed(self) -> None:
        headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-proto", b"https")]
        assert await self.client("11.0.0.1", headers, ["10.0.0.0/8"]) == ("11.0.0.1", "http", False)

    async def test_a_forwarded_host_is_never_believed(self) -> None:
        site = Site.of("https://hub.example", loopback=False, proxies=["192.0.2.0/24"])
        headers = [(b"authorization", KEY), (b"x-forwarded-host", b"hub.example")]
        assert (await ask(edge(site=site), headers=headers, host=b"evil.example")).status == 421


class TestBodies:
    @pytest.mark.parametrize("encoding", [b"gzip", b"br", b"GZIP", b"identity, gzip", b"zstd"])
    async def test_compressed_ones_are_refused(self, encoding: bytes) -> None:
        headers = [(b"authorization", KEY), (b"content-encoding", encoding), (b"content-length", b"2")]
        seen = await ask(edge(), "POST", headers=headers, body=[b"{}"])
        assert (seen.status, seen.error["code"], seen.received) == (415, "UNSUPPORTED_MEDIA_TYPE", 0)

    async def test_multipart_ones_are_refused(self) -> None:
        headers = [(b"authorization", KEY), (b"content-type", b"Multipart/form-data; boundary=x")]
        seen = await ask(edge(), "POST", headers=[*headers, (b"content-length", b"2")], body=[b"{}"])
        assert (seen.status, seen.received) == (415, 0)

    @pytest.mark.parametrize("length", [b"-1", b"abc", b"", b"1, 2", b"0x10", b"+5"])
    async def test_a_length_that_is_no_number_is_refused(self, length: bytes) -> None:
        seen = await ask(edge(), "POST", headers=[(b"authorization", KEY), (b"content-length", length)])
        assert (seen.status, seen.error["code"]) == (400, "BAD_REQUEST")

    @pytest.mark.parametrize("length", [b"1048577", b"9" * 30])
    async def test_an_announced_body_over_the_limit_is_refused_unread(self, length: bytes) -> None:
        for method in ("POST", "GET", "DELETE"):
            seen = await ask(edge(), method, headers=[(b"authorization", KEY), (b"content-length", length)])
            assert (seen.status, seen.error["code"], seen.received) == (413, "PAYLOAD_TOO_LARGE", 0)
            assert seen.error["details"] == {"limit_bytes": MIB}

    @pytest.mark.parametrize("announced", [[], [(b"transfer-encoding", b"chunked")]], ids=["none", "chunked"])
    async def test_a_body_of_unknown_length_is_refused_where_it_passes_the_limit(
        self, announced: list[tuple[bytes, bytes]]
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await Request(scope, receive).body()
            await hello(scope, receive, send)

        headers = [(b"authorization", KEY), *announced]
        chunk = b"x" * 65536
        assert (await ask(edge(app), "POST", headers=headers, body=[chunk] * 16)).status == 200
        seen = await ask(edge(app), "POST", headers=headers, body=[chunk] * 100)
        assert (seen.status, seen.received) == (413, 17)

    async def test_the_limit_is_the_paths(self) -> None:
        headers = [(b"authorization", KEY), (b"content-length", b"%d" % (5 * MIB))]
        app = edge(body_limit=lambda path: 10 * MIB if path.startswith("/a2a") else MIB)
        assert (await ask(app, "POST", "/a2a", headers=headers)).status == 200
        assert (await ask(app, "POST", "/api/v1/tasks", headers=headers)).status == 413

    async def test_a_path_without_a_limit_counts_by_itself(self) -> None:
        headers = [(b"authorization", KEY), (b"content-length", b"%d" % (5 * 1024 * MIB))]
        assert (await ask(edge(), "PUT", "/raw", headers=headers)).status == 200


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (NotFound("no such task"), 404, "NOT_FOUND"),
            (Conflict("taken", details={"reason_code": "x"}, hint="try"), 409, "CONFLICT"),
            (Unprocessable("bad", fields={"a": ["b"]}), 422, "SCHEMA_VALIDATION_FAILED"),
            (Forbidden("no"), 403, "FORBIDDEN"),
            (HTTPException(404), 404, "NOT_FOUND"),
            (HTTPException(400, "odd"), 400, "BAD_REQUEST"),
            (HTTPException(413, "long"), 413, "PAYLOAD_TOO_LARGE"),
            (HTTPException(418, "tea"), 400, "VALIDATION_ERROR"),
            (HTTPException(503, "away"), 503, "SERVICE_UNAVAILABLE"),
        ],
    )
    async def test_a_refusal_is_told_in_the_envelope(self, error: Exception, status: int, code: str) -> None:
        seen = await ask(edge(raising(error)))
        assert (seen.status, seen.error["code"]) == (status, code)
        assert seen.headers["content-type"] == "application/json"
        assert int(seen.headers["content-length"]) == len(seen.body)

    async def test_details_and_hint_are_told(self) -> None:
        seen = await ask(edge(raising(Conflict("taken", details={"reason_code": "x"}, hint="try"))))
        assert seen.error == {
            "code": "CONFLICT", "message": "taken", "recovery_hint": "try", "details": {"reason_code": "x"},
        }  # fmt: skip

    async def test_a_body_that_is_no_json_is_a_bad_request(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            parse_json(b'{"a": 1, "a": 2}')

        seen = await ask(edge(app))
        assert (seen.status, seen.error["code"]) == (400, "BAD_REQUEST")
        assert "repeated" in seen.error["message"]

    async def test_a_fault_says_nothing_and_is_logged_with_the_request(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.ERROR):
            seen = await ask(edge(raising(RuntimeError("password=hunter2"))))
        assert (seen.status, seen.error) == (500, {"code": "INTERNAL_ERROR", "message": "internal error"})
        assert b"hunter2" not in seen.body
        [record] = caplog.records
        assert seen.headers["x-request-id"] in record.getMessage()
        assert record.exc_info is not None

    async def test_an_answer_that_has_begun_is_not_answered_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        for error in (RuntimeError("late"), NotFound("late")):

            async def app(scope: Scope, receive: Receive, send: Send, error: Exception = error) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                raise error

            seen = await ask(edge(app))
            assert [message["type"] for message in seen.messages] == ["http.response.start"]
        assert len(caplog.records) == 2

    async def test_a_caller_who_hung_up_is_not_answered(self, caplog: pytest.LogCaptureFixture) -> None:
        assert (await ask(edge(raising(ClientDisconnect())))).messages == []
        assert caplog.records == []

    async def test_unknown_routes_and_wrong_methods_are_told_in_the_envelope(self) -> None:
        async def endpoint(request: Request) -> Response:
            return JSONResponse({})

        app = edge(Router([Route("/here", endpoint, methods=["GET", "POST"])], redirect_slashes=False))
        assert (await ask(app, path="/here")).status == 200
        seen = await ask(app, path="/there")
        assert (seen.status, seen.error["code"]) == (404, "NOT_FOUND")
        seen = await ask(app, "DELETE", "/here")
        assert (seen.status, seen.error["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert {name.strip() for name in seen.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}

    async def test_a_face_tells_the_refusals_of_its_paths_in_its_own_form(self) -> None:
        def render(scope: Scope, error: HubError) -> Response:
            return JSONResponse({"mine": error.code, "path": scope["path"]}, MEANINGS[error.code].http)

        app = edge(
            raising(NotFound("gone")), renderers=[(lambda path: path.startswith("/a2a"), render)]
        )  # fmt: skip
        seen = await ask(app, path="/a2a/v1")
        assert (seen.status, json.loads(seen.body)) == (404, {"mine": "NOT_FOUND", "path": "/a2a/v1"})
        seen = await ask(app, path="/a2a", headers=[])
        assert (seen.status, seen.headers["www-authenticate"]) == (401, "Bearer")
        assert (await ask(app, path="/a2a", host=b"evil")).status == 421
        seen = await ask(app, path="/a2a", headers=[(b"authorization", b"Bearer flood")])
        assert (seen.status, json.loads(seen.body)["mine"]) == (429, "RATE_LIMITED")
        seen = await ask(app, "POST", "/a2a", [(b"authorization", KEY), (b"content-length", b"9999999")])
        assert (seen.status, json.loads(seen.body)["mine"]) == (413, "PAYLOAD_TOO_LARGE")
        assert (await ask(app, path="/api/v1/x")).error["code"] == "NOT_FOUND"


class TestCredentials:
    async def test_a_caller_is_found_once_and_handed_on(self) -> None:
        found: list[Caller] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            found.append(await authenticated(scope))
            await hello(scope, receive, send)

        await ask(edge(app))
        assert [caller.principal_id for caller in found] == [UUID(int=1)]

    @pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer bad")], [(b"authorization", b"")]])
    async def test_without_a_valid_one_nothing_is_reached(self, headers: list[tuple[bytes, bytes]]) -> None:
        app = edge(raising(AssertionError("reached")))
        for path in ("/api/v1/tasks", "/no/such/route", "/a2a"):
            seen = await ask(app, path=path, headers=headers)
            assert (seen.status, seen.error["code"]) == (401, "UNAUTHORIZED")
            assert seen.headers["www-authenticate"] == "Bearer"

    async def test_a_public_path_is_reached_without_one(self) -> None:
        seen = await ask(edge(), "POST", "/api/v1/auth/token", headers=[])
        assert seen.status == 200

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await authenticated(scope)

        assert (await ask(edge(app), path="/health")).status == 401

    async def test_guessing_is_answered_with_when_to_return(self) -> None:
        seen = await ask(edge(), headers=[(b"authorization", b"Bearer flood")])
        assert (seen.status, seen.headers["retry-after"], seen.error["code"]) == (429, "7", "RATE_LIMITED")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestRates:
    async def test_the_fuse_is_per_principal_and_refills(self) -> None:
        clock = Clock()
        app = edge(fuse=Rate(3, 1), clock=clock)
        assert [(await ask(app)).status for _ in range(4)] == [200, 200, 200, 429]
        assert (await ask(app, headers=[(b"authorization", KEY + b"2")])).status == 200
        clock.now += 0.34
        assert [(await ask(app)).status for _ in range(2)] == [200, 429]

    async def test_the_fuse_stands_at_5000_a_second(self) -> None:
        app = edge(clock=Clock())
        assert {(await ask(app)).status for _ in range(5000)} == {200}
        assert (await ask(app)).status == 429

    async def test_a_429_says_when_to_return(self) -> None:
        app = edge(rationed=Rate(1, 60), is_rationed=lambda method, path: True, clock=Clock())
        await ask(app)
        seen = await ask(app)
        assert (seen.status, seen.error["code"]) == (429, "RATE_LIMITED")
        assert [seen.headers[name] for name in ("retry-after", "x-ratelimit-limit", "x-ratelimit-reset")] == [
            "60", "1", "60",
        ]  # fmt: skip
        assert seen.headers["x-ratelimit-remaining"] == "0"

    async def test_minting_is_rationed_to_30_a_minute_per_address_or_principal(self) -> None:
        clock = Clock()
        app = edge(is_rationed=lambda method, path: path.endswith("token"), clock=clock)
        anonymous = [await ask(app, "POST", "/api/v1/auth/token", headers=[]) for _ in range(31)]
        assert [seen.status for seen in anonymous] == [200] * 30 + [429]
        other = await ask(app, "POST", "/api/v1/auth/token", headers=[], client=("192.0.2.8", 1))
        assert other.status == 200
        known = [await ask(app, "POST", "/my/token") for _ in range(31)]
        assert [seen.status for seen in known] == [200] * 30 + [429]
        assert (await ask(app)).status == 200
        clock.now += 2.1
        assert (await ask(app, "POST", "/my/token")).status == 200

    def test_the_number_of_buckets_is_bounded(self) -> None:
        buckets = Buckets(Rate(1, 60), capacity=10, clock=Clock())
        for key in range(1000):
            buckets.take(key)
        assert len(buckets._full_at) == 10
        with pytest.raises(RateLimited):
            buckets.take(999)

    def test_an_ipv6_network_counts_as_one_caller(self) -> None:
        assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
        assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
        assert network_of("not an address") == "not an address"


class TestHeaders:
    async def test_answers_are_neither_sniffed_nor_stored(self) -> None:
        for app in (edge(), edge(raising(NotFound("x"))), edge(raising(RuntimeError()))):
            headers = (await ask(app)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers

    async def test_a_face_may_allow_storing(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("card", headers={"Cache-Control": "max-age=60"})(scope, receive, send)

        assert (await ask(edge(app))).headers["cache-control"] == "max-age=60"

    async def test_hsts_is_promised_only_over_tls(self) -> None:
        assert "strict-transport-security" not in (await ask(edge())).headers
        assert "max-age" in (await ask(edge(), scheme="https")).headers["strict-transport-security"]

    async def test_a_shared_response_is_not_changed(self) -> None:
        response = PlainTextResponse("same")
        before = list(response.raw_headers)
        await ask(edge(response))
        assert response.raw_headers == before


async def test_the_lifespan_passes_through() -> None:
    scopes: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope["type"])

    await ask(edge(app), type="lifespan")
    assert scopes == ["lifespan"]


async def test_the_stack_costs_little() -> None:
    """The bound is ten times what it costs on a quiet machine: it catches a wrong order of magnitude."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        pass

    async def receive() -> Message:
        raise AssertionError

    stack = edge(app)
    headers = [(b"host", b"hub.example"), (b"authorization", KEY), (b"content-length", b"2")] + [
        (b"x-%d" % n, b"value") for n in range(10)
    ]

    def once() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/tasks",
            "scheme": "http",
            "headers": headers,
        }
        call = stack({**scope, "client": ("1.1.1.1", 1)}, receive, send)
        with pytest.raises(StopIteration):
            call.send(None)

    stack._fuse = Buckets(Rate(10**9, 1))
    assert min(timeit.repeat(once, number=500, repeat=5)) / 500 < 250e-6
