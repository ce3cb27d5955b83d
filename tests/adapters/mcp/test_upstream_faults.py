"""What goes wrong with a server that is called: told as what it is, and of no harm to the next call."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from adapters.mcp.upstream import (
    BadAnswer,
    Client,
    Message,
    NeedsAuth,
    RpcError,
    Session,
    Target,
    TimedOut,
    TooLarge,
    Unreachable,
    Upstream,
    UpstreamError,
)
from adapters.mcp.upstream.events import Events
from adapters.mcp.upstream.headers import header_value, param_headers, request_headers, wrong_annotation
from adapters.outbound import Outbound
from core.egress import Allowed
from core.mcp.words import TransportPreference
from tests.adapters.mcp.scripted_server import ScriptedServer, answer, endless, hang, status

US = Client({"name": "tests", "version": "1"})
CALL = {"name": "one", "arguments": {}}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server elsewhere."""
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The leg, which may call loopback."""
    outbound = Outbound(Allowed.parse("127.0.0.1"))
    yield Upstream(outbound)
    await outbound.close()


@pytest.fixture
async def session(upstream: Upstream, server: ScriptedServer) -> AsyncIterator[Session]:
    """A session with the server."""
    session = await upstream.open(Target(uuid4(), server.url, seconds=20), US)
    yield session
    await session.close()


async def text_of(session: Session, **options: Any) -> str:
    """What the tool says."""
    text: str = (await session.request("tools/call", CALL, **options)).result()["content"][0]["text"]
    return text


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (status(503), Unreachable),
        (status(429), Unreachable),
        (status(401, WWW_Authenticate='Bearer scope="x"'), NeedsAuth),
        (status(403), NeedsAuth),
        (status(302, Location="http://10.0.0.1/"), BadAnswer),
        (status(418), BadAnswer),
        (status(200), BadAnswer),
        (endless(100), TooLarge),
    ],
)
async def test_each_fault_has_its_name_and_the_next_call_is_unharmed(
    session: Session, server: ScriptedServer, fault: Any, error: type[UpstreamError]
) -> None:
    server.faults["tools/call"] = fault
    with pytest.raises(UpstreamError) as raised:
        await session.request("tools/call", CALL)
    assert type(raised.value) is error
    if isinstance(raised.value, NeedsAuth) and raised.value.status == 401:
        assert raised.value.challenge == 'Bearer scope="x"'
    server.faults.clear()
    assert await text_of(session) == "done"


@pytest.mark.parametrize("body", ["", "not json", "[]", '{"jsonrpc":"2.0","id":99,"result":{}}', "1"])
async def test_an_answer_that_is_none_is_a_wrong_answer(
    session: Session, server: ScriptedServer, body: str
) -> None:
    async def say(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    server.faults["tools/call"] = say
    with pytest.raises(BadAnswer):
        await session.request("tools/call", CALL)


async def test_a_server_that_is_gone_is_unreachable(
    upstream: Upstream, session: Session, server: ScriptedServer
) -> None:
    await server.stop()
    with pytest.raises(Unreachable):
        await session.request("tools/call", CALL)
    with pytest.raises(Unreachable):
        await upstream.open(Target(uuid4(), server.url), US)


async def test_a_call_that_takes_too_long_is_over(session: Session, server: ScriptedServer) -> None:
    server.faults["tools/call"] = hang
    with pytest.raises(TimedOut):
        await session.request("tools/call", CALL, seconds=0.1)


async def test_a_call_that_nobody_waits_for_is_cancelled_on_the_wire(
    session: Session, server: ScriptedServer
) -> None:
    server.faults["tools/call"] = hang
    calling = asyncio.ensure_future(session.request("tools/call", CALL))
    async with asyncio.timeout(20):
        while "tools/call" not in server.methods():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        calling.cancel()
        call = next(message for _, message in server.requests if message["method"] == "tools/call")
        while "notifications/cancelled" not in server.methods():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    cancelled = server.requests[-1][1]
    assert cancelled["params"]["requestId"] == call["id"]


async def test_a_session_that_the_server_has_forgotten_is_opened_again_once(
    session: Session, server: ScriptedServer
) -> None:
    server.sessions.clear()
    assert await text_of(session) == "done"
    assert server.methods().count("initialize") == 2
    server.sessions.clear()
    many = await asyncio.gather(*(text_of(session) for _ in range(5)))
    assert many == ["done"] * 5
    assert server.methods().count("initialize") == 3


async def test_a_session_is_ended_when_it_is_closed(session: Session, server: ScriptedServer) -> None:
    [known] = server.sessions
    await session.close()
    await session.close()
    assert server.deleted == [known]


def stream(*messages: Mapping[str, Any] | str, before: str = "") -> Any:
    """Answers with an event stream of these messages, and ends it."""

    async def say(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        text = before
        for one in messages:
            said = one if isinstance(one, str) else f"data: {json.dumps({**one, 'jsonrpc': '2.0'})}\n\n"
            text += said.replace('"$id"', str(message["id"]))
        await response.write(text.encode())
        return response

    return say


async def test_a_stream_that_ends_before_the_answer_is_no_answer(
    session: Session, server: ScriptedServer
) -> None:
    server.faults["tools/call"] = stream({"method": "notifications/message", "params": {}})
    with pytest.raises(Unreachable):
        await session.request("tools/call", CALL)


async def test_a_stream_that_was_closed_early_is_taken_up_where_it_stopped(
    session: Session, server: ScriptedServer
) -> None:
    server.faults["tools/call"] = stream(before="id: e7\nretry: 10\ndata:\n\n")
    result = {"id": "$id", "result": {"content": [{"type": "text", "text": "late"}]}}
    server.resumed = stream(result)
    assert await text_of(session) == "late"
    assert server.resumed_from == ["e7"]


async def test_a_question_that_nobody_can_answer_is_refused(session: Session, server: ScriptedServer) -> None:
    asked = asyncio.Event()

    async def ask(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, method in ((1, "roots/list"), (2, "ping")):
            said = {"jsonrpc": "2.0", "id": f"q{number}", "method": method}
            await response.write(f"data: {json.dumps(said)}\n\n".encode())
        while len([one for _, one in server.requests if "method" not in one]) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        asked.set()
        done = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"text": "done"}]}}
        await response.write(f"data: {json.dumps(done)}\n\n".encode())
        return response

    server.faults["tools/call"] = ask
    async with asyncio.timeout(20):
        assert await text_of(session) == "done"
    answers = {one["id"]: one for _, one in server.requests if "method" not in one}
    assert answers["q1"]["error"]["code"] == -32601
    assert answers["q2"]["result"] == {}


async def test_a_listener_that_refuses_is_quoted_and_one_that_fails_is_not(
    session: Session, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        said = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}}
        await response.write(f"data: {json.dumps(said)}\n\n".encode())
        answers = len([one for _, one in server.requests if "method" not in one])
        while len([one for _, one in server.requests if "method" not in one]) == answers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        done = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"text": "done"}]}}
        await response.write(f"data: {json.dumps(done)}\n\n".encode())
        return response

    async def refuse(message: Message) -> None:
        raise RpcError(-1, "The user said no")

    async def fail(message: Message) -> None:
        raise ValueError("an inner fault")

    server.faults["tools/call"] = ask
    async with asyncio.timeout(20):
        await session.request("tools/call", CALL, on_message=refuse)
        await session.request("tools/call", CALL, on_message=fail)
    first, second = [one["error"] for _, one in server.requests if "method" not in one]
    assert first == {"code": -1, "message": "The user said no"}
    assert second["code"] == -32603
    assert "inner" not in str(second)


@dataclass
class FakeCredential:
    """A token that can be renewed."""

    token: str = "old"
    renewable: bool = True
    refused_with: list[tuple[int, str | None]] = field(default_factory=list)

    async def header(self) -> str | None:
        """The present token."""
        return f"Bearer {self.token}"

    async def refused(self, status: int, challenge: str | None) -> bool:
        """Renew it, if that can be done."""
        self.refused_with.append((status, challenge))
        self.token = "new"
        return self.renewable


async def test_a_refused_credential_is_renewed_once(upstream: Upstream, server: ScriptedServer) -> None:
    async def guarded(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        if request.headers["Authorization"] != "Bearer new":
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        return answer(message, {"content": [{"type": "text", "text": "done"}]})

    server.faults["tools/call"] = guarded
    credential = FakeCredential()
    session = await upstream.open(Target(uuid4(), server.url, credential=credential), US)
    assert await text_of(session) == "done"
    assert credential.refused_with == [(401, "Bearer")]
    credential.token, credential.renewable = "old", False
    with pytest.raises(NeedsAuth):
        await session.request("tools/call", CALL)
    server.faults["tools/call"] = status(401)
    credential.renewable = True
    with pytest.raises(NeedsAuth):
        await session.request("tools/call", CALL)
    await session.close()


@pytest.mark.parametrize(
    "endpoint", ["http://evil.example/messages", "http://127.0.0.1:1/x", "//evil.example/"]
)
async def test_a_stream_that_sends_us_to_another_origin_is_refused(upstream: Upstream, endpoint: str) -> None:
    async def opened(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"event: endpoint\ndata: {endpoint}\n\n".encode())
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/sse", opened)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/sse"
    target = Target(uuid4(), url, TransportPreference.HTTP_SSE_COMPAT)
    with pytest.raises(BadAnswer, match="another origin"):
        await upstream.open(target, US)
    await runner.cleanup()


async def test_a_server_that_asks_for_authorization_is_not_taken_for_an_old_one(
    upstream: Upstream, server: ScriptedServer
) -> None:
    for fault, error in ((status(401), NeedsAuth), (status(503), Unreachable)):
        server.requests.clear()
        server.faults["server/discover"] = fault
        with pytest.raises(error):
            await upstream.open(Target(uuid4(), server.url), US)
        assert server.methods() == ["server/discover"]


async def test_a_server_of_unknown_revisions_is_refused(upstream: Upstream, server: ScriptedServer) -> None:
    async def newer(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        data = {"supported": ["2099-01-01"], "requested": "2026-07-28"}
        error = {"code": -32022, "message": "no", "data": data}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "error": error}, status=400)

    server.faults["server/discover"] = newer
    with pytest.raises(BadAnswer, match="only revisions"):
        await upstream.open(Target(uuid4(), server.url), US)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_events_are_read_whatever_ends_their_lines_and_however_they_are_cut(ending: bytes) -> None:
    lines = [
        b": hello",
        b"id: 7",
        b"event: e",
        b"data: one",
        b"data:two",
        b"",
        b"data: three",
        b"",
        b"data: lost",
    ]
    whole = ending.join(lines)
    for size in (1, 2, 3, 7, 1000):
        events = Events()
        found = [event for n in range(0, len(whole), size) for event in events.feed(whole[n : n + size])]
        assert [(event.kind, event.data, event.id) for event in found] == [
            ("e", b"one\ntwo", "7"),
            ("message", b"three", "7"),
        ]


def test_an_event_has_a_limit() -> None:
    events = Events(100)
    for _ in range(12):
        assert events.feed(b"data: 12345678\n") == []
    with pytest.raises(TooLarge):
        events.feed(b"data: 12345678\n")
    with pytest.raises(TooLarge):
        Events(100).feed(b"x" * 101)


def test_headers_repeat_what_the_body_says() -> None:
    said = request_headers("tools/call", {"name": "größe"}, "2026-07-28")
    assert said["Mcp-Method"] == "tools/call"
    assert said["Mcp-Name"] == "=?base64?Z3LDtsOfZQ==?="
    assert header_value("plain text") == "plain text"
    assert header_value(" edge").startswith("=?base64?")
    assert header_value("=?base64?eA==?=").startswith("=?base64?PT9")
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "x-mcp-header": "Region"},
            "b": {"type": "object", "properties": {"c": {"type": "boolean", "x-mcp-header": "Deep"}}},
        },
    }
    assert param_headers(schema, {"a": "eu", "b": {"c": True}}) == {
        "Mcp-Param-Region": "eu",
        "Mcp-Param-Deep": "true",
    }
    assert param_headers(schema, {"b": 3}) == {}
    assert wrong_annotation(schema) is None


@pytest.mark.parametrize(
    "property_",
    [
        {"type": "array", "x-mcp-header": "A"},
        {"type": "string", "x-mcp-header": "not a token"},
        {"type": "string", "x-mcp-header": 7},
        {"items": {"type": "string", "x-mcp-header": "A"}},
    ],
)
def test_a_wrong_annotation_is_found(property_: dict[str, Any]) -> None:
    assert wrong_annotation({"type": "object", "properties": {"a": property_}}) is not None
    twice = {"x": {"type": "string", "x-mcp-header": "A"}, "y": {"type": "string", "x-mcp-header": "a"}}
    assert wrong_annotation({"type": "object", "properties": twice}) is not None
