"""Calls to agents elsewhere: what goes out on each binding, what is made of the answers and of the faults."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from adapters.a2a import wire
from adapters.a2a.client import Client
from adapters.a2a.extensions import IDEMPOTENCY
from adapters.a2a.remote.answers import (
    Frame,
    RemoteArtifact,
    RemoteMessage,
    RemoteStatus,
    RemoteTask,
    frame_of,
    task_of,
)
from adapters.a2a.remote.credentials import Credentials
from adapters.a2a.remote.events import Events
from adapters.a2a.remote.failures import (
    BadAnswer,
    NotSent,
    Refused,
    RemoteError,
    Unauthorized,
    Unreached,
)
from adapters.outbound import Outbound
from core.egress import Allowed
from core.sealing import Secret

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATUS = {"state": "TASK_STATE_WORKING", "timestamp": "2026-01-01T00:00:00Z"}
TASK = {"id": "t1", "contextId": "c1", "status": STATUS}
MESSAGE = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hi"}]}


@dataclass
class Server:
    """Answers every request in the way that a test says, and keeps what it was asked."""

    port: int = 0
    runner: web.AppRunner | None = None
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        """The next answer; the last one stays."""
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode()
        self.asked.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    def url(self, path: str = "/rpc") -> str:
        """An address of the server."""
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is closed after the test."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def server(stack: AsyncExitStack) -> Server:
    """A server on loopback."""
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port, server.runner = runner.addresses[0][1], runner
    return server


@pytest.fixture
def client(server: Server, stack: AsyncExitStack) -> Callable[..., Client]:
    """Makes clients of the server."""

    def make(
        binding: str = "JSONRPC",
        version: str = "1.0",
        auth: dict[str, Any] | None = None,
        secret: str | None = None,
        **interface: Any,
    ) -> Client:
        outbound = Outbound(Allowed.parse("127.0.0.1"))
        stack.push_async_callback(outbound.close)
        url = server.url("/rpc" if binding == "JSONRPC" else "/rest")
        told = {"url": url, "binding": binding, "version": version, "streaming": True, **interface}
        credentials = Credentials(outbound, auth or {"kind": "none"}, Secret(secret) if secret else None)
        return Client(outbound, told, credentials, silence_seconds=0.3)

    return make


def says(value: Any, status: int = 200, **headers: str) -> Answer:
    """Answers with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(value, status=status, headers=headers)

    return answer


def result(value: Any) -> Answer:
    """Answers with a JSON-RPC result."""
    return says({"jsonrpc": "2.0", "id": 1, "result": value})


def error(code: int, message: str = "no") -> Answer:
    """Answers with a JSON-RPC error."""
    return says({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}})


def streams(*pieces: bytes, hang: bool = False) -> Answer:
    """Answers with a stream, in these pieces."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if hang:
            await asyncio.sleep(5)
        return response

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Hangs up without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def event(value: Any) -> bytes:
    """A JSON-RPC event of a stream."""
    return b"data: " + json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode() + b"\n\n"


async def all_of(frames: Any) -> list[Frame]:
    """A whole stream."""
    async with aclosing(frames):
        return [frame async for batch in frames for frame in batch]


async def test_json_rpc_says_version_tenant_and_key(server: Server, client: Callable[..., Client]) -> None:
    server.answers = [result({"task": TASK})]
    task = await client(tenant="acme", idempotent=True).send({"message": MESSAGE}, "key")
    status = RemoteStatus("TASK_STATE_WORKING", None, STATUS["timestamp"])
    assert task == RemoteTask("t1", "c1", status, [], [])
    [(method, path, headers, body)] = server.asked
    assert (method, path, body["method"]) == ("POST", "/rpc", "SendMessage")
    assert body["params"]["tenant"] == "acme"
    assert body["params"]["configuration"] == {"returnImmediately": True}
    assert (headers["A2A-Version"], headers["Idempotency-Key"]) == ("1.0", "key")
    assert headers["A2A-Extensions"] == IDEMPOTENCY


async def test_http_json_has_a_path_for_each_operation(server: Server, client: Callable[..., Client]) -> None:
    rest = client("HTTP+JSON", tenant="a/b")
    server.answers = [says({"task": TASK})]
    await rest.send({"message": MESSAGE}, "key")
    server.answers = [says(TASK)]
    await rest.get_task("t/1")
    await rest.cancel("t1", "enough")
    server.answers = [says({"tasks": [{**TASK, "history": [MESSAGE]}]})]
    found = await rest.find("c1", "m1")
    assert found is not None
    server.answers = [streams(b"data: " + json.dumps({"task": TASK}).encode() + b"\n\n")]
    await all_of(rest.subscribe("t1"))
    await all_of(rest.send_streaming({"message": MESSAGE}, "key"))
    assert [(method, path) for method, path, _, _ in server.asked] == [
        ("POST", "/rest/a%2Fb/message:send"),
        ("GET", "/rest/a%2Fb/tasks/t%2F1?historyLength=100"),
        ("POST", "/rest/a%2Fb/tasks/t1:cancel"),
        ("GET", "/rest/a%2Fb/tasks?contextId=c1&historyLength=100&includeArtifacts=false"),
        ("POST", "/rest/a%2Fb/tasks/t1:subscribe"),
        ("POST", "/rest/a%2Fb/message:stream"),
    ]
    assert server.asked[2][3] == {"metadata": {"reason": "enough"}}


async def test_0_3_is_spoken_where_nothing_newer_is(server: Server, client: Callable[..., Client]) -> None:
    old = client(version="0.3")
    parts = [{"text": "hi"}, {"data": 7}, {"raw": "aGk=", "mediaType": "text/plain", "filename": "f"}]
    answer = {
        "kind": "task",
        "id": "t1",
        "contextId": "c1",
        "status": {
            "state": "input-required",
            "message": {
                "kind": "message",
                "messageId": "q",
                "role": "agent",
                "parts": [{"kind": "text", "text": "?"}],
            },
        },
        "artifacts": [
            {
                "artifactId": "a",
                "parts": [{"kind": "file", "file": {"bytes": "aGk=", "mimeType": "text/plain"}}],
            }
        ],
    }
    server.answers = [result(answer)]
    task = await old.send({"message": {**MESSAGE, "parts": parts}}, "key")
    assert isinstance(task, RemoteTask)
    assert (task.status.state, task.status.interrupted) == (wire.INPUT_REQUIRED, True)
    assert task.status.message is not None
    assert (task.status.message.text, task.status.message.by_agent) == ("?", True)
    assert task.artifacts[0].parts == [{"raw": "aGk=", "media_type": "text/plain"}]
    assert await old.get_task("t1") == task
    server.answers = [streams(*(event(frame) for frame in _legacy_frames()))]
    frames = await all_of(old.send_streaming({"message": MESSAGE}, "key"))
    assert [type(frame) for frame in frames] == [RemoteStatus, RemoteArtifact, RemoteMessage]
    with pytest.raises(Refused):
        await old.find("c1", "m1")
    said = [body for _, _, _, body in server.asked]
    assert [body["method"] for body in said] == ["message/send", "tasks/get", "message/stream"]
    sent = said[0]["params"]
    assert sent["configuration"] == {"blocking": False}
    assert (sent["message"]["kind"], sent["message"]["role"]) == ("message", "user")
    assert [part["kind"] for part in sent["message"]["parts"]] == ["text", "data", "file"]
    assert "A2A-Version" not in server.asked[0][2]


def _legacy_frames() -> list[dict[str, Any]]:
    whose = {"taskId": "t1", "contextId": "c1"}
    text = [{"kind": "text", "text": "x"}]
    return [
        {"kind": "status-update", **whose, "status": {"state": "working"}, "final": False},
        {"kind": "artifact-update", **whose, "artifact": {"artifactId": "a", "parts": text}},
        {"kind": "message", "messageId": "m", "role": "agent", "parts": text},
    ]


async def test_a_stream_is_read_however_it_is_cut(server: Server, client: Callable[..., Client]) -> None:
    update = {"taskId": "t1", "contextId": "c1"}
    frames = [
        {"task": TASK},
        {"statusUpdate": {**update, "status": {**STATUS, "message": {**MESSAGE, "role": "ROLE_AGENT"}}}},
        {"unknownUpdate": {}},
        {"artifactUpdate": {**update, "artifact": {"artifactId": "a", "parts": [{"text": "ü"}]}}},
    ]
    whole = b": hello\r\n\r\n" + b"".join(event(f) for f in frames) + b"id: 4\nevent: x\n\n"
    for size in (1, 7, len(whole)):
        pieces = [whole[n : n + size] for n in range(0, len(whole), size)]
        server.answers = [streams(*pieces)]
        told = await all_of(client().subscribe("t1"))
        assert [type(frame) for frame in told] == [RemoteTask, RemoteStatus, RemoteArtifact]
        assert isinstance(told[1], RemoteStatus)
        assert (told[1].task_id, told[1].message and told[1].message.text) == ("t1", "hi")


def test_the_data_of_an_event_may_have_several_lines_and_has_a_longest_length() -> None:
    events = Events(20)
    assert events.feed(b"data: one\ndata:two\r\n\r\ndata: t") == [b"one\ntwo"]
    assert events.feed(b"hree\n\n\n\n") == [b"three"]
    with pytest.raises(BadAnswer):
        events.feed(b"data: " + b"x" * 30)
    events = Events(20)
    with pytest.raises(BadAnswer):
        events.feed(b"data: 0123456789\ndata: 0123456789\ndata: 0\n")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(-32001), Refused),
        (error(-32602, "contextId is unknown"), Refused),
        (error(-31999), Refused),
        (says({"error": "x"}, 401), Unauthorized),
        (says({"error": "x"}, 403), Unauthorized),
        (says({"jsonrpc": "2.0", "id": 1, "error": {"code": -31429, "message": "later"}}, 429), NotSent),
        (says({}, 503), NotSent),
        (says("", 502), Unreached),
        (says("", 404), BadAnswer),
        (says("", 302, Location="/elsewhere"), BadAnswer),
        (says({"jsonrpc": "2.0", "id": 1}), BadAnswer),
        (says([1]), BadAnswer),
        (result({"task": {"id": "x", "status": {"state": "TASK_STATE_UNSPECIFIED"}}}), BadAnswer),
        (result({"task": {"status": STATUS}}), BadAnswer),
        (result({"nothing": 1}), BadAnswer),
        (hangs_up, Unreached),
    ],
)
async def test_what_failed_is_told_apart_by_what_may_follow(
    server: Server, client: Callable[..., Client], answer: Answer, expected: type[RemoteError]
) -> None:
    server.answers = [answer]
    with pytest.raises(expected) as failed:
        await client().send({"message": MESSAGE}, "key")
    assert type(failed.value) is expected
    with pytest.raises(expected):
        await all_of(client().send_streaming({"message": MESSAGE}, "key"))


async def test_errors_of_http_json_are_known_by_their_reason(
    server: Server, client: Callable[..., Client]
) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "TASK_NOT_CANCELABLE"}]
    server.answers = [says({"error": {"code": 400, "message": "it ended", "details": details}}, 400)]
    with pytest.raises(Refused, match="it ended") as refused:
        await client("HTTP+JSON").cancel("t1")
    assert refused.value.reason == "TASK_NOT_CANCELABLE"
    server.answers = [says({"error": {"code": 404, "message": "none"}}, 404)]
    with pytest.raises(Refused) as refused:
        await client("HTTP+JSON").get_task("t1")
    assert refused.value.reason == "TASK_NOT_FOUND"


async def test_an_agent_that_was_never_reached_is_told_apart(
    server: Server, client: Callable[..., Client]
) -> None:
    one = client()
    assert server.runner is not None
    await server.runner.cleanup()
    with pytest.raises(NotSent):
        await one.send({"message": MESSAGE}, "key")
    outbound = Outbound()  # nothing is allowed: not the address, not plain http
    closed = Client(
        outbound,
        {"url": server.url(), "binding": "JSONRPC", "version": "1.0"},
        Credentials(outbound, {"kind": "none"}, None),
    )
    with pytest.raises(NotSent, match="blocked"):
        await closed.get_task("t1")
    await outbound.close()


async def test_a_stream_that_falls_silent_counts_as_broken(
    server: Server, client: Callable[..., Client]
) -> None:
    server.answers = [streams(event({"task": TASK}), hang=True)]
    with pytest.raises(Unreached, match="silent"):
        await all_of(client().subscribe("t1"))


async def test_a_stream_may_be_refused_or_answered_at_once(
    server: Server, client: Callable[..., Client]
) -> None:
    server.answers = [error(-32004)]
    with pytest.raises(Refused) as refused:
        await all_of(client().subscribe("t1"))
    assert refused.value.reason == "UNSUPPORTED_OPERATION"
    server.answers = [result({"message": {**MESSAGE, "role": "ROLE_AGENT"}})]
    [frame] = await all_of(client().send_streaming({"message": MESSAGE}, "key"))
    assert isinstance(frame, RemoteMessage)


async def test_an_api_key_goes_where_the_card_wants_it(server: Server, client: Callable[..., Client]) -> None:
    server.answers = [result(TASK)]
    for location in ("header", "query", "cookie"):
        auth = {"kind": "api_key", "name": "X-Key", "location": location}
        await client(auth=auth, secret="s3cret").get_task("t1")
    (_, _, first, _), (_, second, _, _), (_, _, third, _) = server.asked
    assert (first["X-Key"], second, third["Cookie"]) == ("s3cret", "/rpc?X-Key=s3cret", "X-Key=s3cret")


async def test_a_token_is_fetched_once_and_again_when_it_is_refused(
    server: Server, client: Callable[..., Client]
) -> None:
    granted: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            granted.append(f"token-{len(granted)}")
            told = {"access_token": granted[-1], "token_type": "bearer", "expires_in": 3600}
            return web.json_response(told)
        if request.headers["Authorization"] != f"Bearer {granted[-1]}" or len(server.asked) == 4:
            return web.Response(status=401)
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": TASK})

    server.answers = [answer]
    auth = {
        "kind": "client_credentials",
        "client_id": "the hub",
        "token_url": server.url("/token"),
        "scopes": ["a", "b"],
        "audience": "agents",
    }
    one = client(auth=auth, secret="s3:cret")
    await asyncio.gather(one.get_task("t1"), one.get_task("t1"))
    await one.get_task("t1")
    assert granted == ["token-0", "token-1"]
    form = parse_qs(server.asked[0][3])
    assert form == {
        "grant_type": ["client_credentials"],
        "scope": ["a b"],
        "audience": ["agents"],
    }
    pair = b64decode(server.asked[0][2]["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "the+hub:s3%3Acret"


async def test_an_authorization_server_that_refuses_or_is_away_is_told_apart(
    server: Server, client: Callable[..., Client]
) -> None:
    auth = {"kind": "client_credentials", "client_id": "x", "method": "post"}
    auth["token_url"] = server.url("/token")
    server.answers = [says({"error": "invalid_client"}, 401)]
    with pytest.raises(Unauthorized):
        await client(auth=auth, secret="s").get_task("t1")
    assert "client_secret=s" in server.asked[0][3]
    foreign = {"access_token": "x", "token_type": "mac"}
    for answer in (says({}, 500), says({"token_type": "bearer"}), says(foreign)):
        server.answers = [answer]
        with pytest.raises(NotSent):
            await client(auth=auth, secret="s").get_task("t1")


async def test_a_probe_wants_an_answer_not_a_task(server: Server, client: Callable[..., Client]) -> None:
    server.answers = [error(-32001)]
    await client().probe()
    server.answers = [says({}, 401)]
    with pytest.raises(Unauthorized):
        await client().probe()


def test_answers_are_rebuilt_and_names_of_ours_are_not_handed_on() -> None:
    metadata = {"crossdock/hops": 3, "mood": "good", "crossdock/error": {"category": "quota"}}
    said = {"messageId": "m", "role": "ROLE_AGENT", "metadata": metadata, "extra": 1, "taskId": "t"}
    parts = [{"text": "x", "mediaType": "text/plain", "junk": 1}, {"raw": "aGk"}, {"data": None}]
    message = frame_of({"message": {**said, "parts": parts}})
    assert isinstance(message, RemoteMessage)
    assert message.parts == [{"text": "x", "media_type": "text/plain"}, {"raw": "aGk="}, {"data": None}]
    assert (message.metadata, message.category) == ({"mood": "good"}, "quota")
    wrong: list[Any] = [[{}], [{"raw": "§"}], "text", [3], [{"text": 3}]]
    for bad in wrong:
        with pytest.raises(BadAnswer):
            frame_of({"message": {**said, "parts": bad}})
    with pytest.raises(BadAnswer):
        task_of({**TASK, "id": "x" * 300})
