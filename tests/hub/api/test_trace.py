"""A trace goes with the work: from every protocol, through the task, to whoever does it."""

from typing import Any
from uuid import UUID

import pytest

from adapters.a2a.remote import compose
from adapters.mcp.exchange import Call as McpCall
from adapters.mcp.gateway.bridge import enveloped
from core import trace
from core.caller import SYSTEM
from core.mcp.words import Era
from core.tasks.submit import SubmitTask, submit
from tests.hub.api.hub import Hub

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NEARER = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
VERSION = "2026-07-28"
META = "io.modelcontextprotocol/"


async def test_a_header_goes_with_the_task_to_whoever_claims_it(hub: Hub) -> None:
    task = (await hub.send("POST", "/api/v1/tasks", json={"title": "x"}, headers={"traceparent": TRACE})).data
    assert task["traceparent"] == TRACE
    agent = await hub.agent()
    claim = {"agent_id": agent["id"]}
    assert (await hub.post("/tasks/claim", claim, key=agent["api_key"])).data["traceparent"] == TRACE


@pytest.mark.parametrize(
    "broken",
    [
        "x",
        TRACE.upper(),
        TRACE.replace("00-0", "ff-0", 1),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        TRACE + "-more",
    ],
)
async def test_what_is_no_trace_is_dropped(hub: Hub, broken: str) -> None:
    answer = await hub.send("POST", "/api/v1/tasks", json={"title": "x"}, headers={"traceparent": broken})
    assert answer.data["traceparent"] is None


async def newest(hub: Hub) -> Any:
    return (await hub.get("/tasks")).data[0]


async def test_a2a_says_it_in_a_header_or_nearer_in_the_message(hub: Hub) -> None:
    for metadata, carried in (({}, TRACE), ({"traceparent": NEARER}, NEARER)):
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}], "metadata": metadata}
        params = {"message": message, "configuration": {"returnImmediately": True}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
        headers = {"a2a-version": "1.0", "traceparent": TRACE, "content-type": "application/json"}
        answer = await hub.send("POST", "/a2a", json=body, headers=headers)
        assert "result" in answer.json, answer.body
        assert (await newest(hub))["traceparent"] == carried


async def test_mcp_says_it_in_meta(hub: Hub) -> None:
    meta = {
        META + "protocolVersion": VERSION,
        META + "clientCapabilities": {},
        META + "clientInfo": {"name": "t", "version": "1"},
        "traceparent": TRACE,
    }
    params = {"name": "submit_task", "arguments": {"title": "x"}, "_meta": meta}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": "submit_task",
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = await hub.send("POST", "/mcp", json=body, headers=headers)
    assert answer.status == 200, answer.body
    assert (await newest(hub))["traceparent"] == TRACE


async def test_a_remote_agent_is_told_in_the_message(hub: Hub) -> None:
    caller = trace.told_by(SYSTEM(hub.platform.new_id()), {"traceparent": TRACE})
    task = await hub.platform.write(caller, submit, SubmitTask("x"))
    params = compose.send_params(task, [], message_id="m", hops=1, context_id=None)
    assert params["message"]["metadata"]["traceparent"] == TRACE


def test_a_server_is_told_in_meta_and_the_callers_own_word_comes_first() -> None:
    caller = trace.told_by(SYSTEM(UUID(int=1)), {"traceparent": TRACE})
    call = McpCall(caller, VERSION, 1, "tools/call", {}, {})
    assert enveloped(call, {"name": "x"}, Era.LEGACY)["_meta"] == {"traceparent": TRACE}
    own = {"name": "x", "_meta": {"traceparent": NEARER}}
    assert enveloped(call, own, Era.LEGACY)["_meta"] == {"traceparent": NEARER}
