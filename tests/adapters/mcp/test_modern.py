"""Requests of 2026-07-28: the envelope, the headers that repeat it, and the statuses of refusals."""

import json
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from tests.adapters.mcp.support import (
    META,
    PATH,
    VERSION,
    Executor,
    Modern,
    enveloped,
    listen,
    modern_headers,
)


async def test_discovery_names_every_revision_and_the_tasks_extension(ann: Modern) -> None:
    told = await ann.result("server/discover")
    assert told["supportedVersions"][0] == VERSION
    assert "2025-03-26" in told["supportedVersions"]
    assert told["capabilities"]["extensions"] == {META + "tasks": {}}
    assert told["resultType"] == "complete"
    assert told["ttlMs"] > 0
    assert told["_meta"][META + "serverInfo"]["version"] == "9.9"


async def test_no_session_is_made_or_asked_for(ann: Modern) -> None:
    answer = await ann.post("tools/list", Mcp_Session_Id="whatever")
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Mcp_Method": "tools/call"}, -32020),
        ({"Mcp_Method": None}, -32020),
        ({"MCP_Protocol_Version": "2025-11-25"}, -32020),
        ({"MCP_Protocol_Version": None}, -32020),
        ({"Accept": "application/json"}, -31406),
        ({"Content_Type": "text/plain"}, -31415),
    ],
)
async def test_headers_must_say_what_the_body_says(
    ann: Modern, headers: dict[str, str | None], code: int
) -> None:
    answer = await ann.post("tools/list", None, **headers)
    assert answer.status_code in (400, 406, 415)
    assert answer.json()["error"]["code"] == code


async def test_the_name_header_may_be_encoded_and_must_be_right(ann: Modern) -> None:
    params = {"name": "list_tasks", "arguments": {}}
    assert (await ann.post("tools/call", params, Mcp_Name="=?base64?bGlzdF90YXNrcw==?=")).status_code == 200
    for wrong in ("get_task", "=?base64?bGlzdF90YXNrcx==?=", None):
        answer = await ann.post("tools/call", params, Mcp_Name=wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_routing_header_that_is_there_twice_is_refused(http: httpx.AsyncClient) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": enveloped({}, {})}
    headers = [*modern_headers("tools/list", {}, "ann").items(), ("Mcp-Method", "tools/list")]
    answer = await http.post(PATH, content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_an_unknown_revision_is_answered_with_those_that_are_known(http: httpx.AsyncClient) -> None:
    params = enveloped({"_meta": {META + "protocolVersion": "2099-01-01"}}, {})
    body = {"jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": params}
    headers = {**modern_headers("tools/list", {}, "ann"), "MCP-Protocol-Version": "2099-01-01"}
    answer = await http.post(PATH, json=body, headers=headers)
    told = answer.json()
    assert (answer.status_code, told["id"], told["error"]["code"]) == (400, 5, -32022)
    assert told["error"]["data"] == {"supported": [VERSION], "requested": "2099-01-01"}


@pytest.mark.parametrize("method", ["ping", "initialize", "logging/setLevel", "tasks/list", "no/such"])
async def test_methods_of_the_other_era_are_not_found(ann: Modern, method: str) -> None:
    answer = await ann.post(method)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


async def test_a_request_without_an_envelope_is_wrong(http: httpx.AsyncClient) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = await http.post(PATH, json=body, headers=modern_headers("tools/list", {}, "ann"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[]", -32600),
        ("{", -32700),
        ('{"jsonrpc":"2.0","id":null,"method":"x"}', -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}', -32700),
    ],
)
async def test_what_is_no_request_is_refused(http: httpx.AsyncClient, body: str, code: int) -> None:
    answer = await http.post(PATH, content=body, headers=modern_headers("x", {}, "ann"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


async def test_nothing_is_got_or_deleted(http: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE", "PUT"):
        answer = await http.request(method, PATH, headers={"Authorization": "Bearer ann"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_call_that_takes_long_becomes_a_stream_with_progress(
    ann: Modern, executor: Executor, app: ASGIApp
) -> None:
    task = await ann.told("submit_task", title="slow")
    answer = listen_call(app, "get_task", {"task_id": task["id"], "wait_seconds": 20}, progress="p")
    first = await answer.next()
    assert first is not None
    assert first["params"] == {"progressToken": "p", "progress": task["version"], "message": "ready"}
    await executor.finish("there")
    seen: list[dict[str, Any]] = []
    while (told := await answer.next()) is not None:
        seen.append(told)
    assert [said["params"]["message"] for said in seen[:-1]][-1:] in (
        ["completed"],
        ["in_progress"],
        ["claimed"],
    )
    assert seen[-1]["result"]["structuredContent"]["output"] == "there"


async def test_leaving_a_stream_ends_the_wait_and_not_the_task(
    ann: Modern, executor: Executor, app: ASGIApp
) -> None:
    answer = listen_call(app, "submit_task", {"title": "slow", "wait_seconds": 20})
    await answer.until_open()
    await answer.hang_up()
    held = await executor.finish()
    assert (await ann.told("get_task", task_id=str(held.task.id)))["state"] == "completed"


async def test_listening_tells_first_what_is_honoured_and_then_only_that(
    ann: Modern, app: ASGIApp, executor: Executor
) -> None:
    one, other = await ann.told("submit_task", title="one"), await ann.told("submit_task", title="other")
    stream = listen(app, {"resourceSubscriptions": [one["uri"]], "toolsListChanged": True})
    first = await stream.next()
    assert first is not None
    tag = {META + "subscriptionId": "sub-1"}
    assert first["method"] == "notifications/subscriptions/acknowledged"
    assert first["params"] == {"notifications": {"resourceSubscriptions": [one["uri"]]}, "_meta": tag}
    await ann.told("cancel_task", task_id=other["id"])
    await ann.told("cancel_task", task_id=one["id"])
    told = await stream.next()
    assert told == {
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": {"uri": one["uri"], "_meta": tag},
    }
    await stream.hang_up()


async def test_a_listener_hears_nothing_of_what_it_may_not_see(ann: Modern, app: ASGIApp) -> None:
    task = await ann.told("submit_task", title="mine")
    stream = listen(app, {"resourceSubscriptions": [task["uri"]]}, name="ben")
    await stream.next()
    theirs = Modern(ann.http, "ben")
    await ann.told("cancel_task", task_id=task["id"])
    again = await theirs.told("submit_task", title="his")
    other = listen(app, {"resourceSubscriptions": [again["uri"]]}, name="ben")
    await other.next()
    await theirs.told("cancel_task", task_id=again["id"])
    assert (await other.next() or {})["params"]["uri"] == again["uri"]
    assert stream._chunks.empty() or b"updated" not in b"".join(drained(stream))
    await stream.hang_up()
    await other.hang_up()


async def test_a_stream_ends_with_its_credential(app: ASGIApp, keys: Any) -> None:
    stream = listen(app, {})
    await stream.next()
    keys.revoked.set()
    assert await stream.next() is None


async def test_a_stop_ends_listening_with_the_result(app: ASGIApp, config: Any) -> None:
    stream = listen(app, {})
    await stream.next()
    config.stopping.set()
    last = await stream.next()
    assert last is not None
    assert (last["id"], last["result"]["resultType"]) == ("sub-1", "complete")
    assert await stream.next() is None


def drained(stream: Any) -> list[bytes]:
    found = []
    while not stream._chunks.empty():
        found.append(stream._chunks.get_nowait() or b"")
    return found


def listen_call(app: ASGIApp, tool: str, arguments: dict[str, Any], progress: str | None = None) -> Any:
    from tests.adapters.mcp.support import Listening

    meta = {} if progress is None else {"_meta": {"progressToken": progress}}
    params = {"name": tool, "arguments": arguments, **meta}
    body = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": enveloped(params, {})}
    return Listening(app, "POST", modern_headers("tools/call", params, "ann"), body)
