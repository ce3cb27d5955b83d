"""The handshake revisions on the same endpoint: sessions, whose they are, and what their stream tells."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from adapters.mcp import McpConfig, routes
from core.platform import Platform
from tests.adapters.mcp.support import PATH, PUBLIC, Keys, Listening, Modern, Session


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_each_handshake_revision_is_agreed_to(http: httpx.AsyncClient, version: str) -> None:
    session = await Session.open(http, version=version)
    assert session.greeting["protocolVersion"] == version
    assert "extensions" not in session.greeting["capabilities"]
    assert await session.result("ping") == {}


async def test_an_unknown_revision_gets_our_newest(http: httpx.AsyncClient) -> None:
    session = await Session.open(http, version="1999-01-01")
    assert session.greeting["protocolVersion"] == "2025-11-25"


async def test_old_revisions_are_spared_what_they_do_not_know(http: httpx.AsyncClient) -> None:
    old, new = await Session.open(http, version="2025-03-26"), await Session.open(http)
    old_tool = (await old.result("tools/list"))["tools"][0]
    new_tool = (await new.result("tools/list"))["tools"][0]
    assert "outputSchema" not in old_tool
    assert "outputSchema" in new_tool
    told = await old.result("tools/call", {"name": "list_tasks", "arguments": {}})
    assert "structuredContent" not in told


async def test_a_session_is_its_principals_alone(http: httpx.AsyncClient, session: Session) -> None:
    for name in ("ben", "eve", "root"):
        theirs = Session(http, name, session.id, {})
        answer = await theirs.post("tools/list")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32001)
        assert (await http.delete(PATH, headers=theirs.headers)).status_code == 404
    assert (await session.post("tools/list")).status_code == 200


async def test_without_a_session_nothing_is_answered(http: httpx.AsyncClient) -> None:
    answer = await Session(http, "ann", "", {}).post("tools/list")
    assert answer.status_code == 400
    assert (await Session(http, "ann", "guessed", {}).post("tools/list")).status_code == 404


async def test_an_ended_session_is_gone(http: httpx.AsyncClient, session: Session) -> None:
    assert (await http.delete(PATH, headers=session.headers)).status_code == 204
    assert (await session.post("ping")).status_code == 404


async def test_a_session_outlives_the_process_that_opened_it(
    platform: Platform, config: McpConfig, keys: Keys, session: Session
) -> None:
    fresh = Starlette(routes=list(routes(platform, config, keys)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fresh), base_url=PUBLIC) as http:
        again = Session(http, "ann", session.id, {})
        assert await again.result("ping") == {}


async def test_a_modern_header_is_not_taken_for_a_session(session: Session) -> None:
    session_headers = {**session.headers, "MCP-Protocol-Version": "2026-07-28"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
    answer = await session.http.post(PATH, json=body, headers=session_headers)
    assert answer.status_code == 400


async def test_notifications_and_answers_are_taken(session: Session) -> None:
    assert (await session.post("notifications/initialized", id=None)).status_code == 202
    answer = await session.http.post(
        PATH, json={"jsonrpc": "2.0", "id": 9, "result": {}}, headers=session.headers
    )
    assert answer.status_code == 202


async def test_refusals_of_requests_are_answers(session: Session) -> None:
    answer = await session.post("no/such")
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32601)
    missing = await session.post("resources/read", {"uri": "crossdock://tasks/none"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (200, -32002)


async def test_a_sessions_stream_tells_of_what_it_subscribed_to(
    app: ASGIApp, session: Session, ann: Modern
) -> None:
    one, other = await ann.told("submit_task", title="one"), await ann.told("submit_task", title="other")
    stream = Listening(app, "GET", session.headers)
    await stream.until_open()
    assert await session.result("resources/subscribe", {"uri": one["uri"]}) == {}
    assert await session.result("resources/subscribe", {"uri": other["uri"]}) == {}
    assert await session.result("resources/unsubscribe", {"uri": other["uri"]}) == {}
    await ann.told("cancel_task", task_id=other["id"])
    await ann.told("cancel_task", task_id=one["id"])
    told = await stream.next()
    assert told is not None
    assert (told["method"], told["params"]) == ("notifications/resources/updated", {"uri": one["uri"]})
    await stream.hang_up()


async def test_one_cannot_subscribe_to_what_one_may_not_see(session: Session, ann: Modern) -> None:
    theirs = await Modern(ann.http, "ben").told("submit_task", title="his")
    answer = await session.post("resources/subscribe", {"uri": theirs["uri"]})
    assert answer.json()["error"]["code"] == -32002


async def test_a_client_can_give_up_a_call(app: ASGIApp, session: Session, ann: Modern) -> None:
    task = await ann.told("submit_task", title="slow")
    params = {"name": "get_task", "arguments": {"task_id": task["id"], "wait_seconds": 60}}
    body = {"jsonrpc": "2.0", "id": 41, "method": "tools/call", "params": params}
    waiting = Listening(app, "POST", session.headers, body)
    await waiting.until_open()
    await session.post("notifications/cancelled", {"requestId": 40}, id=None)
    await session.post("notifications/cancelled", {"requestId": 41}, id=None)
    last = await waiting.next()
    assert last is not None
    assert last["id"] == 41
    assert "error" in last


async def test_a_principal_has_a_hundred_sessions(http: httpx.AsyncClient) -> None:
    for _ in range(100):
        await Session.open(http)
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x"}}
    answer = await Session(http, "ann", "", {}).post("initialize", params)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
