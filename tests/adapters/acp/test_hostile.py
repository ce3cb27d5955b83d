"""Peers that break the rules get the right error, and cost a bounded share of memory and time."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp

from adapters.acp import ACPConfig, routes
from adapters.acp.outlet import Outlet
from adapters.jsonrpc_peer import Closed
from core.platform import Platform
from tests.adapters.acp.editor import Editor, connected
from tests.adapters.acp.executor import Worker, said
from tests.adapters.acp.wires import HttpWire, WebSocketWire
from tests.adapters.mcp.support import Keys
from tests.hub.api.hub import Hub

requirement = pytest.mark.requirement
CALL = '{"jsonrpc":"2.0","id":5,"method":"session/list","params":{}}'
WRONG = [
    ("[]", -32600, None),
    (f"[{CALL}]", -32600, None),
    ("nonsense", -32700, None),
    ("7", -32600, None),
    ('"text"', -32600, None),
    ('{"jsonrpc":"1.0","id":5,"method":"session/list"}', -32600, 5),
    ('{"id":5,"method":"session/list"}', -32600, 5),
    ('{"jsonrpc":"2.0","id":{},"method":"session/list"}', -32600, None),
    ('{"jsonrpc":"2.0","id":5}', -32600, 5),
    ('{"jsonrpc":"2.0","id":5,"method":7}', -32600, 5),
    ('{"jsonrpc":"2.0","id":5,"method":"session/list","id":6}', -32700, None),
    (
        '{"jsonrpc":"2.0","id":5,"method":"session/list","params":{"x":' + "[" * 200 + "]" * 200 + "}}",
        -32700,
        None,
    ),
]


@requirement("rpc-envelope", "rpc-batch", "rpc-stays-open")
async def test_what_is_no_message_is_answered_and_the_connection_lives(editor: Editor) -> None:
    for text, code, id in WRONG:
        told = len(editor.errors())
        await editor.wire.send(text)
        await editor.until(lambda told=told: len(editor.errors()) > told)  # type: ignore[misc]
        assert (text, *editor.errors()[told:]) == (text, (id, code))
    assert await editor.call("session/list") == {"sessions": []}


@requirement("rpc-params")
async def test_parameters_that_are_no_object_are_wrong_parameters(editor: Editor) -> None:
    wrong: list[Any] = [[], [1], "text", 7]
    for params in wrong:
        assert (await editor.fault("session/list", params)).code == -32602


@requirement("rpc-unknown")
async def test_a_method_that_is_not_there_is_not_found_and_such_a_notification_is_nothing(
    editor: Editor,
) -> None:
    for method in ("session/status", "nes/start", "_vendor/thing", "toString", "__init__", "x" * 10_000):
        assert (await editor.fault(method, {})).code == -32601
        await editor.notify(method, {})
    await editor.notify("session/cancel", {"sessionId": "sess_none"})
    await editor.notify("session/cancel", {"nothing": 1})
    await editor.notify("$/cancel_request", {"requestId": "none"})
    assert await editor.call("session/list", None) == {"sessions": []}
    assert [code for _, code in editor.errors()] == [-32601] * 6


@requirement("rpc-ids")
async def test_ids_are_told_back_as_they_came_and_one_is_not_another(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Go.")
    held = await worker.take()
    busy = editor._last
    await editor.wire.send({"jsonrpc": "2.0", "id": busy, "method": "session/list"})
    await editor.until(editor.errors)
    assert editor.errors() == [(None, -32600)]  # under its own id it would have settled the turn
    for id in (str(busy), -7, 0, "", "ü" * 1024):
        answer = editor.start("session/list", {}, id)
        assert await editor.settled(answer) is not None
    await editor.wire.send({"jsonrpc": "2.0", "id": "x" * 1025, "method": "session/list"})
    await editor.until(lambda: len(editor.errors()) == 2)
    assert editor.errors()[1] == (None, -32600)
    await held.complete()
    assert (await editor.settled(turn))["stopReason"] == "end_turn"


@requirement("rpc-answers")
async def test_answers_to_what_was_not_asked_are_ignored(editor: Editor) -> None:
    for id in (1, 10**15, "1", None, -1):
        await editor.wire.send({"jsonrpc": "2.0", "id": id, "result": {"outcome": {"outcome": "cancelled"}}})
        await editor.wire.send({"jsonrpc": "2.0", "id": id, "error": {"code": "x", "message": 7}})
    assert await editor.call("session/list") == {"sessions": []}
    assert editor.errors() == []


@requirement("update-lossless", "update-unknown")
async def test_strange_agents_are_passed_on_and_strange_posts_are_refused(
    hub: Hub, ann: str, editor: Editor, worker: Worker
) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Go.")
    held = await worker.take()
    unannounced = {
        "sessionUpdate": "tool_call_update",
        "toolCallId": "never-announced",
        "status": "completed",
    }
    terminal = {"type": "terminal", "terminalId": "nobody-made-it"}
    odd: list[dict[str, Any]] = [
        unannounced,
        {"sessionUpdate": "tool_call", "toolCallId": "t", "title": "x", "content": [terminal]},
        {"sessionUpdate": "agent_message_chunk", "content": {"type": "hologram"}},
        {"sessionUpdate": "agent_message_chunk", "content": "no block"},
        {"sessionUpdate": "plan"},
    ]
    await held.say(*({"update": update} for update in odd))
    await held.say({"update": "no object"}, {"nothing": True}, {"sessionUpdate": 7})
    await held.complete()
    await editor.settled(turn)
    told = [update for update in editor.updates if update in odd]
    assert told == odd
    path = f"/tasks/{held.task['id']}/updates"
    refusable: list[Any] = [[], ["text"], [[]], "x", [said("x")] * 1001]
    for updates in refusable:
        refused = await hub.post(path, {**held.lease, "updates": updates}, key=held.key)
        assert refused.status in (400, 422)
    async with connected(hub, ann) as other:
        await other.load(session_id)
        assert [update for update in other.updates if update in odd] == odd


@requirement("limits-in-flight", on="websocket")
async def test_requests_in_flight_are_bounded(hub: Hub, ann: str, worker: Worker) -> None:
    async with connected(hub, ann) as editor:
        sessions = [await editor.new() for _ in range(3)]
        for number in range(130):
            editor.prompt(sessions[number // 45], "Go.")
        await editor.until(lambda: len(editor.errors()) >= 2)
        assert {code for _, code in editor.errors()} == {-31429}
        await editor.notify("session/cancel", {"sessionId": sessions[0]})
        await editor.until(lambda: any("result" in m and m["result"].get("stopReason") for m in editor.heard))
        assert (await editor.call("session/list"))["sessions"]


@requirement("limits-queue", on="websocket")
async def test_prompts_that_wait_in_a_session_are_bounded(hub: Hub, ann: str) -> None:
    async with connected(hub, ann) as editor:
        session_id = await editor.new()
        for _ in range(51):
            editor.prompt(session_id, "Go.")
        await editor.until(editor.errors)
        assert [code for _, code in editor.errors()] == [-31429]


@requirement("limits-message", on="http")
async def test_a_message_that_is_too_large_is_refused_over_http(hub: Hub, ann: str) -> None:
    async with connected(hub, ann, "http") as editor:
        assert isinstance(editor.wire, HttpWire)
        body = b'{"jsonrpc":"2.0","id":1,"method":"session/list","params":{"x":"%b"}}' % (
            b"a" * 17 * 1024 * 1024
        )
        reply = await editor.wire.request("POST", body)
        assert (reply.status, reply.json["error"]["code"]) == (413, -32600)
        assert await editor.call("session/list") == {"sessions": []}


@requirement("http-statuses", on="http")
async def test_what_is_wrong_with_a_request_over_http_is_told_by_its_status(hub: Hub, ann: str) -> None:
    async with connected(hub, ann, "http") as editor:
        wire = editor.wire
        assert isinstance(wire, HttpWire)
        stream: dict[str, str | None] = {"accept": "text/event-stream"}
        body = CALL.encode()
        cases: list[tuple[str, bytes, dict[str, str | None], int]] = [
            ("POST", body, {"content-type": "text/plain"}, 415),
            ("POST", body, {"content-type": None}, 415),
            ("POST", body, {"acp-connection-id": None}, 400),
            ("POST", body, {"acp-connection-id": "none"}, 404),
            ("POST", b"[]", {}, 501),
            ("POST", b"{", {}, 400),
            ("GET", b"", {"accept": "application/json"}, 406),
            ("GET", b"", {**stream, "acp-connection-id": None}, 400),
            ("GET", b"", {**stream, "acp-connection-id": "none"}, 404),
            ("GET", b"", stream, 409),
            ("DELETE", b"", {"acp-connection-id": "none"}, 404),
            ("PUT", b"", {}, 405),
        ]
        for method, sent, headers, status in cases:
            reply = await wire.request(method, sent, headers)
            assert (method, headers, reply.status) == (method, headers, status)
            assert reply.json["error"]["code"] in (-32600, -32700)
        named = {"acp-session-id": "other"}
        reply = await wire.request(
            "POST", b'{"jsonrpc":"2.0","id":1,"method":"session/close","params":{"sessionId":"s"}}', named
        )
        assert reply.status == 400
        assert (await wire.request("DELETE")).status == 202
        assert (await wire.request("POST", body)).status == 404
        wire.connection_id = ""


@requirement("http-stream-first", on="http")
async def test_a_stream_may_be_opened_before_its_session_is_loaded(
    hub: Hub, ann: str, worker: Worker
) -> None:
    async with connected(hub, ann, "http") as editor:
        session_id = await editor.new()
        turn = editor.prompt(session_id, "Go.")
        await worker.echo("Said.")
        await editor.settled(turn)
    async with connected(hub, ann, "http") as editor:
        assert isinstance(editor.wire, HttpWire)
        await editor.wire.listen(session_id)
        await editor.wire.listen("sess_none")
        await editor.load(session_id)
        assert editor.text() == "Said."


@requirement("websocket-text", on="websocket")
async def test_binary_frames_are_ignored(hub: Hub, ann: str) -> None:
    async with connected(hub, ann) as editor:
        assert isinstance(editor.wire, WebSocketWire)
        await editor.wire.send_binary(CALL.encode())
        await editor.call("session/list")
        assert len([m for m in editor.heard if "id" in m]) == 2


@requirement("websocket-stopping", on="websocket")
async def test_who_is_connected_when_the_hub_stops_is_told_to_come_back(hub: Hub, ann: str) -> None:
    async with connected(hub, ann) as editor:
        assert isinstance(editor.wire, WebSocketWire)
        hub.app.stopping.set()
        async with asyncio.timeout(20):
            assert await editor.wire.closed == 1012


class Impatient:
    """The face alone, with limits that a test need not wait for."""

    def __init__(self, platform: Platform) -> None:
        config = ACPConfig("9.9", initialize_seconds=0.05, stall_seconds=0.05, idle_seconds=0.0)
        self.over_http, self.over_websocket = routes(platform, config, Keys())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        route = self.over_websocket if scope["type"] == "websocket" else self.over_http
        await route.app(scope, receive, send)  # type: ignore[attr-defined]


@pytest.fixture
def impatient(platform: Platform) -> ASGIApp:
    """It."""
    return Impatient(platform)


@requirement("limits-stalled", "limits-late", on="websocket")
async def test_who_says_nothing_or_reads_nothing_is_sent_away(impatient: ASGIApp) -> None:
    silent = WebSocketWire(impatient, "ann", lambda _: None, {})
    await silent.open()
    async with asyncio.timeout(20):
        assert await silent.closed == 1008
    deaf = WebSocketWire(impatient, "ann", lambda _: None, {})
    await deaf.open()
    deaf.reading.clear()
    await deaf.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": 1}})
    assert deaf._task is not None
    async with asyncio.timeout(20):
        await asyncio.wait({deaf._task})
    await silent.close()


@requirement("limits-stalled", on="http")
async def test_what_waits_for_a_reader_that_never_comes_is_bounded() -> None:
    outlet = Outlet(most_bytes=1000, most_messages=10, stall_seconds=0.01)
    for _ in range(10):
        await outlet.put(b"a")
    with pytest.raises(Closed):
        await outlet.put(b"a")
    small = Outlet(most_bytes=100, most_messages=10_000, stall_seconds=0.01)
    with pytest.raises(Closed):
        await small.put(b"a" * 101)
